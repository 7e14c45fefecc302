"""Cross-entropy with the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective, silence


class CrossEntropy(Objective):
    """``-sum_k p_k log softmax(logits)_k``, with the hard label, or with the mixed labels of a bent dream.

    Args:
        weight: factor of the loss.
    """

    def __call__(self, answer: Output, target: Dream, active: Tensor | None) -> Tensor:
        """See :class:`dreamer.objectives.Objective`."""
        return self.weight * functional.cross_entropy(
            silence(answer.logits, active), target.y if target.p is None else target.p
        )

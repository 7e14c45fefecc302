"""Cross-entropy with the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from dreamer.objectives.base import Objective, silence
from dreamer.types import Answer, Dream


class CrossEntropy(Objective):
    """``-sum_k p_k log softmax(logits)_k``, with the hard label, or with the mixed labels of a bent dream.

    Args:
        weight: factor of the loss.
    """

    def __call__(self, answer: Answer, target: Dream, active: Tensor | None) -> Tensor:
        """See :class:`dreamer.objectives.Objective`."""
        return self.weight * functional.cross_entropy(
            silence(answer.logits, active), target.y if target.p is None else target.p
        )

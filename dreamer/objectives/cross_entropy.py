"""Cross-entropy with the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from dreamer.objectives.base import silence
from dreamer.types import Dream


class CrossEntropy:
    """``-sum_k p_k log softmax(logits)_k``, with the hard label, or with the mixed labels of a bent dream.

    Args:
        weight: factor of the loss.
    """

    needs_teacher = False

    def __init__(self, weight: float = 1.0):
        self.weight = weight

    def __call__(self, logits: Tensor, target: Dream, active: Tensor | None) -> Tensor:
        """See :class:`dreamer.objectives.Objective`."""
        return self.weight * functional.cross_entropy(
            silence(logits, active), target.y if target.p is None else target.p
        )

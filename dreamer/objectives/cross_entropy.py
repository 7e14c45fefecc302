"""Cross-entropy with the labels."""

from __future__ import annotations

from torch import Tensor

from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective
from dreamer.problems.softmax import cross_entropy


class CrossEntropy(Objective):
    """``-sum_k p_k log softmax(logits)_k``, with the hard label, or with the mixed labels of a perturbed dream.

    >>> import torch
    >>> loss = CrossEntropy()(Output(torch.zeros(2, 10)), Dream(torch.zeros(2, 4), torch.tensor([3, 7])), None)
    >>> round(float(loss), 4)  # the logarithm of 10
    2.3026
    """

    needs_classes = True

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        return self.weight * cross_entropy(output.logits, target.y if target.p is None else target.p, active)

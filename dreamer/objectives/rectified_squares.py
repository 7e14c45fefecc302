"""Squared errors of rectified outputs."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective


class RectifiedSquares(Objective):
    """``sum_k relu(z_k)^2 / 2 - p_k z_k + p_k^2 / 2``: half the squared error where outputs are positive.

    Its gradient is ``relu(z) - p``, so an output that should be on and lies below zero still learns, which the plain
    squared error of rectified outputs does not offer (the matching loss of the ReLU, Auer et al. 1995). Sleep replay
    consolidation (Tadros et al. 2022) trains with this gradient (``NN/nnbp.m`` with ``output = 'relu'``).

    >>> import torch
    >>> dream = Dream(torch.zeros(1, 4), torch.tensor([1]))
    >>> float(RectifiedSquares()(Output(torch.tensor([[-1.0, 0.0]])), dream, None))  # class 1 should be at 1
    0.5
    """

    needs_classes = True

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        z = output.logits
        p = functional.one_hot(target.y, z.shape[1]).to(z.dtype) if target.p is None else target.p
        each = functional.relu(z).square() / 2 - p * z + p.square() / 2
        return self.weight * (each if active is None else each * active).sum(dim=1).mean()

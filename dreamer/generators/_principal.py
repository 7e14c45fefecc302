"""Principal axes in closed form."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_axes(centred: Tensor, count: int) -> Tensor:
    """The directions of largest variance.

    From the eigenvectors of the scatter matrix or, with fewer samples than elements, of the samples' inner products:
    a cost of the third power of the smaller number.

    Args:
        centred: (n, N) samples whose mean is 0.
        count: D, at most N.

    Returns:
        (D, N) orthonormal rows, the largest variance first; zeros for directions in which nothing varies.
    """
    samples, elements = centred.shape
    few = samples < elements
    values, vectors = torch.linalg.eigh(centred @ centred.T if few else centred.T @ centred)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    real = values > 1e-5 * values[0].clamp_min(torch.finfo(values.dtype).tiny)
    found = (centred.T @ vectors / values.clamp_min(torch.finfo(values.dtype).tiny).sqrt() if few else vectors).T
    axes = centred.new_zeros(count, elements)
    axes[: len(found)] = found * real[:, None]
    return axes

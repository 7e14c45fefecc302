"""How different dreams of the same class are from each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def diversity(x: Tensor, y: Tensor) -> float | None:
    """The mean distance of two different samples of the same class, averaged over the classes that have two.

    A generator that has collapsed gives the same sample for a class again and again: 0 (the idea of intra-class LPIPS,
    Ojha et al. 2021, arXiv 2104.06820, section 4, in the features at hand).

    Args:
        x: (N, H) features.
        y: (N,) int64 labels.

    Returns:
        At least 0, in units of the features; NaN where these are not finite, None where no class has two samples.
    """
    if not x.isfinite().all():
        return math.nan
    means = []
    for label in y.unique():
        own = x[y == label].double()
        if len(own) > 1:
            means.append(torch.pdist(own).mean())
    return float(torch.stack(means).mean()) if means else None

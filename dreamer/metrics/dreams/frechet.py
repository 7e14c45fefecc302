"""Fréchet distance between dreams and real data, both fitted by Gaussians."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians that are fitted to features.

    ``|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))`` (Dowson and Landau 1982; as a measure of generators Heusel
    et al. 2017, arXiv 1706.08500, section 2, who take the features of Inception). The trace of the root is the sum of
    the roots of the eigenvalues of ``S_1^(1/2) S_2 S_1^(1/2)``, which is symmetric, so nothing becomes complex.

    From few samples it comes out too large, by about as much for generators that are about as good (Chong and Forsyth
    2020, arXiv 1911.07023): compare numbers only where the sizes are the same on both sides. It is defined for fewer
    samples than features too. Covariances are unbiased (n - 1); nothing is shrunk, because shrinking towards a common
    target would hide a loss of spread.

    Args:
        one: (N, H) features, N at least 2.
        other: (M, H) features, M at least 2.

    Returns:
        At least 0, in squared units of the features; NaN where these are not finite.

    Raises:
        ValueError: for other shapes.
    """
    for x in (one, other):
        if x.ndim != 2 or len(x) < 2 or x.shape[1] != one.shape[1]:
            shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
            raise ValueError(f"expected two sets of at least 2 samples with the same features, got {shapes}")
    if not (one.isfinite().all() and other.isfinite().all()):
        return math.nan
    one, other = one.double(), other.double()
    apart = (one.mean(dim=0) - other.mean(dim=0)).square().sum()
    first, second = (torch.atleast_2d(torch.cov(x.T)) for x in (one, other))
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return max(0.0, float(apart + first.trace() + second.trace() - 2 * overlap))

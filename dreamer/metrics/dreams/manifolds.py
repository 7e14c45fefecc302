"""Precision and recall of dreams: how many lie among real data, and how many real data lie among dreams."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def precision_recall(dreams: Tensor, real: Tensor, k: int = 5) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991, equations 1 to 3).

    A set's manifold is the union of balls around its samples, each as wide as its distance to the k-th nearest other.
    Precision is the fraction of dreams inside the manifold of real data (are they good?), recall the fraction of real
    data inside that of dreams (is everything there?). Both depend on the numbers of samples: compare only equal ones.
    Five neighbours suit some hundreds of samples; the paper takes 3 for 50 000.

    Args:
        dreams: (N, H) features, N above k.
        real: (M, H) features, M above k.
        k: which neighbour.

    Returns:
        Precision and recall, in [0, 1]; NaN where features are not finite.

    Raises:
        ValueError: when a set has no k-th neighbours.
    """
    if k < 1 or min(len(dreams), len(real)) <= k:
        raise ValueError(
            f"expected more than k = {k} samples on both sides, k at least 1, got {len(dreams)} and {len(real)}"
        )
    if not (dreams.isfinite().all() and real.isfinite().all()):
        return math.nan, math.nan
    dreams, real = dreams.double(), real.double()
    between = _distances(dreams, real)
    precision = (between <= _radii(real, k)).any(dim=1)
    recall = (between.T <= _radii(dreams, k)).any(dim=1)
    return float(precision.double().mean()), float(recall.double().mean())


def _radii(x: Tensor, k: int) -> Tensor:
    """(N,) distances to the k-th nearest other sample; a sample itself is its nearest."""
    return _distances(x, x).kthvalue(k + 1, dim=1).values


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Exact ones: samples that are equal are 0 apart, and lie on the rim of each other's balls."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")

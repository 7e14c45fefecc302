"""Means of the classes and one scatter matrix within all of them, gathered sample by sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.networks._closed_form import ClosedForm
from dreamer.networks.base import doubled

Shrinkage = Literal["oas"] | float


class ClassScatter(ClosedForm):
    """Base of classifiers that need the covariance within classes.

    :meth:`absorb` takes samples into the statistics by the pairwise update of Chan, Golub and LeVeque (1979): any order
    and any cut into batches give the same ones, up to rounding. They are float32, count as bytes, and every checkpoint
    holds them.

    Args:
        sample_shape: *S; samples are flattened to H features.
        num_classes: K.
        shrinkage: fraction of the mean variance's identity in the covariance, in (0, 1], or ``oas``: estimated (Chen et
            al. 2010, as scikit-learn has it).

    Raises:
        ValueError: when the shrinkage is out of its range.
    """

    mean: Tensor
    scatter: Tensor

    @checked
    def __init__(self, sample_shape: Sequence[int], num_classes: int, shrinkage: Shrinkage = "oas"):
        super().__init__(num_classes)
        if shrinkage != "oas" and not 0 < float(shrinkage) <= 1:
            raise ValueError(f"expected 'oas' or a shrinkage in (0, 1], got {shrinkage}")
        self.shrinkage = shrinkage
        features = math.prod(sample_shape)
        self.register_buffer("mean", torch.zeros(num_classes, features))
        self.register_buffer("scatter", torch.zeros(features, features))

    @torch.no_grad()
    def absorb(self, x: Tensor, y: Tensor) -> None:
        """Take samples into the statistics, each of them once.

        Args:
            x: (B, *S) samples.
            y: (B,) int64 labels.
        """
        h = self.features(x)
        member = functional.one_hot(y, len(self.count)).to(h.dtype)
        # differences of nearly equal numbers: half precision would leave nothing of them
        with torch.autocast(x.device.type, enabled=False):
            fresh = member.sum(dim=0)
            total = self.count + fresh
            fraction = fresh / total.clamp_min(1)
            mean = member.T @ h / fresh.clamp_min(1)[:, None]
            shift = mean - self.mean
            rows = torch.cat([h - mean[y], (self.count * fraction).sqrt()[:, None] * shift])
            self.scatter.addmm_(rows.T, rows)
        self.mean += fraction[:, None] * shift
        self.gathered(fresh)

    def covariance(self) -> Tensor:
        """The (H, H) float64 covariance within classes, shrunk."""
        covariance = doubled(self.scatter) / int(self.count.sum().clamp_min(1))
        # a variance of 0 (one sample per class) leaves the Euclidean distance
        level = covariance.diagonal().mean().clamp_min(1e-12)
        fraction = self._fraction(covariance, level)
        covariance.mul_(1 - fraction).diagonal().add_(fraction * level)
        return covariance

    def _fraction(self, covariance: Tensor, level: Tensor) -> float:
        """The shrinkage: the given one, or the oracle approximating one of Chen et al. (2010)."""
        if self.shrinkage != "oas":
            return float(self.shrinkage)
        power = torch.linalg.vector_norm(covariance).square() / covariance.numel()
        excess = (int(self.count.sum()) + 1) * (power - level.square() / len(covariance))
        return float(((power + level.square()) / excess).clamp_max(1)) if excess > 0 else 1.0

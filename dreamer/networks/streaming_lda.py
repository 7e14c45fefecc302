"""A linear discriminant in closed form, whose statistics are gathered sample by sample: nothing is forgotten."""

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


class StreamingLDA(ClosedForm):
    """Means of the classes and one covariance within all of them, from which a linear discriminant follows.

    Deep streaming LDA over features of a frozen network (Hayes and Kanan 2020, arXiv 1909.01520; ``SLDA_Model.py`` of
    tyler-hayes/Deep_SLDA). :meth:`absorb` takes samples into the classes' means and into one scatter matrix within all
    classes, by the pairwise update of Chan, Golub and LeVeque (1979): any order and any cut into batches give the same
    classifier, up to rounding. A logit is ``mu' C^-1 h - mu' C^-1 mu / 2``: the class with the nearest mean in
    Mahalanobis distance wins, however many samples it has.

    What it keeps is float32 and counts as its bytes: H x H numbers and a mean for every class. Every checkpoint holds
    them. They are solved in float64 when logits are first computed after something was absorbed: H^3 / 3
    multiplications, and 16 H^2 bytes for as long as that takes.

    Args:
        sample_shape: *S; samples are flattened to H features.
        num_classes: K.
        shrinkage: fraction of the mean variance's identity in the covariance, in (0, 1], or ``oas``: estimated (Chen et
            al. 2010, as scikit-learn has it). The official code adds 1e-4 of the identity itself.

    Raises:
        ValueError: when the shrinkage is out of its range.

    >>> network = StreamingLDA((2,), 2, shrinkage=0.1)
    >>> network.absorb(torch.tensor([[0.0, 0.1], [0.1, 0.0], [1.0, 1.1], [1.1, 1.0]]), torch.tensor([0, 0, 1, 1]))
    >>> network(torch.tensor([[0.2, 0.2], [0.9, 0.8]])).argmax(dim=1)
    tensor([0, 1])
    """

    mean: Tensor
    scatter: Tensor
    weight: Tensor
    bias: Tensor

    @checked
    def __init__(self, sample_shape: Sequence[int], num_classes: int, shrinkage: Shrinkage = "oas"):
        super().__init__(num_classes)
        if shrinkage != "oas" and not 0 < float(shrinkage) <= 1:
            raise ValueError(f"expected 'oas' or a shrinkage in (0, 1], got {shrinkage}")
        self.shrinkage = shrinkage
        features = math.prod(sample_shape)
        self.register_buffer("mean", torch.zeros(num_classes, features))
        self.register_buffer("scatter", torch.zeros(features, features))
        self.register_buffer("weight", torch.zeros(num_classes, features), persistent=False)
        self.register_buffer("bias", torch.zeros(num_classes), persistent=False)

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

    def line(self) -> tuple[Tensor, Tensor]:
        """(K, H) weights and (K,) bias of the logits."""
        return self.weight, self.bias

    def solve(self) -> None:
        """Compute weights and bias from the statistics, in float64."""
        covariance = doubled(self.scatter) / int(self.count.sum().clamp_min(1))
        # a variance of 0 (one sample per class) leaves the nearest mean in Euclidean distance
        level = covariance.diagonal().mean().clamp_min(1e-12)
        fraction = self._fraction(covariance, level)
        covariance.mul_(1 - fraction).diagonal().add_(fraction * level)
        mean = doubled(self.mean)
        weight = torch.cholesky_solve(mean.T, torch.linalg.cholesky(covariance)).T
        self.weight.copy_(weight)
        self.bias.copy_(-0.5 * (mean * weight).sum(dim=1))

    def _fraction(self, covariance: Tensor, level: Tensor) -> float:
        """The shrinkage: the given one, or the oracle approximating one of Chen et al. (2010)."""
        if self.shrinkage != "oas":
            return float(self.shrinkage)
        power = torch.linalg.vector_norm(covariance).square() / covariance.numel()
        excess = (int(self.count.sum()) + 1) * (power - level.square() / len(covariance))
        return float(((power + level.square()) / excess).clamp_max(1)) if excess > 0 else 1.0

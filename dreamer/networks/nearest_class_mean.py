"""A mean for every class, and the nearest one wins: nothing is learnt by gradient, and nothing is forgotten."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class NearestClassMean(nn.Module):
    """The class with the nearest mean in Euclidean distance (Mensink et al. 2013, IEEE TPAMI 35:2624).

    :meth:`absorb` takes samples into the means; any order and any cut into batches give the same classifier, up to
    rounding. A logit is ``mu h - mu mu / 2``, which orders the classes as their distances do.

    Args:
        sample_shape: *S; samples are flattened to H features.
        num_classes: K.

    >>> network = NearestClassMean((2,), 2)
    >>> network.absorb(torch.tensor([[0.0, 0.1], [0.1, 0.0], [1.0, 1.1]]), torch.tensor([0, 0, 1]))
    >>> network(torch.tensor([[0.2, 0.2], [0.9, 0.8]])).argmax(dim=1)
    tensor([0, 1])
    """

    needs_classes = True
    count: Tensor
    mean: Tensor

    def __init__(self, sample_shape: Sequence[int], num_classes: int):
        super().__init__()
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(num_classes, math.prod(sample_shape)))

    def features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, H) features."""
        return x.flatten(1).float()

    @torch.no_grad()
    def absorb(self, x: Tensor, y: Tensor) -> None:
        """Take (B, *S) samples with their (B,) int64 labels into the means, each of them once."""
        h = self.features(x)
        member = functional.one_hot(y, len(self.count)).to(h.dtype)
        with torch.autocast(x.device.type, enabled=False):
            fresh = member.sum(dim=0)
            total = (self.count + fresh).clamp_min(1)
            self.mean += (member.T @ h - fresh[:, None] * self.mean) / total[:, None]
        self.count += fresh.to(self.count.dtype)

    def classify(self, h: Tensor) -> Tensor:
        """Map (B, H) features to (B, K) logits; those of classes that were never absorbed are the lowest number."""
        with torch.autocast(h.device.type, enabled=False):
            logits = functional.linear(h, self.mean, -0.5 * self.mean.square().sum(dim=1))
        return logits.masked_fill(self.count == 0, torch.finfo(logits.dtype).min)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, K) logits."""
        return self.classify(self.features(x))

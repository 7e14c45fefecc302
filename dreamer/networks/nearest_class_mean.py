"""A mean for every class, and the nearest one wins: nothing is learnt by gradient, and nothing is forgotten."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.networks._closed_form import ClosedForm


class NearestClassMean(ClosedForm):
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

    mean: Tensor

    @checked
    def __init__(self, sample_shape: Sequence[int], num_classes: int):
        super().__init__(num_classes)
        self.register_buffer("mean", torch.zeros(num_classes, math.prod(sample_shape)))

    @torch.no_grad()
    def absorb(self, x: Tensor, y: Tensor) -> None:
        """Take (B, *S) samples with their (B,) int64 labels into the means, each of them once."""
        h = self.features(x)
        member = functional.one_hot(y, len(self.count)).to(h.dtype)
        with torch.autocast(x.device.type, enabled=False):
            fresh = member.sum(dim=0)
            total = (self.count + fresh).clamp_min(1)
            self.mean += (member.T @ h - fresh[:, None] * self.mean) / total[:, None]
        self.gathered(fresh)

    def logits(self, h: Tensor) -> Tensor:
        """(B, K) logits of (B, H) features."""
        return functional.linear(h, self.mean, -0.5 * self.mean.square().sum(dim=1))

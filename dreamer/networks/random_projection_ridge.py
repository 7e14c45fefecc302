"""Random projections, rectified, under a ridge regression in closed form: nothing is forgotten."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.networks._closed_form import ClosedForm
from dreamer.networks.base import doubled


class RandomProjectionRidge(ClosedForm):
    """Ridge regression from ``relu(W x)``, W random and fixed, to the classes' indicators (as RanPAC).

    McDonnell et al. 2023, arXiv 2307.02251 (``RanPAC.py`` of RanPAC/RanPAC: ``replace_fc``). :meth:`absorb` adds to the
    Gram matrix G of the projected samples and to the sums C of each class; the logits are ``C (G + ridge I)^-1 h``. Any
    order and any cut into batches give the same classifier, up to rounding.

    What it keeps is float32 and counts as its bytes: H x H numbers (36 MB for 3 000 features, 400 MB for the paper's
    10 000), H for every class, and the projection. They are solved in float64 when logits are first computed after
    something was absorbed.

    Args:
        sample_shape: *S; samples are flattened.
        num_classes: K.
        features: H; the paper has 10 000.
        ridge: in units of the mean diagonal element of G, so that it does not depend on the scale of samples or on
            their number, above 0. The official code takes the best power of ten on a fifth of each experience.
        seed: of the projection.

    Raises:
        ValueError: when a number is out of its range.
    """

    projection: Tensor
    gram: Tensor
    sums: Tensor
    weight: Tensor

    @checked
    def __init__(
        self, sample_shape: Sequence[int], num_classes: int, features: int = 3000, ridge: float = 1.0, seed: int = 0
    ):
        super().__init__(num_classes)
        at_least(1, features=features)
        if ridge <= 0:
            raise ValueError(f"expected a ridge above 0, got {ridge}")
        self.ridge = ridge
        size = math.prod(sample_shape)
        rng = torch.Generator().manual_seed(seed)
        # kept in checkpoints, though the seed would bring it back: another release of torch may draw other numbers
        self.register_buffer("projection", torch.randn(features, size, generator=rng) / math.sqrt(size))
        self.register_buffer("gram", torch.zeros(features, features))
        self.register_buffer("sums", torch.zeros(num_classes, features))
        self.register_buffer("weight", torch.zeros(num_classes, features), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, H) rectified projections."""
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x.flatten(1).float(), self.projection).relu()

    @torch.no_grad()
    def absorb(self, x: Tensor, y: Tensor) -> None:
        """Take (B, *S) samples with their (B,) int64 labels into the statistics, each of them once."""
        h = self.features(x)
        member = functional.one_hot(y, len(self.count))
        with torch.autocast(x.device.type, enabled=False):
            self.gram.addmm_(h.T, h)
            self.sums.addmm_(member.T.to(h.dtype), h)
        self.gathered(member.sum(dim=0))

    def logits(self, h: Tensor) -> Tensor:
        """(B, K) logits of (B, H) features."""
        return functional.linear(h, self.weight)

    def solve(self) -> None:
        """Compute the weights from the statistics, in float64."""
        gram = doubled(self.gram)
        # before anything was absorbed every weight is 0, whatever the ridge
        gram.diagonal().add_(self.ridge * gram.diagonal().mean().clamp_min(1e-12))
        self.weight.copy_(torch.cholesky_solve(doubled(self.sums).T, torch.linalg.cholesky(gram)).T)

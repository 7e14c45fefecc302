"""Mixup: two samples are blended, and their labels alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import above, fractions
from dreamer.perturbations.base import along, any_partners, beta, multiplied, need_float


class Mixup:
    """Mix every sample with another one of the batch, and their labels alike.

    ``x = l x_i + (1 - l) x_j`` and ``p = l p_i + (1 - l) p_j`` with ``l ~ Beta(alpha, alpha)`` (Zhang et al. 2018,
    arXiv 1710.09412, section 2). The official ``train.py`` (``mixup_data``) draws one ``l`` per batch; here every
    sample has its own.

    Args:
        alpha: above 0; small values leave one of the two almost alone, 1 makes all weights equally likely. Zhang et
            al. on CIFAR-10: 1.
        strength: factor of the other sample's weight ``1 - l``, in [0, 1]. Zhang et al.: 1.

    Raises:
        ValueError: when ``alpha`` is not above 0, or ``strength`` is not in [0, 1].
    """

    space: Literal["pixel"] = "pixel"
    amounts = ("strength",)

    @checked
    def __init__(self, alpha: float = 1.0, strength: float = 1.0):
        above(0, alpha=alpha)
        fractions(strength=strength)
        self.alpha = alpha
        self.strength = strength

    def scaled(self, strength: float) -> Mixup:
        """See :func:`dreamer.perturbations.scaled`; at most 1."""
        return multiplied(self, strength, most=1.0)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, *S) samples and (B, K) label distributions."""
        need_float(x, "Mixup")
        partner = any_partners(p, rng)
        weight = self.strength * beta(len(x), self.alpha, x.device, rng)
        mixed = torch.lerp(x, x[partner], along(weight.to(x.dtype), x))
        return mixed, torch.lerp(p, p[partner], along(weight.to(p.dtype), p))

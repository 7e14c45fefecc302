"""Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.perturbations.base import along, need_float, uniform


class Noise:
    """Add Gaussian noise; every sample draws its own strength.

    Args:
        std: the largest standard deviation; a sample's own is uniform in [0, std].
        clip: range into which the result is clipped, (low, high); None leaves it as it is.

    Raises:
        ValueError: when ``std`` is negative.
    """

    space: Literal["pixel"] = "pixel"
    amounts = ("std",)

    @checked
    def __init__(self, std: float = 0.1, clip: Sequence[float] | None = (0.0, 1.0)):
        at_least(0, std=std)
        self.std = std
        self.clip = clip

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, *S) samples; labels stay."""
        need_float(x, "Noise")
        std = along(uniform(len(x), 0.0, self.std, x, rng), x)
        noisy = x + std * torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
        return noisy if self.clip is None else noisy.clamp(*self.clip), p

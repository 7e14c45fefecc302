"""Gaussian noise on latent codes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.perturbations.base import along, need_float, uniform


class LatentJitter:
    """Add Gaussian noise to every latent code; every code draws its own strength.

    By default the noise is measured in units of each dimension's own standard deviation over the batch: generators
    differ in the scale of their codes, and within one generator used dimensions vary widely while unused ones do not,
    so one absolute amount would be too much for some and nothing for others. A code that is alone in its batch has no
    standard deviation and does not change.

    Args:
        std: the largest standard deviation of the noise; a code's own is uniform in [0, std]. 0.5 is the weight of the
            noise in the REM phase of perturbed and adversarial dreaming, where noise and codes have a spread of about 1
            (Deperrois et al. 2022, eLife 11:e76384).
        relative: measure ``std`` in the spread of the batch, dimension by dimension; False: in units of the codes.

    Raises:
        ValueError: when ``std`` is negative.
    """

    space: Literal["latent"] = "latent"
    amounts = ("std",)

    @checked
    def __init__(self, std: float = 0.5, relative: bool = True):
        at_least(0, std=std)
        self.std = std
        self.relative = relative

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, D) codes; labels stay."""
        need_float(x, "LatentJitter")
        std = along(uniform(len(x), 0.0, self.std, x, rng), x)
        noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
        # divided by B, not by B - 1, which would make the spread of a single code undefined
        spread = x.std(dim=0, correction=0) if self.relative else 1.0
        return x + std * spread * noise, p

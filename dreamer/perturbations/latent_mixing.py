"""Interpolation of latent codes: two samples become one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import fractions
from dreamer.perturbations.base import any_partners, multiplied, partners, uniform


class LatentMixing:
    """Interpolate every latent code towards that of another sample of the batch, and its label alike.

    The recombination of the REM phase of perturbed and adversarial dreaming (Deperrois et al. 2022, eLife
    11:e76384), which mixes 0.25 of one memory, 0.25 of another and 0.5 of noise; here the weight is drawn per sample.

    Args:
        strength: the largest weight of the other code; a sample's own is uniform in [0, strength], at most 1.
        within_class: mix with samples of the same class only, so that labels stay as they are.

    Raises:
        ValueError: when ``strength`` is not in [0, 1].
    """

    space: Literal["latent"] = "latent"
    amounts = ("strength",)

    @checked
    def __init__(self, strength: float = 0.5, within_class: bool = True):
        fractions(strength=strength)
        self.strength = strength
        self.within_class = within_class

    def scaled(self, strength: float) -> LatentMixing:
        """See :func:`dreamer.perturbations.scaled`; at most 1."""
        return multiplied(self, strength, most=1.0)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, D) codes and (B, K) label distributions."""
        partner = partners(p.argmax(dim=1), rng) if self.within_class else any_partners(p, rng)
        weight = uniform(len(x), 0.0, self.strength, x, rng)[:, None]
        return torch.lerp(x, x[partner], weight), torch.lerp(p, p[partner], weight.to(p.dtype))

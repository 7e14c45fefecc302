"""Temperature of dreams: more typical, or less."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.perturbations.base import along, need_float, uniform


class Temperature:
    """Multiply the noise from which a generator dreams; every dream draws its own factor.

    Below 1 dreams concentrate on what is typical, above 1 they are less typical than the training data. The factor of
    the standard deviation is what Glow calls temperature (Kingma and Dhariwal 2018, arXiv 1807.03039, section 6).

    Args:
        low: the smallest factor, at least 0. Kingma and Dhariwal show samples at 0.7.
        high: the largest factor; a dream's own is uniform in [low, high]. 1.3: as far above 1 as ``low`` is below.

    Raises:
        ValueError: unless ``0 <= low <= high``.
    """

    space: Literal["noise"] = "noise"
    amounts = ("low", "high")

    @checked
    def __init__(self, low: float = 0.7, high: float = 1.3):
        if not 0 <= low <= high:
            raise ValueError(f"expected temperatures with 0 <= low <= high, got {low} and {high}")
        self.low = low
        self.high = high

    def scaled(self, strength: float) -> Temperature:
        """See :func:`dreamer.perturbations.scaled`; a factor of 1 changes nothing, so the distance to 1 is scaled."""
        copied = copy.copy(self)
        for name in self.amounts:
            setattr(copied, name, max(strength * getattr(self, name) + (1 - strength), 0.0))
        return copied

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, D) standard normal numbers; labels stay."""
        need_float(x, "Temperature")
        return x * along(uniform(len(x), self.low, self.high, x, rng), x), p

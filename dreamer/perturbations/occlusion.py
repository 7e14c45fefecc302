"""Occlusion: random tiles are set to zero."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least, fractions
from dreamer.perturbations.base import multiplied, need_images, uniform


class Occlusion:
    """Set random square tiles of every image to zero.

    The perturbation of the NREM phase of perturbed and adversarial dreaming (Deperrois et al. 2022, eLife
    11:e76384), which draws one tile size and one rate per batch; here every image draws its own.

    Args:
        rate: the largest fraction of dark tiles; an image's own is uniform in [0, rate]. PAD: 1.
        tile: the largest side of a tile in pixels; an image's own is uniform in 1 ... tile. PAD: 8 on 32 x 32.

    Raises:
        ValueError: when ``rate`` is not in [0, 1] or ``tile`` is below 1.
    """

    space: Literal["pixel"] = "pixel"
    amounts = ("rate",)

    @checked
    def __init__(self, rate: float = 0.5, tile: int = 4):
        fractions(rate=rate)
        at_least(1, tile=tile)
        self.rate = rate
        self.tile = tile

    def scaled(self, strength: float) -> Occlusion:
        """See :func:`dreamer.perturbations.scaled`; a rate of at most 1."""
        return multiplied(self, strength, most=1.0)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, C, H, W) images; labels stay."""
        need_images(x, "Occlusion")
        count, _, height, width = x.shape
        side = torch.randint(1, self.tile + 1, (count, 1), generator=rng, device=x.device)
        rate = uniform(count, 0.0, self.rate, torch.empty(0, device=x.device), rng).view(-1, 1, 1)
        drawn = torch.rand(count, height, width, generator=rng, device=x.device)
        # all pixels of a tile look up the number of the same cell
        row = torch.arange(height, device=x.device) // side
        column = torch.arange(width, device=x.device) // side
        cell = (row[:, :, None] * width + column[:, None, :]).flatten(1)
        dark = drawn.flatten(1).gather(1, cell).view(count, height, width) < rate
        return x.masked_fill(dark[:, None], 0), p

"""Small rotations, shifts, zooms and shears."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.perturbations.base import need_float, need_images, uniform


class Affine:
    """Rotate, shear, zoom and shift every image by its own amounts, bilinearly, with zeros outside.

    torchvision's random affine draws once per batch; this one draws per image.

    Args:
        degrees: rotation, uniform in [-degrees, degrees].
        shift: shift along each axis as a fraction of the side, uniform in [-shift, shift].
        zoom: factor of size, log-uniform in [1 / (1 + zoom), 1 + zoom].
        shear: shear angle in degrees, uniform in [-shear, shear].

    Raises:
        ValueError: when an amount is negative.
    """

    space: Literal["pixel"] = "pixel"
    amounts = ("degrees", "shift", "zoom", "shear")

    @checked
    def __init__(self, degrees: float = 12.0, shift: float = 0.07, zoom: float = 0.1, shear: float = 8.0):
        at_least(0, degrees=degrees, shift=shift, zoom=zoom, shear=shear)
        self.degrees = degrees
        self.shift = shift
        self.zoom = zoom
        self.shear = shear

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, C, H, W) images; labels stay."""
        need_images(x, "Affine")
        need_float(x, "Affine")
        count = len(x)
        angle = uniform(count, -self.degrees, self.degrees, x, rng) * (math.pi / 180)
        shear = torch.tan(uniform(count, -self.shear, self.shear, x, rng) * (math.pi / 180))
        zoom = torch.exp(uniform(count, -1.0, 1.0, x, rng) * math.log1p(self.zoom))
        # grid coordinates span [-1, 1], so the side has length 2
        right = 2 * uniform(count, -self.shift, self.shift, x, rng)
        down = 2 * uniform(count, -self.shift, self.shift, x, rng)
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        rows = [cos, shear * cos - sin, right, sin, shear * sin + cos, down]
        grid = sampled_at(torch.stack(rows, dim=1).view(count, 2, 3), x.shape[2], x.shape[3])
        return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False), p


def sampled_at(theta: Tensor, height: int, width: int) -> Tensor:
    """Where affine maps look for each pixel, as ``torch.nn.functional.affine_grid`` says, from sums alone.

    Args:
        theta: (B, 2, 3) maps, in coordinates that span [-1, 1] along each axis.

    Returns:
        (B, height, width, 2) coordinates, across and down.

    >>> sampled_at(torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), 1, 2).tolist()
    [[[[-0.5, 0.0], [0.5, 0.0]]]]
    """
    # a part for each column and one for each row, added up: a product of small matrices for each image takes longer
    columns = (theta[:, :, 0, None] * _centres(width, theta) + theta[:, :, 2, None]).transpose(1, 2)
    rows = (theta[:, :, 1, None] * _centres(height, theta)).transpose(1, 2)
    return columns[:, None] + rows[:, :, None]


def _centres(pixels: int, like: Tensor) -> Tensor:
    """The middle of each pixel of a side that spans [-1, 1]."""
    return (2 * torch.arange(pixels, device=like.device, dtype=like.dtype) + 1) / pixels - 1

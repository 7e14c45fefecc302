"""Random crops and mirror images."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import fractions
from dreamer.perturbations.base import along, need_images


class CropFlip:
    """Pad every image with zeros, crop a window of its original size, and flip it left to right at random.

    The usual augmentation of CIFAR-10 (He et al. 2016, arXiv 1512.03385, section 4.2), where the window and the
    flip are drawn for every image. Pixels are moved by whole places, so none is blurred.

    Args:
        padding: zeros on each side: an int counts pixels, a float in [0, 1] is a fraction of the side; the shift
            along each axis is uniform in -padding ... padding. He et al.: 4 on 32 x 32.
        flip: probability of the flip, in [0, 1]. He et al.: 0.5.

    Raises:
        ValueError: when ``padding`` is negative, a fraction above 1, or ``flip`` is not in [0, 1].
    """

    space: Literal["pixel"] = "pixel"
    amounts = ("padding", "flip")

    @checked
    def __init__(self, padding: int | float = 4, flip: float = 0.5):
        if padding < 0 or (isinstance(padding, float) and padding > 1):
            raise ValueError(f"expected padding in whole pixels or as a fraction in [0, 1] of the side, got {padding}")
        fractions(flip=flip)
        self.padding = padding
        self.flip = flip

    def scaled(self, strength: float) -> CropFlip:
        """See :func:`dreamer.perturbations.scaled`; pixels stay whole, fractions and probabilities at most 1."""
        copied = copy.copy(self)
        padding = strength * self.padding
        copied.padding = round(padding) if isinstance(self.padding, int) else min(padding, 1.0)
        copied.flip = min(strength * self.flip, 1.0)
        return copied

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, C, H, W) images of any dtype; labels stay."""
        need_images(x, "CropFlip")
        count, _, height, width = x.shape
        above, left = self._pixels(height), self._pixels(width)
        row = torch.randint(2 * above + 1, (count,), generator=rng, device=x.device)
        column = torch.randint(2 * left + 1, (count,), generator=rng, device=x.device)
        mirrored = torch.rand(count, generator=rng, device=x.device) < self.flip
        windows = functional.pad(x, (left, left, above, above)).unfold(2, height, 1).unfold(3, width, 1)
        cut = windows[torch.arange(count, device=x.device), :, row, column]
        return torch.where(along(mirrored, x), cut.flip(3), cut), p

    def _pixels(self, side: int) -> int:
        return self.padding if isinstance(self.padding, int) else round(self.padding * side)

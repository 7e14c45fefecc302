"""Brightness, contrast, saturation and hue."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.perturbations.base import along, multiplied, need_float, need_images, uniform

_LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the grey of a pixel (ITU-R BT.601), in the digits that torchvision uses."""


class Colour:
    """Change brightness, contrast, saturation and hue of every image by its own factors, in this order.

    torchvision's ``ColorJitter`` draws once per batch and shuffles the order; what each of the four does to a pixel is
    the same here (:func:`adjust`). Grey images have neither saturation nor hue: those are left out.

    The defaults are those of SimCLR for CIFAR-10 (Chen et al. 2020, arXiv 2002.05709: 0.8, 0.8, 0.8 and 0.2 of
    appendix A times a strength of 0.5, appendix B.9). SimCLR leaves one image in five as it is; here each is changed.

    Args:
        brightness: an image's own factor is uniform in [max(0, 1 - brightness), 1 + brightness].
        contrast: the same for the distance of each pixel to the mean grey of its image.
        saturation: the same for the distance of each pixel to its own grey.
        hue: turn of the colour wheel, uniform in [-hue, hue], at most 0.5; 1 is a whole turn.

    Raises:
        ValueError: when an amount is negative, or ``hue`` is above 0.5.
    """

    space: Literal["pixel"] = "pixel"
    amounts = ("brightness", "contrast", "saturation", "hue")
    clip = (0.0, 1.0)

    @checked
    def __init__(self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, hue: float = 0.1):
        at_least(0, brightness=brightness, contrast=contrast, saturation=saturation)
        if not 0 <= hue <= 0.5:
            raise ValueError(f"expected a hue in [0, 0.5], got {hue}")
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue

    def scaled(self, strength: float) -> Colour:
        """See :func:`dreamer.perturbations.scaled`; half a turn of the colour wheel is the largest."""
        copied = multiplied(self, strength)
        copied.hue = min(copied.hue, 0.5)
        return copied

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, 1, H, W) or (B, 3, H, W) images in [0, 1]; labels stay.

        Raises:
            ValueError: when images have neither one channel nor three.
        """
        need_images(x, "Colour")
        need_float(x, "Colour")
        if x.shape[1] not in (1, 3):
            raise ValueError(f"Colour perturbs images of 1 or 3 channels, got samples of shape {tuple(x.shape)}")
        brightness, contrast, saturation = (
            uniform(len(x), max(0.0, 1 - amount), 1 + amount, x, rng)
            for amount in (self.brightness, self.contrast, self.saturation)
        )
        return adjust(x, brightness, contrast, saturation, uniform(len(x), -self.hue, self.hue, x, rng)), p


def adjust(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Change the colours of images; each step ends in [0, 1].

    Args:
        x: (B, 1, H, W) grey or (B, 3, H, W) red, green and blue in [0, 1]; of grey ones only the first two change.
        brightness: (B,) factors of every pixel.
        contrast: (B,) factors of the distance to the mean grey of the image.
        saturation: (B,) factors of the distance to the pixel's own grey.
        hue: (B,) turns of the colour wheel, 1 a whole one.

    Returns:
        Images of the same shape.
    """
    x = (x * along(brightness, x)).clamp(0, 1)
    x = torch.lerp(_grey(x).mean(dim=(1, 2, 3), keepdim=True), x, along(contrast, x)).clamp(0, 1)
    if x.shape[1] == 1:
        return x
    x = torch.lerp(_grey(x), x, along(saturation, x)).clamp(0, 1)
    return _turn(x, hue)


def _grey(x: Tensor) -> Tensor:
    """(B, 1, H, W)."""
    return x if x.shape[1] == 1 else (x * x.new_tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def _turn(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue, in sextants of the HSV hexagon; the brightest and the darkest channel keep their value."""
    brightest = x.amax(dim=1)
    spread = brightest - x.amin(dim=1)
    # a grey pixel has no hue, and any that it is given here has no effect
    unit = torch.where(spread > 0, spread, 1)
    red, green, blue = x.unbind(dim=1)
    beyond_red = torch.where(brightest == green, 2 + (blue - red) / unit, 4 + (red - green) / unit)
    sextant = torch.where(brightest == red, (green - blue) / unit, beyond_red) + along(6 * turns, red)
    # seen from red, green and blue the hexagon starts at 5, 3 and 1: there a channel falls, rests, rises and rests
    place = torch.remainder(sextant[:, None] + x.new_tensor((5.0, 3.0, 1.0))[:, None, None], 6)
    return brightest[:, None] - spread[:, None] * torch.minimum(place, 4 - place).clamp(0, 1)

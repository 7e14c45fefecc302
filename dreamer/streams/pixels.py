"""From picture files and PIL images to uint8 pixels, whatever their mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")


def pixels(image: Image.Image, channels: int | None = None, size: int | None = None, crop: bool = False) -> Tensor:
    """The pixels of one image.

    Transparent parts show a white ground; 16-bit greys are scaled down to 8 bits.

    Args:
        image: in any of PIL's modes but 32-bit floats.
        channels: 1 (grey) or 3 (RGB); None keeps a grey image grey and makes anything else RGB.
        size: side of the square that the image is resized to (bilinear, antialiased); None keeps its size.
        crop: take the largest square in the middle of the image first; False stretches what is no square.

    Returns:
        (C, H, W) uint8.

    Raises:
        ValueError: for floating-point images, whose range is unknown.
    """
    image = _eight_bits(image)
    mode = {None: "L" if image.mode == "L" else "RGB", 1: "L", 3: "RGB"}[channels]
    image = image if image.mode == mode else image.convert(mode)
    if crop:
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        image = image.crop((left, top, left + side, top + side))
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    array = np.array(image, dtype=np.uint8)
    return torch.from_numpy(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))


def coloured(image: Image.Image) -> bool:
    """Whether any pixel of the image is not grey, whatever its mode."""
    if image.mode in _GREY_MODES:
        return False
    rgb = pixels(image, channels=3)
    return bool((rgb[0] != rgb[1]).any() or (rgb[1] != rgb[2]).any())


def open_image(path: str | Path) -> Image.Image:
    """Read one picture file, upright as its camera noted."""
    with Image.open(path) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return image


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Work on a picture file; whatever goes wrong becomes a ``ValueError`` that names the file."""
    try:
        yield
    except Exception as error:  # damaged files make PIL's decoders raise errors of many types
        raise ValueError(f"cannot read the image {str(path)!r} ({error}): repair it or take it away") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image in one of the modes that convert without loss of range."""
    if image.mode == "F":
        raise ValueError("expected an image of whole numbers (8 or 16 bits), got one of 32-bit floats")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray((values // 257).astype(np.uint8))
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        grey = image.mode in ("L", "LA", "La")
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(ground, layered).convert("L" if grey else "RGB")
    return image.convert("L") if image.mode == "1" else image

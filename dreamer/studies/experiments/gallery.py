"""A small picture of some generations of dreams, a row per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dreamer.core.types import Batch

FILE_NAME = "dreams.png"
_EACH = 3
_GAP = 4


def write_gallery(generations: Sequence[Batch], num_classes: int, folder: Path) -> str | None:
    """Write a picture: in groups of columns one generation each, a row per class.

    Args:
        generations: dreams, images (B, C, H, W) with values in [0, 1] and C of 1 or 3; other samples give no picture.
    """
    if not generations or generations[0].x.ndim != 4 or generations[0].x.shape[1] not in (1, 3):
        return None
    from PIL import Image

    blocks = [_block(dreams, num_classes) for dreams in generations]
    gap = torch.ones(blocks[0].shape[0], _GAP, blocks[0].shape[2])
    spaced = [part for block in blocks for part in (gap, block)][1:]
    pixels = torch.cat(spaced, dim=1).clamp(0, 1).mul(255).round().to(torch.uint8)
    image = Image.fromarray(pixels.squeeze(2).numpy())
    zoom = max(1, round(16 / generations[0].x.shape[-1]))
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(folder / FILE_NAME)
    return FILE_NAME


def _block(dreams: Batch, num_classes: int) -> Tensor:
    """(K H, 3 W, C) pixels; a class without dreams is grey."""
    rows = []
    for label in range(num_classes):
        own = dreams.x[dreams.y == label][:_EACH]
        missing = torch.full((_EACH - len(own), *dreams.x.shape[1:]), 0.5)
        rows.append(torch.cat([*torch.cat([own, missing])], dim=2))
    return torch.cat(rows, dim=1).permute(1, 2, 0)

"""The dreams of the last night of every arm, side by side, small enough to travel inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from dreamer.compare.results import Lived
from dreamer.report.svg import Figure, Panel, heading

_WIDTH = 300.0
_SIDE = 720
"""Pixels of the longer side that a picture keeps where there is room for all."""
_LARGE = 150_000


def dreams(arms: Mapping[str, Sequence[Lived]], key: str, room: int) -> Figure | None:
    """The last gallery of each arm's lowest seed that has one.

    Args:
        arms: the lives of one stream by arm.
        key: of the stream, unique in the page.
        room: bytes that all pictures together may take, before they are written as text.
    """
    found = {arm: gallery for arm, lives in arms.items() if (gallery := _last_gallery(lives)) is not None}
    pictures: dict[str, tuple[str, bytes, float]] = {}
    for side in (_SIDE, _SIDE * 2 // 3, _SIDE // 2, _SIDE // 3, _SIDE // 4):
        read = {arm: _picture(path, side) for arm, (_, path) in found.items()}
        pictures = {arm: picture for arm, picture in read.items() if picture is not None}
        if sum(len(picture) for _, picture, _ in pictures.values()) <= room:
            break
    else:
        return None
    if not pictures:
        return None
    panels, rows = [], []
    for arm, (kind, picture, ratio) in pictures.items():
        life, path = found[arm]
        night = path.stem.removeprefix("night_")
        panel = Panel(
            arm, _WIDTH, 24 + _WIDTH * ratio, f"Samples that {arm} dreamt in its last night, a row per class."
        )
        heading(panel, arm, f"seed {life.seed}, night {night.lstrip('0') or '0'}")
        href = f"data:{kind};base64,{base64.b64encode(picture).decode()}"
        panel.add("image", "", href=href, x=0, y=24, width=_WIDTH, height=_WIDTH * ratio)
        panels.append(panel)
        rows.append((arm, life.seed, night, str(path)))
    without = [arm for arm in arms if arm not in pictures]
    return Figure(
        f"{key}-dreams",
        "What they dreamt",
        "Dreams of the last night of one life of each arm (its lowest seed with a gallery), a row per class."
        + (f" Without a gallery: {', '.join(without)}." if without else ""),
        panels,
        ("arm", "seed", "night", "picture"),
        rows,
        wide=True,
    )


def _last_gallery(lives: Sequence[Lived]) -> tuple[Lived, Path] | None:
    for life in sorted(lives, key=lambda life: life.seed):
        pictures = sorted((life.folder / "dreams").glob("night_*.png"), key=_night) if life.folder else []
        if pictures:
            return life, pictures[-1]
    return None


def _night(path: Path) -> tuple[int, str]:
    number = path.stem.removeprefix("night_")
    return (int(number) if number.isdigit() else -1), path.stem


def _picture(path: Path, side: int) -> tuple[str, bytes, float] | None:
    """(media type, file, height over width) of a picture shrunk to a side; None when it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except OSError:
        return None
    picture.thumbnail((side, side))
    ratio = picture.height / picture.width
    file = io.BytesIO()
    picture.quantize(64).save(file, "PNG", optimize=True)
    if file.tell() <= _LARGE:
        return "image/png", file.getvalue(), ratio
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80, optimize=True)
    return "image/jpeg", file.getvalue(), ratio

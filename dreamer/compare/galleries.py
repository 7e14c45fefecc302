"""The dreams of the last night of every arm, side by side, small enough to travel inside the page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from dreamer.compare.results import CompletedRun
from dreamer.report.plots import picture_panel
from dreamer.report.svg import Figure

_SIDE = 720
"""Pixels of the longer side that a picture keeps where there is room for all."""
_LARGE = 150_000


def dreams(arms: Mapping[str, Sequence[CompletedRun]], key: str, room: int) -> Figure | None:
    """The last gallery of each arm's lowest seed that has one.

    Args:
        room: bytes that all pictures together may take, before they are written as text.
    """
    found = {arm: gallery for arm, runs in arms.items() if (gallery := _last_gallery(runs)) is not None}
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
        run, path = found[arm]
        night = path.stem.removeprefix("night_")
        number = f"seed {run.seed}, night {night.lstrip('0') or '0'}"
        words = f"Samples that {arm} dreamt in its last night, a row per class."
        panels.append(picture_panel(arm, number, words, kind, picture, ratio))
        rows.append((arm, run.seed, night, str(path)))
    without = [arm for arm in arms if arm not in pictures]
    return Figure(
        f"{key}-dreams",
        "Dreams",
        "Dreams of the last night of one run of each arm (its lowest seed with a gallery), a row per class."
        + (f" Without a gallery: {', '.join(without)}." if without else ""),
        panels,
        ("arm", "seed", "night", "picture"),
        rows,
        wide=True,
    )


def _last_gallery(runs: Sequence[CompletedRun]) -> tuple[CompletedRun, Path] | None:
    for run in sorted(runs, key=lambda run: run.seed):
        pictures = sorted((run.folder / "dreams").glob("night_*.png"), key=_night) if run.folder else []
        if pictures:
            return run, pictures[-1]
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

"""What every picture of a run is drawn on and with.

Colours are those of Okabe & Ito 2008 ("Color Universal Design"). Figures are made by matplotlib's Agg canvas directly,
without pyplot, so that no state is shared with whatever the user draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dreamer.report._fonts import families, legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY = "#222222", "#8A8A8A"
_GAP = 0.05
"""Inches between samples."""
_APART = 0.5
"""Width of the gap between groups of columns, in samples."""
Shown = tuple[Tensor, str] | None
"""A (*S) sample and what is written above it; None leaves its place empty."""
MOST_CLASSES = 20
"""Rows of a picture with one for each class; of more classes that many are shown, spread evenly."""
_DPI = 150


def shown_classes(y: Tensor) -> list[int]:
    """The classes that get a row, of (N,) labels."""
    classes = y.unique()
    return classes[torch.linspace(0, len(classes) - 1, min(len(classes), MOST_CLASSES)).round().long()].tolist()


def drawable(x: Tensor) -> bool:
    """Whether there are (N, *S) samples that can be shown: pixels, heat maps or rows of numbers."""
    return bool(len(x)) and (x.ndim in (2, 3) or (x.ndim == 4 and x.shape[1] in (1, 3)))


def scale_of(x: Tensor) -> dict[str, float]:
    """The values that are drawn darkest and lightest: 0 and 1 for pixels, else the range of (N, *S) samples."""
    return {"vmin": 0.0, "vmax": 1.0} if x.ndim == 4 else {"vmin": float(x.min()), "vmax": float(x.max())}


def new_figure(width: float, height: float) -> Figure:
    """A white page of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path, **cut: Any) -> Path:
    """Write a figure as its suffix says, with the folders above it; ``cut`` goes to matplotlib's ``savefig``."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if not text.get_text().isascii():
            text.set_fontfamily(families([text.get_text()]))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **cut)
    return path


def class_name(label: int, names: Sequence[str]) -> str:
    """The name of a class; its number where it has none, or none that an installed font can show."""
    return names[label] if label < len(names) and legible(names[label]) else str(label)


def draw_sheet(
    rows: Sequence[Sequence[Shown]],
    names: Sequence[str],
    scale: Mapping[str, float],
    path: str | Path,
    heads: Mapping[int, str] = MappingProxyType({}),
) -> Path:
    """Draw rows of samples, each with its name at the left.

    Args:
        rows: at least one with a sample; shorter ones leave places empty at their end.
        heads: what is written above the first row, by the column at which a group begins.
    """
    shown = [each for row in rows for each in row if each is not None]
    tall, wide = _cell(shown[0][0])
    step = tall + 0.13 * any(text for _, text in shown)
    columns = max(len(row) for row in rows)
    lefts = [wide * (i + _APART * sum(0 < begin <= i for begin in heads)) for i in range(columns)]
    right, top = lefts[-1] + wide, 0.33 if heads else 0.0
    # the figure is as large as the samples; what is written beside them is added when the file is cut out
    figure = new_figure(right, step * len(rows) + top)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    bottoms = [-(place + 1) * step for place in range(len(rows))]
    for bottom, row in zip(bottoms, rows, strict=True):
        for left, each in zip(lefts, row, strict=False):
            if each is not None:
                _draw_sample(axes, each[0], (left, left + wide - _GAP, bottom, bottom + tall - _GAP), scale)
                axes.text(left + (wide - _GAP) / 2, bottom + tall, each[1], ha="center", fontsize=6, color=GREY)
    for begin, head in heads.items():
        axes.text(lefts[begin], 0.18, head, fontsize=7, va="bottom")
    axes.set(xticks=[], xlim=(0, right), ylim=(bottoms[-1], top))
    axes.set_yticks([bottom + tall / 2 for bottom in bottoms], names)
    axes.tick_params(length=0, labelfontfamily=families(names))
    axes.spines[:].set_visible(False)
    return save(figure, path, bbox_inches="tight", pad_inches=0.1)


def _cell(sample: Tensor) -> tuple[float, float]:
    """Height and width of one (*S) sample with its gap, in inches."""
    if sample.ndim == 1:
        return 0.35, 1.3
    height, width = sample.shape[-2:]
    longest = max(height, width)
    return max(0.2, 0.8 * height / longest) + _GAP, max(0.2, 0.8 * width / longest) + _GAP


def _draw_sample(
    axes: Axes, dream: Tensor, extent: tuple[float, float, float, float], scale: Mapping[str, Any]
) -> None:
    """Draw one (*S) sample into ``extent`` (left, right, bottom, top), in colours between ``scale_of`` its kind."""
    where: dict[str, Any] = {"extent": extent, "aspect": "auto", "interpolation": "nearest"}
    if dream.ndim == 3 and dream.shape[0] == 3:
        axes.imshow(dream.clamp(0.0, 1.0).permute(1, 2, 0).numpy(), **where)
    elif dream.ndim == 3:
        axes.imshow(dream[0].numpy(), cmap="gray", **where, **scale)
    else:
        axes.imshow(torch.atleast_2d(dream).numpy(), cmap="cividis", **where, **scale)

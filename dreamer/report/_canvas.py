"""What every picture of a run is drawn on and with.

Colours are those of Okabe & Ito 2008 ("Color Universal Design"). Figures are made by matplotlib's Agg canvas directly,
without pyplot, so that no state is shared with whatever the user draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY = "#222222", "#8A8A8A"
GAP = 0.05
"""Inches between samples."""
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **cut)
    return path


def cell(x: Tensor) -> tuple[float, float]:
    """Height and width of one dream with its gap, in inches, from the shape of (N, *S) dreams."""
    if x.ndim == 2:
        return 0.35, 1.3
    height, width = x.shape[-2:]
    longest = max(height, width)
    return max(0.2, 0.8 * height / longest) + GAP, max(0.2, 0.8 * width / longest) + GAP


def draw_sample(axes: Axes, dream: Tensor, extent: tuple[float, float, float, float], scale: Mapping[str, Any]) -> None:
    """Draw one (*S) sample into ``extent`` (left, right, bottom, top), in colours between ``scale_of`` its kind."""
    where: dict[str, Any] = {"extent": extent, "aspect": "auto", "interpolation": "nearest"}
    if dream.ndim == 3 and dream.shape[0] == 3:
        axes.imshow(dream.clamp(0.0, 1.0).permute(1, 2, 0).numpy(), **where)
    elif dream.ndim == 3:
        axes.imshow(dream[0].numpy(), cmap="gray", **where, **scale)
    else:
        axes.imshow(torch.atleast_2d(dream).numpy(), cmap="cividis", **where, **scale)

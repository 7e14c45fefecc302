"""A night's dreams beside real data: does the generator remember, or invent?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dreamer.core.types import Batch
from dreamer.report._canvas import GAP, GREY, cell, draw_sample, drawable, new_figure, save, scale_of, shown_classes

_REAL, _DREAMS = 3, 2
_APART = 0.5
"""Width of the gap between groups of columns, in samples."""


def draw_neighbours(
    dreams: Batch, confidence: Tensor, real: Batch, path: str | Path, class_names: Sequence[str] = ()
) -> Path | None:
    """Draw, in a row for each class: real samples, then the dreams of which the learner is most and least certain.

    Right of each dream stands the real sample, of whatever class, that is nearest to it (Euclidean, sample to sample).

    Args:
        dreams: (N, *S) samples with the classes that were dreamt of, on the CPU. Shapes are those that
            :func:`dreamer.report.pictures.draw_dreams` can show; others have no picture.
        confidence: (N,) confidence of the learner in those classes, in [0, 1].
        real: (M, *S) held-out samples.

    Returns:
        The path, or None when the samples cannot be shown.
    """
    x = dreams.x.detach().float()
    if not drawable(x):
        return None
    others = real.x.detach().float()
    nearest = torch.cdist(x.flatten(1), others.flatten(1)).argmin(dim=1)
    classes = shown_classes(dreams.y)
    tall, wide = cell(x)
    above = 0.13
    lefts = _lefts(wide)
    figure = new_figure(lefts[-1] + wide, (tall + above) * len(classes) + 0.2)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    scale = scale_of(torch.cat([x, others]))
    middles = []
    for row, label in enumerate(classes):
        bottom = -(row + 1) * (tall + above)
        middles.append(bottom + tall / 2)
        own = (dreams.y == label).nonzero().flatten()
        own = own[confidence[own].argsort(descending=True, stable=True)]
        shown: list[tuple[Tensor, str] | None] = [(sample, "") for sample in others[real.y == label][:_REAL]]
        shown += [None] * (_REAL - len(shown))
        for group in (own[:_DREAMS], own.flip(0)[: min(_DREAMS, max(0, len(own) - _DREAMS))]):
            pairs: list[tuple[Tensor, str] | None] = []
            for index in group.tolist():
                near = int(nearest[index])
                pairs += [
                    (x[index], f"{float(confidence[index]):.2f}"),
                    (others[near], _name(real.y[near], class_names)),
                ]
            shown += pairs + [None] * (2 * _DREAMS - len(pairs))
        for left, sample in zip(lefts, shown, strict=True):
            if sample is not None:
                draw_sample(axes, sample[0], (left, left + wide - GAP, bottom, bottom + tall - GAP), scale)
                middle, top = left + (wide - GAP) / 2, bottom + tall
                axes.text(middle, top, sample[1], ha="center", fontsize=6, color=GREY)
    heads = ("held-out", "most certain dreams, each with its nearest held-out sample", "least certain dreams, likewise")
    for head, column in zip(heads, (0, _REAL, _REAL + 2 * _DREAMS), strict=True):
        axes.text(lefts[column], above + 0.05, head, fontsize=7, va="bottom")
    axes.set(xticks=[], xlim=(0, lefts[-1] + wide), ylim=(-(tall + above) * len(classes), 0.2 + above))
    axes.set_yticks(middles, [_name(label, class_names) for label in classes])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return save(figure, path, bbox_inches="tight", pad_inches=0.1)


def _lefts(wide: float) -> list[float]:
    """Where columns begin, in inches."""
    lefts, left = [], 0.0
    for column in range(_REAL + 4 * _DREAMS):
        if column in (_REAL, _REAL + 2 * _DREAMS):
            left += _APART * wide
        lefts.append(left)
        left += wide
    return lefts


def _name(label: int | Tensor, names: Sequence[str]) -> str:
    return names[int(label)] if int(label) < len(names) else str(int(label))

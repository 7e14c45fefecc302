"""The pictures of one run, as PNG files of its folder: its hypnogram, its accuracy matrix, and what it dreamt.

Matplotlib draws them, so that they open anywhere and loggers can show them; pages of many runs are drawn in SVG, see
:mod:`dreamer.report.svg`.

Colours are those of Okabe & Ito 2008 ("Color Universal Design") and of the perceptually uniform colour maps of
matplotlib: they stay apart for colour-blind readers and in grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dreamer.core.types import Batch
from dreamer.metrics.continual import AccuracyRow, average_seen
from dreamer.report._canvas import (
    GREY,
    INK,
    Shown,
    class_name,
    draw_sheet,
    drawable,
    new_figure,
    save,
    scale_of,
    shown_classes,
)
from dreamer.report.results import domain_names, evaluations
from dreamer.report.score import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KIND_COLOURS = {"wake": "#E69F00", "nrem": "#0072B2", "rem": "#CC79A7"}
# from the bottom; sleep medicine draws REM between wake and the deeper stages
_LEVELS = ("nrem", "rem", "wake")
_NIGHT = "#E9EEF5"
_REAL, _DREAMS = 3, 2
"""Columns of a picture of neighbours: real samples, and dreams of either kind."""
_QUALITY = {
    "precision": "#0072B2",
    "fidelity": "#009E73",
    "coverage": "#56B4E9",
    "balance": "#CC79A7",
    "recall": "#D55E00",
    "diversity": "#E69F00",
}


def draw_hypnogram(results: Mapping[str, Any], path: str | Path) -> Path:
    """Draw the stages of a run over its steps, and the score on every experience under them.

    Nights are shaded. An experience's line begins with the evaluation after its first wake stage; open circles are
    evaluations after wake, filled ones after a night. Where dreams were measured, measures of
    :class:`dreamer.callbacks.dream_quality.DreamQuality` are a third panel, at the end of each night.
    """
    stages, rows = results["hypnogram"], evaluations(results)
    dreams = results.get("dreams") or ()
    figure = new_figure(width=min(15.0, 8.0 + 0.09 * len(stages)), height=5.6 + 1.6 * bool(dreams))
    kinds = [kind for kind in _LEVELS if any(stage["kind"] == kind for stage in stages)]
    heights = (0.1 + 0.3 * len(kinds), 2.1, *((1.0,) if dreams else ()))
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    upper, lower = panels[:2]
    spans = _spans(stages)
    _draw_stages(upper, stages, spans, kinds)
    _draw_scores(lower, spans, rows, Score.of(results), domain_names(results))
    if dreams:
        _draw_quality(panels[2], spans, dreams)
    for axes in panels:
        _shade_nights(axes, stages, spans)
        axes.set_xlim(0, spans[-1][1])
    panels[-1].set_xlabel("step")
    upper.set_title(_title(results), loc="left", fontsize=11)
    return save(figure, path)


def draw_matrix(results: Mapping[str, Any], path: str | Path) -> Path:
    """Draw the accuracy matrix: measured after each wake beside measured after each night.

    A row is the experience trained on last, a column the one evaluated; the framed diagonal is what had just been
    learnt, and right of it lie experiences not yet seen. The first row is the untrained network. Dark is good.
    """
    rows, score = evaluations(results), Score.of(results)
    experiences = len(rows[0]["accuracy"])
    top = _top(rows, score)
    names = domain_names(results) or [str(j) for j in range(experiences)]
    panels = [("after each wake", "wake"), ("after each night", "night")]
    panels = [(title, after) for title, after in panels if any(row["after"] == after for row in rows)] or panels[:1]
    side = min(8.0, max(3.2, 0.55 * experiences + 1.2))
    figure = new_figure(width=side * len(panels) + 1.2, height=side + 0.9)
    every = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, after) in zip(every, panels, strict=True):
        image = _draw_matrix(axes, _with_initial(rows, after), names, score, top)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(f"{score.name} on experience")
    every[0].set_ylabel("after experience")
    bar = figure.colorbar(image, ax=every, shrink=0.85, pad=0.02, format=lambda value, _: _tick(score, value))
    bar.outline.set_visible(False)
    figure.suptitle(_title(results), x=0.01, ha="left", fontsize=11)
    return save(figure, path)


def draw_dreams(
    x: Tensor, y: Tensor, path: str | Path, class_names: Sequence[str] = (), confidence: Tensor | None = None
) -> Path | None:
    """Draw a night's dreams, one row of samples per class.

    Samples of shape (1, H, W) and (3, H, W) are shown as pixels in [0, 1]; samples of shape (H, W), such as
    spectrograms, and (D,), such as features, as a heat map on one scale for the whole picture. Any other shape has no
    picture. Of more than 20 classes, 20 are shown, spread evenly.

    Args:
        x: (N, *S) dreams, on the CPU.
        y: (N,) the classes that were dreamt of.
        confidence: (N,) confidence of the teacher in the class dreamt of, in [0, 1], written above each dream.

    Returns:
        The path, or None when the samples cannot be shown or there are none.
    """
    if not drawable(x):
        return None
    x = x.detach().to(torch.float32)
    classes = shown_classes(y)
    texts = [""] * len(x) if confidence is None else [f"{sure:.2f}" for sure in confidence.tolist()]
    rows = [[(x[i], texts[i]) for i in (y == label).nonzero().flatten().tolist()] for label in classes]
    return draw_sheet(rows, [class_name(label, class_names) for label in classes], scale_of(x), path)


def draw_neighbours(
    dreams: Batch,
    confidence: Tensor,
    real: Batch,
    path: str | Path,
    class_names: Sequence[str] = (),
    picture_of: Callable[[int], Tensor] | None = None,
) -> Path | None:
    """Draw, in a row for each class: real samples, then the dreams of which the learner is most and least certain.

    Right of each dream stands the real sample, of whatever class, that is nearest to it (Euclidean, sample to sample).
    Where samples are features of pictures, ``picture_of`` shows them: the nearest one stands for the dream.

    Args:
        dreams: (N, *S) samples with the classes that were dreamt of, on the CPU. Shapes are those that
            :func:`draw_dreams` can show; others have no picture.
        confidence: (N,) confidence of the learner in those classes, in [0, 1].
        real: (M, *S) held-out samples.
        picture_of: gives the (C, H, W) pixels in [0, 1] behind the held-out sample of a number.

    Returns:
        The path, or None when the samples cannot be shown.
    """
    x = dreams.x.detach().float()
    if not len(x) or (picture_of is None and not drawable(x)):
        return None
    others = real.x.detach().float()
    nearest = torch.cdist(x.flatten(1), others.flatten(1)).argmin(dim=1)
    classes = shown_classes(dreams.y)
    columns = 2 if picture_of is None else 1

    def shown(row: int) -> Tensor:
        return others[row] if picture_of is None else picture_of(row)

    def beside(index: int) -> list[Shown]:
        near, sure = int(nearest[index]), f"{float(confidence[index]):.2f}"
        name = class_name(int(real.y[near]), class_names)
        if picture_of is None:
            return [(x[index], sure), (shown(near), name)]
        # a longer name would run into the next one
        return [(shown(near), f"{sure} {name[:12]}")]

    rows = []
    for label in classes:
        own = (dreams.y == label).nonzero().flatten()
        own = own[confidence[own].argsort(descending=True, stable=True)]
        row: list[Shown] = [(shown(i), "") for i in (real.y == label).nonzero().flatten()[:_REAL].tolist()]
        row += [None] * (_REAL - len(row))
        for group in (own[:_DREAMS], own.flip(0)[: min(_DREAMS, max(0, len(own) - _DREAMS))]):
            for index in group.tolist():
                row += beside(index)
            row += [None] * (columns * (_DREAMS - len(group)))
        rows.append(row)
    heads = (
        ("held-out", "most certain dreams, each with its nearest held-out sample", "least certain dreams, likewise")
        if picture_of is None
        else ("held-out", "nearest to certain dreams", "nearest to uncertain ones")
    )
    begins = (0, _REAL, _REAL + columns * _DREAMS)
    names = [class_name(label, class_names) for label in classes]
    scale = scale_of(torch.cat([x, others])) if picture_of is None else {"vmin": 0.0, "vmax": 1.0}
    return draw_sheet(rows, names, scale, path, dict(zip(begins, heads, strict=True)))


def _title(results: Mapping[str, Any]) -> str:
    average = results["metrics"]["average_accuracy"]
    parts = [str(results.get("name", results["protocol"]["stream"]))]
    if average is not None:
        score = Score.of(results)
        parts.append(f"average {score.name} {score.write(average)}{score.sign.strip()}")
    if not results["complete"]:
        parts.append("stopped early")
    return "   ·   ".join(parts)


def _spans(stages: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """First step and end of each stage."""
    spans, start = [], 0
    for stage in stages:
        spans.append((start, start + stage["steps"]))
        start += stage["steps"]
    return spans


def _shade_nights(axes: Axes, stages: Sequence[Mapping[str, Any]], spans: Sequence[tuple[int, int]]) -> None:
    for stage, (start, end) in zip(stages, spans, strict=True):
        if stage["night"] >= 0:
            axes.axvspan(start, end, color=_NIGHT, linewidth=0, zorder=0)


def _draw_stages(
    axes: Axes, stages: Sequence[Mapping[str, Any]], spans: Sequence[tuple[int, int]], kinds: Sequence[str]
) -> None:
    levels = [kinds.index(stage["kind"]) for stage in stages]
    axes.stairs(levels, [0, *(end for _, end in spans)], baseline=None, color=INK, linewidth=1.0, zorder=2)
    for stage, level, (start, end) in zip(stages, levels, spans, strict=True):
        axes.hlines(level, start, end, color=KIND_COLOURS[stage["kind"]], linewidth=5, zorder=3, capstyle="butt")
    top = len(kinds) - 1
    begins = {stage["experience"]: start for stage, (start, _) in reversed(list(zip(stages, spans, strict=True)))}
    every = max(1, -(-len(begins) // 24))
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "annotation_clip": False}
    axes.annotate("experience", (0, top), (-6, 10), color=GREY, ha="right", **style)
    for experience in sorted(begins)[::every]:
        axes.annotate(str(experience), (begins[experience], top), (2, 10), color=INK, **style)
    axes.set(yticks=range(len(kinds)), yticklabels=[kind.upper() for kind in kinds], ylim=(-0.5, top + 0.85))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _draw_quality(axes: Axes, spans: Sequence[tuple[int, int]], rows: Sequence[Mapping[str, Any]]) -> None:
    highest = 1.0
    for place, (name, colour) in enumerate(_QUALITY.items()):
        known = [(spans[row["stage"]][1], row[name]) for row in rows if row[name] is not None]
        if known:
            times, values = zip(*known, strict=True)
            # lines that lie on each other show by their rings
            axes.plot(times, values, color=colour, linewidth=1.2, marker="o", markersize=8 - place, label=name)
            highest = max(highest, *values)
    axes.set(ylim=(-0.06, 1.06 * highest), ylabel="dreams")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)


def _top(rows: Sequence[AccuracyRow], score: Score) -> float:
    """The largest score that is shown: 1 of fractions, else the largest that was measured."""
    if score.is_fraction:
        return 1.0
    return max((value for row in rows for value in row["accuracy"] if value is not None), default=1.0)


def _seen(rows: Sequence[AccuracyRow]) -> list[AccuracyRow]:
    """The rows without the experiences that are still to come, which this panel leaves out."""
    return [{**row, "accuracy": row["accuracy"][: row["experience"] + 1]} for row in rows]


def _tick(score: Score, value: float) -> str:
    return f"{value:.0%}" if score.is_fraction else f"{value:g}"


def _draw_scores(
    axes: Axes, spans: Sequence[tuple[int, int]], rows: Sequence[AccuracyRow], score: Score, names: Sequence[str]
) -> None:
    evaluated = [row for row in rows if row["stage"] >= 0]
    times = [spans[row["stage"]][1] for row in evaluated]
    experiences = len(rows[0]["accuracy"]) if rows else 0
    colours = _experience_colours(experiences)
    few = experiences <= 12
    for j in range(experiences):
        points = [
            (time, value, row["after"])
            for time, row in zip(times, evaluated, strict=True)
            if row["experience"] >= j and (value := row["accuracy"][j]) is not None
        ]
        _draw_line(axes, points, colours[j], few)
    # under a few marked lines the mean is a broad shadow, among many thin ones a thin dark line on top
    thick, thin = {"color": "#B5B5B5", "linewidth": 4.5, "zorder": 2}, {"color": INK, "linewidth": 1.3, "zorder": 5}
    average = {"solid_joinstyle": "round"} | (thick if few else thin)
    _draw_average(axes, times, evaluated, average)
    label = score.name if score.higher_is_better else f"{score.name}\n(lower is better)"
    axes.set(ylabel=label, ylim=(0, 1.03 * _top(_seen(evaluated), score)))
    axes.yaxis.set_major_formatter(lambda value, _: _tick(score, value))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    labels = names or [f"experience {j}" for j in range(experiences)]
    _legend(axes, labels, colours, average, [row["after"] for row in evaluated] if few else [])


def _draw_line(axes: Axes, points: Sequence[tuple[int, float, str]], colour: Any, marked: bool) -> None:
    if not points:
        return
    times, values, after = zip(*points, strict=True)
    axes.plot(times, values, color=colour, linewidth=1.4 if marked else 0.8, alpha=1.0 if marked else 0.6, zorder=3)
    if marked:
        faces = ["white" if kind == "wake" else colour for kind in after]
        axes.scatter(
            times, values, s=18, facecolors=faces, edgecolors=[colour], linewidths=1.2, zorder=4, clip_on=False
        )


def _draw_average(axes: Axes, times: Sequence[int], rows: Sequence[AccuracyRow], style: Mapping[str, Any]) -> None:
    averages = [average_seen(row["accuracy"], row["experience"]) for row in rows]
    known = [(time, value) for time, value in zip(times, averages, strict=True) if value is not None]
    if known:
        axes.plot(*zip(*known, strict=True), **style)


def _legend(
    axes: Axes, labels: Sequence[str], colours: Sequence[Any], average: Mapping[str, Any], after: Sequence[str]
) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label="mean of those seen", **average)]
    for kind, face, label in (("wake", "white", "after wake"), ("night", GREY, "after a night")):
        if kind in after:
            handles.append(
                Line2D([], [], color=GREY, linestyle="", marker="o", markersize=4.5, markerfacecolor=face, label=label)
            )
    every = max(1, -(-len(colours) // 12))
    handles += [Line2D([], [], color=colours[j], label=labels[j]) for j in range(0, len(colours), every)]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.005, 1.0), frameon=False, fontsize=8)


def _experience_colours(experiences: int) -> list[Any]:
    from matplotlib import colormaps

    # the bright end of the map is hard to see on white
    return [colormaps["viridis"](0.88 * j / max(1, experiences - 1)) for j in range(experiences)]


def _with_initial(rows: Sequence[AccuracyRow], after: str) -> Tensor:
    """(1 + E, E) the untrained row and the last one of each experience, NaN where there is none."""
    experiences = len(rows[0]["accuracy"])
    last = {row["experience"]: row["accuracy"] for row in rows if row["stage"] < 0 or row["after"] == after}
    unknown = [None] * experiences
    lines = [last.get(i, unknown) for i in range(-1, experiences)]
    values = [[float("nan") if value is None else value for value in line] for line in lines]
    return torch.tensor(values)


def _draw_matrix(axes: Axes, matrix: Tensor, experience_names: Sequence[str], score: Score, top: float) -> Any:
    from matplotlib.patches import Rectangle

    names = ["untrained", *experience_names]
    experiences = matrix.shape[1]
    colours = "Blues" if score.higher_is_better else "Blues_r"
    image = axes.imshow(matrix.numpy(), cmap=colours, vmin=0.0, vmax=top, aspect="auto")
    if experiences <= 20:
        _write_cells(axes, matrix, score, top)
    for j in range(experiences):
        axes.add_patch(
            Rectangle((j - 0.5, j + 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=1.2, zorder=3, clip_on=False)
        )
    axes.set_xticks([j + 0.5 for j in range(experiences - 1)], minor=True)
    axes.set_yticks([i + 0.5 for i in range(experiences)], minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8 if experiences <= 20 else 0.2)
    every = max(1, -(-experiences // 20))
    axes.set_xticks(range(0, experiences, every), names[1::every])
    axes.set_yticks([0, *range(1, experiences + 1, every)], [names[0], *names[1::every]])
    axes.tick_params(which="both", length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    return image


def _write_cells(axes: Axes, matrix: Tensor, score: Score, top: float) -> None:
    small = matrix.shape[1] > 10
    # as many decimals in each cell: those that show three digits of the largest, two where there is little room
    digits = max(0, 2 - small - math.floor(math.log10(top))) if top > 0 else 0
    for i, line in enumerate(matrix.tolist()):
        for j, value in enumerate(line):
            if value == value:
                text = score.write(value, 0 if small else 1) if score.is_fraction else f"{value:.{digits}f}"
                dark = value / top if score.higher_is_better else 1 - value / top
                colour = "white" if dark > 0.6 else INK if i > j else "#666666"
                axes.text(j, i, text, ha="center", va="center", fontsize=6.5 if small else 8, color=colour)

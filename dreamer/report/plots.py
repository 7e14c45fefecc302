"""Plots that comparisons and studies have in common: curves of seeds, rows of means with intervals, pictures."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dreamer.core.text import count, interval, percent
from dreamer.report.score import Score
from dreamer.report.svg import TEXT, Panel, Scale, around, frame, heading, marker, shortened, text_width

Point = tuple[float, float]
Line = Sequence[Point]

WIDTH, LEFT, RIGHT, TOP = 340.0, 40.0, 10.0, 30.0
_ROW_WIDTH, _ROW = 420.0, 44.0
_PICTURE_WIDTH = 300.0


def new_panel(name: str, height: float, description: str, number: str = "") -> Panel:
    """A panel with a heading, and one number about it at its upper right."""
    panel = Panel(name, WIDTH, height, description)
    heading(panel, name, number)
    return panel


def draw_curves(
    panel: Panel,
    across: Scale,
    up: Scale,
    mean: Line,
    seeds: Mapping[int, Line],
    others: Mapping[str, Line],
    reference: str = "",
) -> None:
    """Draw one arm's curves: thick its mean, thin its seeds, grey the means of the other arms.

    Args:
        reference: which of the others is drawn with dashes.
    """

    def draw(line: Line, style: str, hint: str = "") -> None:
        if line:
            panel.line([(across(x), up(y)) for x, y in line], style, hint)

    for name, line in others.items():
        panel.arm = name
        draw(line, "context of-reference" if name == reference else "context", name)
    panel.arm = ""
    for seed, line in seeds.items():
        draw(line, "seed", f"seed {seed}")
    draw(mean, "mean")


def fractions(values: Sequence[float], bottom: float, top: float) -> Scale:
    """An upright scale for fractions of 1, at least 10 points high and never beyond 0 and 100 %."""
    low, high = around(values, least=0.1)
    return Scale(max(0.0, low), min(1.0, high), bottom, top)


def scores_scale(score: Score, values: Sequence[float], bottom: float, top: float) -> Scale:
    """An upright scale for values of a score: :func:`fractions`, or what the values need."""
    if score.is_fraction:
        return fractions(values, bottom, top)
    return Scale(*around(values, 0.08), bottom, top)


def score_ticks(score: Score, scale: Scale, most: int = 5) -> list[tuple[float, str]]:
    """Ticks of a scale of a score."""
    return (
        percent_ticks(scale, most) if score.is_fraction else [(tick, score.write(tick)) for tick in scale.ticks(most)]
    )


def percent_ticks(scale: Scale, most: int = 5) -> list[tuple[float, str]]:
    """Ticks of a scale of fractions, in per cent."""
    ticks = scale.ticks(most)
    digits = 0 if all(abs(100 * tick - round(100 * tick)) < 1e-6 for tick in ticks) else 1
    return [(tick, percent(tick, digits)) for tick in ticks]


def count_ticks(scale: Scale, most: int = 5) -> list[tuple[float, str]]:
    """Ticks of a scale of amounts."""
    return [(tick, count(tick)) for tick in scale.ticks(most)]


@dataclass(frozen=True)
class Row:
    """One line of :func:`draw_rows`.

    Attributes:
        margin: half the width of a band around zero, or None.
        is_reference: all others are compared with it.
    """

    name: str
    text: str
    mean: float | None
    low: float | None
    high: float | None
    seeds: Mapping[int, float] = field(default_factory=dict)
    margin: float | None = None
    is_reference: bool = False


def draw_rows(
    rows: Sequence[Row],
    label: str,
    description: str,
    ticks: Callable[[Scale, int], list[tuple[float, str]]] = percent_ticks,
    write: Callable[[float], str] = lambda value: percent(value, 2),
    zero: bool = False,
    fraction: bool = True,
) -> Panel:
    """Draw means with their intervals and seeds, a row each, over one scale.

    Args:
        rows: at least one with a value.
        zero: values are differences: zero is shown and marked.
        fraction: values are fractions of 1, or differences of such: the scale does not reach beyond.
    """
    panel = Panel("", _ROW_WIDTH, _ROW * len(rows) + 40, description)
    across = Scale(*_range(rows, zero, fraction), 8.0, _ROW_WIDTH - 8)
    frame(panel, across, None, label, x_ticks=ticks(across, 6))
    if zero:
        panel.add("line", "zero", x1=across(0.0), x2=across(0.0), y1=6.0, y2=panel.height - 34)
    for place, row in enumerate(rows):
        panel.arm = row.name
        _draw_row(panel, across, row, place * _ROW, write)
    return panel


def picture_panel(name: str, number: str, description: str, kind: str, content: bytes, ratio: float) -> Panel:
    """A panel with a picture."""
    panel = Panel(name, _PICTURE_WIDTH, 24 + _PICTURE_WIDTH * ratio, description)
    heading(panel, name, number)
    href = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    panel.add("image", "", href=href, x=0, y=24, width=_PICTURE_WIDTH, height=_PICTURE_WIDTH * ratio)
    return panel


def _range(rows: Sequence[Row], zero: bool, fraction: bool) -> tuple[float, float]:
    """What the scale shows: all seeds, and intervals up to their own width beyond; two seeds make endless intervals."""
    seeds = [value for row in rows for value in row.seeds.values()]
    ends = [value for row in rows for value in (row.low, row.high) if value is not None]
    values = [*seeds, *([0.0] if zero else [])]
    values += [sign * row.margin for row in rows if row.margin for sign in (-1, 1)]
    if seeds:
        span = max(max(values) - min(values), 0.02)
        least, most = ((-1.0, 1.0) if zero else (0.0, 1.0)) if fraction else (-math.inf, math.inf)
        ends = [min(max(end, min(values) - 0.6 * span, least), max(values) + 0.6 * span, most) for end in ends]
    return around([*values, *ends], 0.03)


def _draw_row(panel: Panel, across: Scale, row: Row, top: float, write: Callable[[float], str]) -> None:
    tag = " (reference)" if row.is_reference else ""
    room = _ROW_WIDTH - text_width(row.text) - 20
    y = top + 29
    colour = " of-reference" if row.is_reference else ""
    if row.margin is not None:
        start, end = across(-row.margin), across(row.margin)
        panel.add("rect", "night", "the margin", x=start, y=y - 7, width=end - start, height=14.0)
    # the name has a ground of its own, so that no grid line runs through it
    panel.write(0.0, top + 14, shortened(row.name + tag, room, TEXT + 1), "name ground")
    panel.write(_ROW_WIDTH, top + 14, row.text, "number ground", "end")
    if row.low is not None and row.high is not None:
        left, right = max(row.low, across.low), min(row.high, across.high)
        hint = f"95 % interval: {interval(row.low, row.high, write)}"
        panel.add(
            "rect", f"interval{colour}", hint, x=across(left), y=y - 3.5, width=across(right) - across(left), height=7.0
        )
        for cut, end, ahead in ((row.low < left, left, -1), (row.high > right, right, 1)):
            if cut:
                x = across(end)
                panel.line([(x, y - 3.5), (x + 5 * ahead, y), (x, y + 3.5)], f"arrow{colour}")
    for seed, value in row.seeds.items():
        marker(panel, "circle", across(value), y, 4.0, f"single{colour}", f"{row.name}, seed {seed}: {write(value)}")
    if row.mean is not None:
        marker(panel, "diamond", across(row.mean), y, 5.0, f"dot{colour}", f"mean: {write(row.mean)}")

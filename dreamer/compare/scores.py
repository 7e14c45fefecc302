"""Figures of results: accuracies seed by seed, paired differences, and accuracy against its costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from dreamer.compare.analysis import Analysis, Standing
from dreamer.compare.results import Comparison
from dreamer.core.text import capital, count, plus_minus
from dreamer.report.plots import Point, Row, count_ticks, draw_rows, score_ticks
from dreamer.report.score import ACCURACY
from dreamer.report.svg import TEXT, Figure, Panel, Scale, around, frame, heading, marker, shortened, text_width

COSTS = {"bytes_kept": "bytes kept beside the network", "seconds": "seconds", "steps": "optimiser steps"}
_PARETO = (380.0, 300.0)
_AXIS = 34.0
"""Where the frame of a plot with an upright scale begins."""

Box = tuple[float, float, float, float]


def accuracies(comparison: Comparison, analysis: Analysis, stream: str, key: str) -> Figure | None:
    """Every seed's average score at the end of the stream, with mean and interval."""
    scores, score = comparison.scores(stream), analysis.score(stream)
    rows = [
        Row(
            standing.arm,
            plus_minus(standing.accuracy.mean, standing.accuracy.std, score.write),
            standing.accuracy.mean,
            standing.accuracy.low,
            standing.accuracy.high,
            scores[standing.arm],
            is_reference=standing.arm == analysis.reference,
        )
        for standing in by_accuracy(analysis.on(stream))
        if standing.accuracy.n
    ]
    if not rows:
        return None
    words = "; ".join(f"{row.name}: {row.text}{score.sign} ({len(row.seeds)} seeds)" for row in rows)
    panel = draw_rows(
        rows,
        f"average {score.name}{score.bracket}{score.lower}",
        words,
        partial(score_ticks, score),
        partial(score.write, digits=2),
        fraction=score.is_fraction,
    )
    return Figure(
        f"{key}-accuracy",
        f"Average {score.name} at the end",
        "Circles: single seeds. Diamond: mean (at the right with its standard deviation). Bar: 95 % interval of the "
        "mean; an arrow says that it goes on.",
        [panel],
        ("arm", "seed", "average_accuracy"),
        [(row.name, seed, value) for row in rows for seed, value in row.seeds.items()],
    )


def differences(comparison: Comparison, analysis: Analysis, stream: str, key: str) -> Figure | None:
    """Every arm minus the reference, seed by seed, with mean and interval."""
    scores, score = comparison.scores(stream), analysis.score(stream)
    base = scores.get(analysis.reference, {})
    rows = []
    for standing in by_accuracy(analysis.on(stream)):
        paired = standing.paired
        if standing.arm == analysis.reference and base:
            # its empty row keeps the rows of this plot beside those of the accuracies
            rows.append(Row(standing.arm, "", 0.0, None, None, is_reference=True))
        if paired is None or not paired.n:
            continue
        seeds = {seed: value - base[seed] for seed, value in scores[standing.arm].items() if seed in base}
        text = f"{score.signed(paired.difference)} · {paired.verdict}"
        rows.append(Row(standing.arm, text, paired.difference, paired.low, paired.high, seeds))
    if not any(row.seeds for row in rows):
        return None
    words = "; ".join(f"{row.name}: {row.text}" for row in rows if row.seeds)
    label = f"difference to {shortened(analysis.reference, 160.0)} ({score.points})"
    panel = draw_rows(
        rows,
        label,
        words,
        partial(score_ticks, score),
        partial(score.write, digits=2),
        zero=True,
        fraction=score.is_fraction,
    )
    side = "Right of zero" if score.higher_is_better else "Left of zero"
    what = "was more accurate" if score == ACCURACY else "was better"
    return Figure(
        f"{key}-differences",
        f"Difference to {analysis.reference}, seed by seed",
        f"{side} the arm {what} than {analysis.reference} with the same seed. Circles: single seeds. "
        "Diamond: mean. Bar: 95 % interval of the mean difference, not corrected for many comparisons.",
        [panel],
        ("arm", "seed", f"difference_to_{analysis.reference}"),
        [(row.name, seed, value) for row in rows for seed, value in row.seeds.items()],
    )


def fronts(analysis: Analysis, stream: str, key: str) -> Figure | None:
    """The score against what it cost: bytes, seconds, and steps where they differ."""
    standings, score = [row for row in analysis.on(stream) if row.accuracy.mean is not None], analysis.score(stream)
    panels, alike = [], []
    for cost, label in COSTS.items():
        points = [(standing, getattr(standing.costs, cost)) for standing in standings]
        known = [(standing, float(value)) for standing, value in points if value is not None]
        if len({value for _, value in known}) > 1:
            panels.append(_front(known, analysis.fronts[stream][cost], label, analysis.reference))
        elif known:
            alike.append(f"All arms are alike in {label} ({count(known[0][1])}).")
    if not panels:
        return None
    return Figure(
        f"{key}-costs",
        f"{capital(score.name)} against its costs",
        " ".join(
            [
                "Mean over seeds, ± one standard deviation. Filled: on the Pareto front (line), where no other arm is "
                f"at least as {'accurate' if score == ACCURACY else 'good'} in the mean for less.",
                *alike,
            ]
        ),
        panels,
        ("arm", "average_accuracy", "std", *COSTS, *(f"on_front_{cost}" for cost in COSTS)),
        [
            (
                standing.arm,
                standing.accuracy.mean,
                standing.accuracy.std,
                *(getattr(standing.costs, cost) for cost in COSTS),
                *(standing.arm in analysis.fronts[stream][cost] for cost in COSTS),
            )
            for standing in standings
        ],
        wide=True,
    )


def by_accuracy(standings: Sequence[Standing]) -> list[Standing]:
    """The most accurate first, or those of the best score; those without one last."""
    return sorted(
        standings, key=lambda row: (row.accuracy.mean is None, -row.score.direction * (row.accuracy.mean or 0.0))
    )


def _mean(row: Standing) -> float:
    """Of arms with a score; others are not drawn."""
    assert row.accuracy.mean is not None
    return row.accuracy.mean


def _front(points: Sequence[tuple[Standing, float]], front: Sequence[str], label: str, reference: str) -> Panel:
    width, height = _PARETO
    score = points[0][0].score
    means = {row.arm: f"{score.write(row.accuracy.mean)}{score.sign}" for row, _ in points}
    described = "; ".join(f"{row.arm}: {means[row.arm]} at {count(cost)}" for row, cost in points)
    panel = Panel(label, width, height, f"{described}. On the front: {', '.join(front)}.")
    heading(panel, f"against {label}")
    across, zero_at = _cost_scale([cost for _, cost in points], width)
    ends = [_mean(row) + sign * (row.accuracy.std or 0.0) for row, _ in points for sign in (-1, 1)]
    low, high = around(ends, 0.08, 0.05 if score.is_fraction else 0.0)
    within = (max(0.0, low), min(1.0, high)) if score.is_fraction else (low, high)
    up = Scale(*within, height - 26, 34.0)
    digits = 0 if high - low > 0.06 else 1
    x_ticks = count_ticks(across, 4)
    frame(panel, across, up, "", x_ticks, [(tick, score.write(tick, digits)) for tick in up.ticks(5)], _AXIS)
    if zero_at is not None:
        panel.add("line", "tick", x1=zero_at, x2=zero_at, y1=up.start, y2=up.start + 4)
        panel.add("line", "axis", x1=_AXIS, x2=zero_at + 8, y1=up.start, y2=up.start)
        panel.write(zero_at, up.start + 16, "0", "soft", "middle")
    places = {
        row.arm: (zero_at if zero_at is not None and cost <= 0 else across(cost), up(_mean(row)))
        for row, cost in points
    }
    _draw_steps(panel, [places[arm] for arm in front], across.end)
    for row, cost in points:
        panel.arm = row.arm
        x, y = places[row.arm]
        if row.accuracy.std is not None:
            ends = [min(max(_mean(row) + sign * row.accuracy.std, up.low), up.high) for sign in (-1, 1)]
            panel.line([(x, up(ends[0])), (x, up(ends[1]))], "whisker")
        colour = " of-reference" if row.arm == reference else ""
        hint = f"{row.arm}: {score.write(row.accuracy.mean, 2)}{score.sign} at {count(cost)}"
        style = ("dot" if row.arm in front else "open") + colour
        marker(panel, "diamond" if colour else "circle", x, y, 4.5, style, hint)
    _label(panel, places, (_AXIS, 28.0, width, up.start))
    return panel


def _cost_scale(costs: Sequence[float], width: float) -> tuple[Scale, float | None]:
    """The x axis of a cost, and where zero stands beside a logarithmic one."""
    positive = [cost for cost in costs if cost > 0]
    log = len(positive) > 0 and max(positive) / min(positive) > 8
    if not log:
        low, high = around([0.0, *costs], 0.06)
        return Scale(max(low, -0.03 * high), high, _AXIS, width - 14), None
    zero_at = _AXIS + 12 if len(positive) < len(costs) else None
    start = _AXIS if zero_at is None else _AXIS + 40
    return Scale(min(positive) / 1.5, max(positive) * 1.5, start, width - 14, True), zero_at


def _draw_steps(panel: Panel, corners: Sequence[tuple[float, float]], end: float) -> None:
    """The front as stairs: what the cheapest arm reaches holds until the next one is affordable."""
    if not corners:
        return
    points = [corners[0]]
    for x, y in corners[1:]:
        points += [(x, points[-1][1]), (x, y)]
    panel.line([*points, (end, points[-1][1])], "front")


def _label(panel: Panel, places: dict[str, Point], box: Box) -> None:
    """Write every name beside its point where it covers neither a point nor another name."""
    size = TEXT - 1
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places.values()]
    for arm, (x, y) in sorted(places.items(), key=lambda item: (item[1][1], item[1][0])):
        panel.arm = arm
        text = shortened(arm, 150.0, size)
        covers = _free_spot((x, y), text_width(text, size), size, box, taken)
        taken.append(covers)
        left, top, right, bottom = covers
        if not top - 8 <= y <= bottom + 8:
            panel.line([(x, y), (min(max(x, left), right), bottom if bottom < y else top)], "leader")
        panel.write(left, bottom - 3, text, "label")


def _free_spot(point: Point, wide: float, tall: float, box: Box, taken: Sequence[Box]) -> Box:
    """The room for a name nearest to its point that is inside the box and free; else right beside the point."""
    x, y = point
    spots = []
    for away in range(0, 140, 7):
        for middle in (y - away, y + away):
            for left in (x + 8, x - 8 - wide, *((x - wide / 2, x - 8, x + 8 - wide) if away > 10 else ())):
                spots.append((left, middle - tall / 2, left + wide, middle + tall / 2 + 2))
    inside = [
        spot for spot in spots if box[0] <= spot[0] and spot[2] <= box[2] and box[1] <= spot[1] and spot[3] < box[3]
    ]
    free = [spot for spot in inside if not any(_overlap(spot, other) for other in taken)]
    return (free or inside or spots)[0]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

"""Figures of how runs went: learning curves, nights, forgetting, accuracy matrices, hypnograms.

Every function takes the runs of one stream by arm and returns a figure, or None where there is nothing to draw. Many
arms are drawn as many small panels with common axes, so that nothing is shown by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dreamer.compare.results import CompletedRun
from dreamer.core.text import capital, count, plural
from dreamer.metrics.continual import accuracy_matrix, average_seen
from dreamer.report.plots import (
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Point,
    count_ticks,
    draw_curves,
    new_panel,
    score_ticks,
    scores_scale,
)
from dreamer.report.results import evaluations
from dreamer.report.score import Score
from dreamer.report.svg import Figure, Panel, Scale, cell_text, frame, heading, marker

Arms = Mapping[str, Sequence[CompletedRun]]
Where = tuple[str, int, int]
Curve = Mapping[Where, Point]

_LEVELS = ("nrem", "rem", "wake")
_MOST_MARKS = 30
"""Evaluations of a run up to which every one of them is marked."""


def learning_curves(arms: Arms, key: str, reference: str) -> Figure | None:
    """The average accuracy over the experiences seen so far after each stage, against optimiser steps."""
    score, curves = _score(arms), _by_arm(arms, _curve)
    every = [point for found in curves.values() for curve in found.values() for point in curve.values()]
    if not every:
        return None
    means = {arm: _mean_pairs(list(found.values()), common=True) for arm, found in curves.items()}
    across = Scale(0.0, max(max(step for step, _ in every), 1.0), LEFT, WIDTH - RIGHT)
    up = scores_scale(score, [value for _, value in every], 190.0, TOP + 6)
    panels = []
    for arm, found in curves.items():
        final = f"{score.write(list(means[arm].values())[-1][1])}{score.sign} at the end" if means[arm] else ""
        panel = new_panel(arm, 230.0, _curve_words(means[arm], len(found), score), final)
        frame(panel, across, up, "optimiser steps", x_ticks=count_ticks(across), y_ticks=score_ticks(score, up))
        lines = {other: list(mean.values()) for other, mean in means.items()}
        seeds = {seed: list(curve.values()) for seed, curve in found.items()}
        draw_curves(panel, across, up, lines.pop(arm), seeds, lines, reference)
        if len(means[arm]) <= _MOST_MARKS:
            for (after, experience, _), (x, y) in means[arm].items():
                hint = f"experience {experience}, after {after}: {score.write(y)}{score.sign}"
                marker(panel, "circle", across(x), up(y), 3.2, "open" if after == "wake" else "dot", hint)
        panels.append(panel)
    rows = [
        (arm, seed, after, experience, step, value)
        for arm, found in curves.items()
        for seed, curve in found.items()
        for (after, experience, _), (step, value) in curve.items()
    ]
    return Figure(
        f"{key}-learning-curves",
        "Learning curves",
        f"Average {score.name}{score.bracket}{score.lower} over the experiences seen so far, at every evaluation. "
        f"Thick: mean of the seeds; thin: single seeds; grey: means of the other arms, dashed that of {reference}. "
        "Open circles are measured after wake, filled ones after a night.",
        panels,
        ("arm", "seed", "after", "experience", "optimiser_steps", "average_accuracy_seen"),
        rows,
        wide=True,
    )


def nights(arms: Arms, key: str) -> Figure | None:
    """The average accuracy over the experiences seen so far, before and after each night."""
    score, asleep = _score(arms), _by_arm(arms, _nights)
    if not asleep:
        return None
    values = [
        value for by_seed in asleep.values() for pairs in by_seed.values() for pair in pairs.values() for value in pair
    ]
    last = max(night for by_seed in asleep.values() for pairs in by_seed.values() for night in pairs)
    across, up = Scale(-0.6, last + 0.6, LEFT, WIDTH - RIGHT), scores_scale(score, values, 190.0, TOP + 6)
    ticks = [(float(t), str(int(t))) for t in Scale(0, max(last, 1), 0, 1).ticks(8) if t == int(t) and t <= last]
    panels = []
    for arm, by_seed in asleep.items():
        means = dict(sorted(_mean_pairs(list(by_seed.values())).items()))
        gain = score.direction * sum(after - before for before, after in means.values()) / len(means)
        panel = new_panel(arm, 230.0, _night_words(means, score), f"{score.signed(gain)} {score.short_points} a night")
        frame(panel, across, up, "night", x_ticks=ticks, y_ticks=score_ticks(score, up))
        _draw_nights(panel, across, up, by_seed, means, score)
        panels.append(panel)
    awake = [arm for arm in arms if arm not in asleep]
    rows = [
        (arm, seed, night, before, after)
        for arm, by_seed in asleep.items()
        for seed, pairs in by_seed.items()
        for night, (before, after) in pairs.items()
    ]
    return Figure(
        f"{key}-nights",
        "Before and after each night",
        f"Average {score.name}{score.bracket}{score.lower} over the experiences seen so far: open circles before a "
        "night, filled ones after it, mean of the seeds; thin lines are single seeds."
        + (f" Without nights: {', '.join(awake)}." if awake else ""),
        panels,
        ("arm", "seed", "night", "before", "after"),
        rows,
        wide=True,
    )


def forgetting(arms: Arms, key: str) -> Figure | None:
    """First minus last accuracy on every experience but the last; of another score, by how much it became worse."""
    score, lost = _score(arms), _by_arm(arms, _lost)
    if not lost:
        return None
    means = {arm: [_mean(values) for values in zip(*found.values(), strict=True)] for arm, found in lost.items()}
    most = max(
        [
            0.01 if score.is_fraction else 1e-9,
            *(abs(value) for line in means.values() for value in line if value is not None),
        ]
    )
    return Figure(
        f"{key}-forgetting",
        "Forgetting by experience",
        _lost_words(score),
        [_strip(arm, line, most, score) for arm, line in means.items()],
        ("arm", "seed", "experience", "first_minus_last" if score.higher_is_better else "last_minus_first"),
        [
            (arm, seed, j, value)
            for arm, found in lost.items()
            for seed, line in found.items()
            for j, value in enumerate(line or ())
        ],
        wide=True,
    )


def matrices(arms: Arms, key: str) -> Figure | None:
    """The accuracy matrix of each arm, mean over its seeds."""
    panels, rows, score = [], [], _score(arms)
    for arm, found in _by_arm(arms, _matrix).items():
        rows += [
            (arm, seed, i, j, value)
            for seed, matrix in found.items()
            for i, line in enumerate(matrix)
            for j, value in enumerate(line)
        ]
        places = range(len(next(iter(found.values()))))
        means = [[_mean([matrix[i][j] for matrix in found.values()]) for j in places] for i in places]
        panels.append(_draw_matrix(arm, means, score))
    if not panels:
        return None
    return Figure(
        f"{key}-matrices",
        "Accuracy matrices" if score.name == "accuracy" else f"Matrices of {score.name}",
        f"{capital(score.name)}{score.bracket}{score.lower} on each experience (columns) after training on another "
        "(rows, with its night), mean of the seeds. The framed diagonal had just been learnt; right of it lie "
        "experiences not yet seen. At the upper right: the mean of the last row.",
        panels,
        ("arm", "seed", "after_experience", "on_experience", score.name.replace(" ", "_")),
        rows,
        wide=True,
    )


def hypnograms(arms: Arms, key: str) -> Figure | None:
    """The stages of one run of each arm over optimiser steps, on a common scale."""
    chosen = {arm: min(runs, key=lambda run: run.seed) for arm, runs in arms.items() if runs}
    plans = {arm: run.results.get("hypnogram") or [] for arm, run in chosen.items()}
    plans = {arm: stages for arm, stages in plans.items() if stages}
    if not plans:
        return None
    kinds = [kind for kind in _LEVELS if any(stage["kind"] == kind for stages in plans.values() for stage in stages)]
    longest = max(sum(stage["steps"] for stage in stages) for stages in plans.values())
    across = Scale(0.0, float(max(longest, 1)), 46.0, WIDTH - RIGHT)
    bottom = TOP + 22.0 * len(kinds)
    panels = []
    for arm, stages in plans.items():
        panel = new_panel(arm, bottom + 36, _stage_words(stages), f"seed {chosen[arm].seed}")
        up = Scale(0.0, 1.0, bottom, TOP - 4)
        for level, kind in enumerate(reversed(kinds)):
            panel.write(40.0, TOP + 22 * level + 14, kind.upper(), "soft", "end")
        _draw_stages(panel, across, kinds, stages)
        frame(panel, across, up, "optimiser steps", x_ticks=count_ticks(across))
        panels.append(panel)
    return Figure(
        f"{key}-hypnograms",
        "Hypnograms",
        "The stages of one run of each arm (its lowest seed), all on the same scale. Shaded: nights.",
        panels,
        ("arm", "seed", "stage", "kind", "experience", "night", "steps"),
        [
            (arm, chosen[arm].seed, stage["index"], stage["kind"], stage["experience"], stage["night"], stage["steps"])
            for arm, stages in plans.items()
            for stage in stages
        ],
        wide=True,
    )


def _score(arms: Arms) -> Score:
    """By what the runs are scored; all of them are by the same."""
    return next((Score.of(run.results) for runs in arms.values() for run in runs), Score())


def _by_arm(arms: Arms, read: Callable[[CompletedRun], Any]) -> dict[str, dict[int, Any]]:
    """What is read from the runs, by arm and seed; what is empty is left out."""
    found = {arm: {run.seed: read(run) for run in runs} for arm, runs in arms.items()}
    found = {arm: {seed: value for seed, value in by_seed.items() if value} for arm, by_seed in found.items()}
    return {arm: by_seed for arm, by_seed in found.items() if by_seed}


def _curve(run: CompletedRun) -> dict[Where, Point]:
    """(steps, average over the experiences seen) by (after, experience, how often before)."""
    curve: dict[Where, Point] = {}
    for row in evaluations(run.results):
        value = average_seen(row["accuracy"], row["experience"])
        if row["stage"] < 0 or value is None:
            continue
        number = sum(where[:2] == (row["after"], row["experience"]) for where in curve)
        curve[row["after"], row["experience"], number] = (float(row["global_step"]), value)
    return curve


def _nights(run: CompletedRun) -> dict[int, tuple[float, float]]:
    """Average accuracy over the experiences seen, before and after every night that was evaluated on both sides."""
    before, found = None, {}
    for row in evaluations(run.results):
        if row["after"] != "night":
            before = row
        elif before is not None and before["experience"] == row["experience"]:
            start = average_seen(before["accuracy"], row["experience"])
            end = average_seen(row["accuracy"], row["experience"])
            if start is not None and end is not None:
                found[row["night"]] = (start, end)
    return found


def _mean_pairs(seeds: Sequence[Mapping[Any, Point]], common: bool = False) -> dict[Any, Point]:
    """The mean of pairs of numbers over the seeds, by their keys: of those that any seed has, or all seeds have."""
    keys = dict.fromkeys(key for pairs in seeds for key in pairs)
    found = {key: [pairs[key] for pairs in seeds if key in pairs] for key in keys}
    return {
        key: (sum(one for one, _ in pairs) / len(pairs), sum(other for _, other in pairs) / len(pairs))
        for key, pairs in found.items()
        if len(pairs) == len(seeds) or not common
    }


def _draw_nights(
    panel: Panel,
    across: Scale,
    up: Scale,
    by_seed: Mapping[int, Mapping[int, tuple[float, float]]],
    means: Mapping[int, tuple[float, float]],
    score: Score,
) -> None:
    few = len(means) <= _MOST_MARKS
    for place, (seed, pairs) in enumerate(by_seed.items()):
        aside = 0.44 * ((place + 0.5) / len(by_seed) - 0.5) if len(by_seed) > 1 else 0.0
        for night, (before, after) in pairs.items():
            x = across(night + aside)
            panel.line([(x, up(before)), (x, up(after))], "seed", f"night {night}, seed {seed}")
    for night, (before, after) in means.items():
        x = across(float(night))
        panel.line([(x, up(before)), (x, up(after))], "mean")
        if few:
            hint = f"night {night}: {score.write(before)}{score.sign} before, {score.write(after)}{score.sign} after"
            marker(panel, "circle", x, up(before), 3.6, "open", hint)
            marker(panel, "circle", x, up(after), 3.6, "dot", hint)


def _matrix(run: CompletedRun) -> list[list[float | None]] | None:
    """R as lists, None in place of NaN."""
    found = accuracy_matrix(evaluations(run.results))
    if found is None:
        return None
    return [[None if math.isnan(value) else value for value in line] for line in found.tolist()]


def _lost(run: CompletedRun) -> list[float | None] | None:
    matrix = _matrix(run)
    if matrix is None:
        return None
    pairs = [(matrix[j][j], matrix[-1][j]) for j in range(len(matrix) - 1)]
    direction = Score.of(run.results).direction
    return [None if first is None or end is None else direction * (first - end) for first, end in pairs]


def _strip(arm: str, line: Sequence[float | None], most: float, score: Score) -> Panel:
    """One arm's row of coloured cells, one for each experience."""
    known = [value for value in line if value is not None]
    words = ", ".join(f"experience {j} {score.write(value)}" for j, value in list(enumerate(line))[:20])
    lost = f"{capital(score.points)} lost: {words}."
    panel = new_panel(arm, 66.0, lost, score.write(_mean(line)) if known else "")
    wide = WIDTH / len(line)
    for j, value in enumerate(line):
        if value is None:
            continue
        depth = abs(value) / most
        hint = f"experience {j}: {score.write(value, 2)} {score.short_points}"
        x, size = j * wide, max(wide - 2, wide * 0.8)
        panel.add("rect", "base", x=x, y=22.0, width=size, height=24.0, rx=2)
        panel.add(
            "rect",
            "loss" if value > 0 else "gain",
            hint,
            x=x,
            y=22.0,
            width=size,
            height=24.0,
            rx=2,
            fill_opacity=depth,
        )
        if wide >= 30:
            panel.write(x + size / 2, 38.0, score.write(value), cell_text(depth), "middle")
    for j in range(0, len(line), math.ceil(18 / wide)):
        panel.write((j + 0.5) * wide - 1, 60.0, str(j), "soft", "middle")
    return panel


def _draw_matrix(arm: str, means: Sequence[Sequence[float | None]], score: Score) -> Panel:
    experiences = len(means)
    side = 230.0 / experiences
    panel = Panel(arm, 260.0, TOP + 230 + 22, _matrix_words(means, score))
    heading(panel, arm, f"{score.write(_mean(means[-1]))}{score.sign}")
    known = [value for line in means for value in line if value is not None]
    for i, line in enumerate(means):
        for j, value in enumerate(line):
            if value is None:
                continue
            x, y = 26 + j * side, TOP - 6 + i * side
            size = side - min(1.5, side * 0.08)
            hint = f"after experience {i}, on experience {j}: {score.write(value)}{score.sign}"
            depth = value if score.is_fraction else _depth(value, known, score)
            panel.add("rect", "base", x=x, y=y, width=size, height=size)
            panel.add("rect", "heat", hint, x=x, y=y, width=size, height=size, fill_opacity=depth)
            if side >= 22:
                digits = 0 if side < 34 or value >= 0.9995 else 1
                panel.write(x + size / 2, y + size / 2 + 4, score.write(value, digits), cell_text(depth), "middle")
    for j in range(experiences):
        x = 26 + j * side
        panel.add("rect", "frame", x=x, y=TOP - 6 + j * side, width=side, height=side)
    for j in range(0, experiences, max(1, math.ceil(16 / side))):
        panel.write(26 + (j + 0.5) * side, TOP + 242 - 4, str(j), "soft", "middle")
        panel.write(20.0, TOP - 6 + (j + 0.5) * side + 4, str(j), "soft", "end")
    return panel


def _depth(value: float, known: Sequence[float], score: Score) -> float:
    """How deep a cell of a score without bounds is coloured, in [0, 1]: the best one of a matrix fully."""
    span = max(known) - min(known)
    far = value - min(known) if score.higher_is_better else max(known) - value
    return far / span if span else 1.0


def _draw_stages(panel: Panel, across: Scale, kinds: Sequence[str], stages: Sequence[Mapping]) -> None:
    """One path of blocks for each kind of stage, so that a run of thousands of stages stays a small drawing."""
    blocks: dict[str, list[str]] = {"night": [], **{kind: [] for kind in kinds}}
    start = 0
    for stage in stages:
        x, end = across(start), across(start + stage["steps"])
        y = TOP + 22 * (len(kinds) - 1 - kinds.index(stage["kind"]))
        blocks[stage["kind"]].append(f"M{x:.2f} {y + 4:.1f}H{end:.2f}V{y + 16:.1f}H{x:.2f}Z")
        if stage["night"] >= 0:
            blocks["night"].append(f"M{x:.2f} {TOP - 2:.1f}H{end:.2f}V{TOP + 22 * len(kinds):.1f}H{x:.2f}Z")
        start += stage["steps"]
    for name, paths in blocks.items():
        if paths:
            panel.add("path", name, d="".join(paths))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _curve_words(mean: Curve, seeds: int, score: Score) -> str:
    if not mean:
        return f"{seeds} seeds, evaluated at different times."
    steps, value = list(mean.values())[-1]
    worst = min((y for _, y in mean.values()), key=lambda y: score.direction * y)
    return (
        f"Mean of {plural(seeds, 'seed')}: {score.write(value)}{score.sign} after {count(steps)} optimiser steps; "
        f"{'lowest' if score.higher_is_better else 'highest'} on the way {score.write(worst)}{score.sign}."
    )


def _night_words(means: Mapping[int, tuple[float, float]], score: Score) -> str:
    shown = list(means.items())[:10]
    words = "; ".join(
        f"night {night}: {score.write(before)} to {score.write(after)}{score.sign}" for night, (before, after) in shown
    )
    return words + ("; and so on." if len(means) > len(shown) else ".")


def _matrix_words(means: Sequence[Sequence[float | None]], score: Score) -> str:
    shown = ", ".join(score.write(value) for value in means[-1][:20])
    unit = " in per cent" if score.is_fraction else f" in {score.unit}" if score.unit else ""
    return f"At the end of the stream, {score.name}{unit} on each experience: {shown}."


def _lost_words(score: Score) -> str:
    first, last = "right after an experience (and its night)", "at the end of the stream"
    more, less = (first, last) if score.higher_is_better else (last, first)
    return (
        f"{capital(score.name)} {more} minus {score.name} {less}, in {score.points}, mean of the seeds. Below zero, "
        "later experiences helped. Right: the mean of all."
    )


def _stage_words(stages: Sequence[Mapping]) -> str:
    night_count = len({stage["night"] for stage in stages if stage["night"] >= 0})
    totals = {
        kind: sum(stage["steps"] for stage in stages if stage["kind"] == kind) for kind in ("wake", "nrem", "rem")
    }
    parts = ", ".join(f"{steps} steps of {kind.upper()}" for kind, steps in totals.items() if steps)
    return f"{len(stages)} stages, {night_count} nights: {parts}."

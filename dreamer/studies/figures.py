"""Figures of a study: contrasts with their margins, curves by arm, and pictures of single runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from dreamer.core.text import count
from dreamer.report.plots import RIGHT, WIDTH, Line, Row, count_ticks, draw_curves, draw_rows, new_panel, picture_panel
from dreamer.report.svg import Figure, Scale, around, frame
from dreamer.studies import words
from dreamer.studies.experiments.base import Measure
from dreamer.studies.findings import Findings
from dreamer.studies.verdicts import ContrastResult

_LEFT, _TOP, _BOTTOM = 48.0, 36.0, 190.0
_PICTURE = 400_000
"""Bytes of a picture that a page takes."""


def contrasts(findings: Findings, data: str, key: str) -> list[Figure]:
    """The contrasts on some data, a figure for each outcome: mean differences with intervals, and the margin."""
    results = [each for each in (*findings.primary, *findings.exploratory) if each.contrast.data == data]
    figures = []
    for outcome in dict.fromkeys(each.contrast.outcome for each in results):
        rows = [each for each in results if each.contrast.outcome == outcome and each.low is not None]
        if rows:
            figures.append(_contrasts(rows, findings, key))
    return figures


def curves(findings: Findings, data: str, key: str) -> list[Figure]:
    """The curves during training, a figure for each measure with a panel for each arm."""
    figures = []
    for name, measure in findings.study.measures.items():
        lines = {arm: _lines(findings, data, arm, name) for arm in findings.study.arms}
        lines = {arm: found for arm, found in lines.items() if found}
        if lines:
            figures.append(_curves(findings, data, name, measure, lines, key))
    return figures


def pictures(findings: Findings, data: str, key: str) -> Figure | None:
    """The picture of each arm's first seed that has one."""
    panels, rows = [], []
    for arm in findings.study.arms:
        for run in findings.of(data, arm):
            path = run.folder / str(run.results.get("picture") or "")
            if not path.is_file() or path.stat().st_size > _PICTURE:
                continue
            content = path.read_bytes()
            wide, tall = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))  # of a PNG's head
            description = f"Samples of {arm}, a row per class."
            panels.append(picture_panel(arm, f"seed {run.cell.seed}", description, "image/png", content, tall / wide))
            rows.append((arm, run.cell.seed, path.name))
            break
    if not panels:
        return None
    caption = f"One run of each arm, its first seed. {findings.study.pictured}".rstrip()
    return Figure(f"{key}-pictures", "Dreams", caption, panels, ("arm", "seed", "picture"), rows, wide=True)


def _contrasts(results: Sequence[ContrastResult], findings: Findings, key: str) -> Figure:
    outcome = results[0].contrast.outcome
    measure = findings.study.measures[outcome]
    rows = [
        Row(
            f"{each.contrast.arm} against {each.contrast.against}{' (primary)' * (each in findings.primary)}",
            each.verdict,
            each.difference,
            each.low,
            each.high,
            margin=each.contrast.margin,
        )
        for each in results
    ]
    label = f"difference in {measure.label}" + (" (points)" if measure.fraction else "")
    description = "; ".join(words.sentence(each, findings.study) for each in results)
    write = partial(words.difference, measure=measure)
    ticks = partial(_difference_ticks, measure=measure)
    panel = draw_rows(rows, label, description, ticks, write, zero=True, fraction=measure.fraction)
    return Figure(
        f"{key}-contrasts-{outcome}",
        f"Contrasts in {measure.label}",
        "Diamond: mean over the seeds of arm minus the other. Bar: its 95 % interval, not corrected for many "
        f"contrasts; band: the margin. {'Larger' if measure.better == 'larger' else 'Smaller'} is better.",
        [panel],
        (
            "arm",
            "against",
            "difference",
            "low",
            "high",
            "p_corrected",
            "p_equivalent_corrected",
            "verdict",
            "pairs_missing",
        ),
        [
            (e.contrast.arm, e.contrast.against, e.difference, e.low, e.high, e.p, e.p_equivalent, e.verdict, e.missing)
            for e in results
        ],
    )


def _difference_ticks(scale: Scale, most: int, measure: Measure) -> list[tuple[float, str]]:
    return [(tick, words.difference(tick, measure).removesuffix(" points")) for tick in scale.ticks(most)]


def _curves(
    findings: Findings, data: str, name: str, measure: Measure, lines: Mapping[str, Mapping[int, Line]], key: str
) -> Figure:
    theory = {arm: _theory(findings, data, arm, name) for arm in lines}
    real = findings.yardstick(data, name)
    points = [point for found in lines.values() for line in found.values() for point in line]
    points += [point for line in theory.values() for point in line]
    up = _upright([y for _, y in points] + ([] if real is None else [real]), measure)
    across = Scale(min(x for x, _ in points), max(x for x, _ in points), _LEFT, WIDTH - RIGHT)
    means = {arm: _mean(list(found.values())) for arm, found in lines.items()}
    y_ticks = [(tick, f"{100 * tick:g}" if measure.fraction else count(tick)) for tick in up.ticks(5)]
    panels = []
    for arm, found in lines.items():
        last = words.amount(means[arm][-1][1], measure)
        panel = new_panel(arm, 230.0, f"{arm}: {last} at the end, mean of {len(found)} seeds.", last)
        frame(panel, across, up, findings.study.axis, count_ticks(across, 6), y_ticks)
        if real is not None:
            panel.line([(across.start, up(real)), (across.end, up(real))], "zero", "real data")
        others = {other: mean for other, mean in means.items() if other != arm}
        draw_curves(panel, across, up, means[arm], found if len(found) > 1 else {}, others)
        if theory[arm]:
            panel.line([(across(x), up(y)) for x, y in theory[arm]], "context of-reference", "theory")
        panels.append(panel)
    caption = f"{measure.hint} " if measure.hint else ""
    caption += "Thick: mean of the seeds; thin: single seeds; grey: the other arms."
    caption += " Dashed: real data themselves." if real is not None else ""
    caption += " Dashed and coloured: theory." if any(theory.values()) else ""
    caption += {"larger": " Larger is better.", "smaller": " Smaller is better.", "": ""}[measure.better]
    rows = [(arm, seed, x, y) for arm, found in lines.items() for seed, line in found.items() for x, y in line]
    title = measure.label[:1].upper() + measure.label[1:]
    header = ("arm", "seed", findings.study.axis, name)
    return Figure(f"{key}-{name}", title, caption, panels, header, rows, wide=True)


def _upright(values: Sequence[float], measure: Measure) -> Scale:
    """The scale of a measure, never beyond what it can be."""
    if measure.log and min(values) > 0:
        return Scale(min(values) / 1.2, max(values) * 1.2, _BOTTOM, _TOP, log=True)
    low, high = around(values)
    if measure.fraction:
        low, high = max(low, 0.0), min(high, 1.0)
    elif min(values) >= 0:
        low = max(low, 0.0)
    return Scale(low, high, _BOTTOM, _TOP)


def _lines(findings: Findings, data: str, arm: str, name: str) -> dict[int, Line]:
    found = {}
    for run in findings.of(data, arm):
        curves = run.results.get("curves") or {}
        line = _known(curves.get(findings.study.axis), curves.get(name))
        if line:
            found[run.cell.seed] = line
    return found


def _theory(findings: Findings, data: str, arm: str, name: str) -> Line:
    for run in findings.of(data, arm)[:1]:
        places = (run.results.get("curves") or {}).get(findings.study.axis)
        return _known(places, (run.results.get("expected") or {}).get(name))
    return []


def _known(xs: Sequence[float] | None, ys: Sequence[float | None] | None) -> Line:
    return [(x, y) for x, y in zip(xs, ys, strict=True) if y is not None] if xs and ys else []


def _mean(lines: Sequence[Line]) -> Line:
    """The mean of lines, in the places that all of them have."""
    tables = [dict(line) for line in lines]
    shared = [x for x, _ in lines[0] if all(x in table for table in tables)]
    return [(x, math.fsum(table[x] for table in tables) / len(tables)) for x in shared]

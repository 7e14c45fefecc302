"""Figures of a study: contrasts with their margins, courses by arm, and pictures of single lives."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence

from dreamer.compare.analysis import summarise
from dreamer.report.svg import Figure, Panel, Scale, around, count, frame, heading, marker, signed
from dreamer.studies import words
from dreamer.studies.experiments.base import Measure
from dreamer.studies.findings import Findings
from dreamer.studies.verdicts import ContrastResult

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 340.0, 48.0, 10.0, 36.0, 190.0
_ROW = 40.0
_SIDE = 300.0
_PICTURE = 400_000
"""Bytes of a picture that a page takes."""

Line = list[tuple[float, float]]


def contrasts(findings: Findings, data: str, key: str) -> list[Figure]:
    """The contrasts on some data, a figure for each outcome: mean differences with intervals, and the margin."""
    judged = [each for each in (*findings.primary, *findings.exploratory) if each.contrast.data == data]
    figures = []
    for outcome in dict.fromkeys(each.contrast.outcome for each in judged):
        rows = [each for each in judged if each.contrast.outcome == outcome and each.low is not None]
        if rows:
            figures.append(_forest(rows, findings, key))
    return figures


def courses(findings: Findings, data: str, key: str) -> list[Figure]:
    """What was measured on the way, a figure for each measure with a panel for each arm."""
    figures = []
    for name, measure in findings.study.measures.items():
        lines = {arm: _lines(findings, data, arm, name) for arm in findings.study.arms}
        lines = {arm: found for arm, found in lines.items() if found}
        if lines:
            figures.append(_course(findings, data, name, measure, lines, key))
    return figures


def pictures(findings: Findings, data: str, key: str) -> Figure | None:
    """The picture of each arm's first seed that has one."""
    panels, rows = [], []
    for arm in findings.study.arms:
        for life in findings.of(data, arm):
            path = life.folder / str(life.results.get("picture") or "")
            if not path.is_file() or path.stat().st_size > _PICTURE:
                continue
            panels.append(_picture(arm, life.cell.seed, path.read_bytes()))
            rows.append((arm, life.cell.seed, path.name))
            break
    if not panels:
        return None
    caption = f"One life of each arm, its first seed. {findings.study.pictured}".rstrip()
    return Figure(f"{key}-pictures", "What they dreamt", caption, panels, ("arm", "seed", "picture"), rows, wide=True)


def yardstick(findings: Findings, data: str, name: str) -> float | None:
    """What real data themselves have of a measure, mean over all lives; None where it is not known."""
    found = [
        life.results["yardsticks"][name]
        for life in findings.lives
        if life.cell.data == data and name in (life.results.get("yardsticks") or {})
    ]
    return summarise(found).mean


def _forest(rows: Sequence[ContrastResult], findings: Findings, key: str) -> Figure:
    outcome = rows[0].contrast.outcome
    measure = findings.study.measures[outcome]
    margins = [sign * each.contrast.margin for each in rows for sign in (-1, 1)]
    ends = [end for each in rows for end in (each.low, each.high) if end is not None]
    width = 460.0
    across = Scale(*around([0.0, *margins, *ends]), 10.0, width - 10.0)
    height = 20 + _ROW * len(rows) + 40
    said = "; ".join(words.sentence(each, findings.study) for each in rows)
    panel = Panel("", width, height, said)
    ticks = [(tick, signed(tick, 1) if measure.share else f"{tick:g}") for tick in across.ticks(6)]
    frame(
        panel, across, None, f"difference in {measure.label}" + (" (points)" if measure.share else ""), ticks, left=10.0
    )
    panel.line([(across(0.0), 6.0), (across(0.0), height - 34)], "zero")
    for i, each in enumerate(rows):
        y = 20 + _ROW * i
        wide = across(each.contrast.margin) - across(-each.contrast.margin)
        panel.add("rect", "night", "the margin", x=across(-each.contrast.margin), y=y + 12, width=wide, height=14.0)
        name = f"{each.contrast.arm} against {each.contrast.against}"
        panel.write(10.0, y + 6, name + (" (primary)" if each in findings.primary else ""), "label")
        panel.write(width - 10.0, y + 6, each.verdict, "label", "end")
        panel.line([(across(each.low or 0.0), y + 19), (across(each.high or 0.0), y + 19)], "mean")
        marker(
            panel, "diamond", across(each.difference or 0.0), y + 19, 5.0, "dot", words.sentence(each, findings.study)
        )
    numbers = [
        (e.contrast.arm, e.contrast.against, e.difference, e.low, e.high, e.p, e.p_equivalent, e.verdict) for e in rows
    ]
    return Figure(
        f"{key}-contrasts-{outcome}",
        f"Contrasts in {measure.label}",
        "Diamond: mean over the seeds of arm minus the other. Line: its 95 % interval, not corrected for many "
        f"contrasts; band: the margin. {'Larger' if measure.better == 'larger' else 'Smaller'} is better.",
        [panel],
        ("arm", "against", "difference", "low", "high", "p_corrected", "p_equivalent_corrected", "verdict"),
        numbers,
    )


def _course(
    findings: Findings, data: str, name: str, measure: Measure, lines: Mapping[str, Mapping[int, Line]], key: str
) -> Figure:
    theory = {arm: _theory(findings, data, arm, name) for arm in lines}
    real = yardstick(findings, data, name)
    points = [point for found in lines.values() for line in found.values() for point in line]
    points += [point for line in theory.values() for point in line]
    values = [y for _, y in points] + ([] if real is None else [real])
    up = _upright(values, measure)
    across = Scale(min(x for x, _ in points), max(x for x, _ in points), _LEFT, _WIDTH - _RIGHT)
    means = {arm: _mean(list(found.values())) for arm, found in lines.items()}
    panels = []
    for arm, found in lines.items():
        last = means[arm][-1][1]
        panel = Panel(
            arm, _WIDTH, 230.0, f"{arm}: {words.amount(last, measure)} at the end, mean of {len(found)} seeds."
        )
        heading(panel, arm, words.amount(last, measure))
        y_ticks = [(tick, f"{100 * tick:g}" if measure.share else count(tick)) for tick in up.ticks(5)]
        frame(panel, across, up, findings.study.axis, [(t, count(t)) for t in across.ticks(6)], y_ticks)
        if real is not None:
            panel.line([(across.start, up(real)), (across.end, up(real))], "zero", "real data")
        for other, mean in means.items():
            if other != arm:
                panel.line(_placed(mean, across, up), "context", other)
        for seed, line in found.items():
            if len(found) > 1:
                panel.line(_placed(line, across, up), "seed", f"seed {seed}")
        panel.line(_placed(means[arm], across, up), "mean")
        if theory[arm]:
            panel.line(_placed(theory[arm], across, up), "context of-reference", "theory")
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
    if measure.share:
        low, high = max(low, 0.0), min(high, 1.0)
    elif min(values) >= 0:
        low = max(low, 0.0)
    return Scale(low, high, _BOTTOM, _TOP)


def _lines(findings: Findings, data: str, arm: str, name: str) -> dict[int, Line]:
    found = {}
    for life in findings.of(data, arm):
        course = life.results.get("course") or {}
        line = _known(course.get(findings.study.axis), course.get(name))
        if line:
            found[life.cell.seed] = line
    return found


def _theory(findings: Findings, data: str, arm: str, name: str) -> Line:
    for life in findings.of(data, arm)[:1]:
        places = (life.results.get("course") or {}).get(findings.study.axis)
        return _known(places, (life.results.get("expected") or {}).get(name))
    return []


def _known(xs: Sequence[float] | None, ys: Sequence[float | None] | None) -> Line:
    return [(x, y) for x, y in zip(xs, ys, strict=True) if y is not None] if xs and ys else []


def _mean(lines: Sequence[Line]) -> Line:
    """The mean of lines, in the places that all of them have."""
    tables = [dict(line) for line in lines]
    shared = [x for x, _ in lines[0] if all(x in table for table in tables)]
    return [(x, math.fsum(table[x] for table in tables) / len(tables)) for x in shared]


def _placed(line: Line, across: Scale, up: Scale) -> Line:
    return [(across(x), up(y)) for x, y in line]


def _picture(arm: str, seed: int, content: bytes) -> Panel:
    wide, tall = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))  # of a PNG's head
    height = _SIDE * tall / wide
    panel = Panel(arm, _SIDE, 24 + height, f"Samples of {arm}, a row per class.")
    heading(panel, arm, f"seed {seed}")
    href = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    panel.add("image", "", href=href, x=0, y=24, width=_SIDE, height=height)
    return panel

"""``report.html``: a study on one page that needs no network: question, design, verdict, figures, limits."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dreamer.compare import page_tables
from dreamer.compare.page_tables import Column, Entry, Table
from dreamer.core.files import write_text
from dreamer.report.svg import p_value
from dreamer.studies import figures, words
from dreamer.studies.findings import Findings
from dreamer.studies.study import Study
from dreamer.studies.verdicts import ContrastResult, explained

FILE_NAME = "report.html"
_STYLE = Path(page_tables.__file__).parent
"""Where style, script and macros of pages lie."""
_MOODS = {"better": "good", "worse": "bad"}


def write_page(findings: Findings, folder: Path) -> Path:
    """Write the page of a study.

    Args:
        findings: what was found.
        folder: of the study.

    Returns:
        The path of ``report.html``.
    """
    path = folder / FILE_NAME
    write_text(path, _render(findings, folder))
    return path


def _render(findings: Findings, folder: Path) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    world = Environment(
        loader=FileSystemLoader([Path(__file__).parent, _STYLE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    study = findings.study
    script = (_STYLE / "page.js").read_text(encoding="utf-8")
    return world.get_template("study.html.jinja").render(
        findings=findings,
        study=study,
        headline=words.headline(findings),
        design=_design(study),
        data=[_data(findings, name, f"data-{number}") for number, name in enumerate(study.data, start=1)],
        primary=_contrasts(findings.primary, study, "primary"),
        exploratory=_contrasts(findings.exploratory, study, "exploratory"),
        theory=_theory(findings),
        cells=_cells(findings, folder),
        missing=_missing(findings),
        settings=_settings(study),
        explanation=explained(study).split("\n\n"),
        style=(_STYLE / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _design(study: Study) -> list[tuple[str, list[tuple[str, str]]]]:
    """What was fixed beforehand: (heading, [(name, what it is)])."""
    seeds: dict[str, list[int]] = {}
    for cell in study.cells:
        if cell.seed not in seeds.setdefault(cell.data, []):
            seeds[cell.data].append(cell.seed)
    asked = [
        (
            f"{contrast.arm} against {contrast.against}",
            f"in {study.measures[contrast.outcome].label} on {contrast.data}, "
            f"margin {words.amount(contrast.margin, study.measures[contrast.outcome])}",
        )
        for contrast in study.primary
    ]
    places = [
        (name, f"{about} Seeds {', '.join(map(str, seeds[name]))}.".strip()) for name, about in study.data.items()
    ]
    return [
        ("Primary contrast" if len(asked) == 1 else "Primary contrasts", asked),
        ("Arms", list(study.arms.items())),
        ("Data", places),
        ("Measures", [(measure.label, measure.hint) for measure in study.measures.values()]),
    ]


def _data(findings: Findings, name: str, key: str) -> dict[str, Any]:
    """Everything that the page says about some data."""
    drawn = [
        *figures.contrasts(findings, name, key),
        *figures.courses(findings, name, key),
        *filter(None, [figures.pictures(findings, name, key)]),
    ]
    return {"name": name, "key": key, "table": _outcomes(findings, name, key), "figures": drawn}


def _outcomes(findings: Findings, data: str, key: str) -> Table:
    study = findings.study
    names = findings.measured(data)
    columns = [Column("Arm", words=True), Column("Seeds", falls=True)]
    for name in names:
        measure = study.measures[name]
        columns.append(Column(measure.label, measure.hint, falls=measure.better != "smaller"))
    rows = []
    for arm in study.arms_on(data):
        row = [Entry(arm, arm), Entry(str(len(findings.of(data, arm))), len(findings.of(data, arm)))]
        for name in names:
            about = findings.outcome(data, arm, name)
            row.append(Entry(words.summary(about, study.measures[name]), about.mean))
        rows.append(row)
    yardsticks = [(name, figures.yardstick(findings, data, name)) for name in names]
    if any(value is not None for _, value in yardsticks):
        real = [Entry(words.amount(value, study.measures[name]), value) for name, value in yardsticks]
        rows.append([Entry("real data", "real data"), Entry("", None), *real])
    caption = f"Outcomes on {data}: mean ± standard deviation over the seeds; shares in per cent"
    return Table(f"{key}-outcomes", caption, columns, rows)


def _contrasts(judged: Sequence[ContrastResult], study: Study, key: str) -> Table | None:
    if not judged:
        return None
    columns = [
        Column("Arm", words=True),
        Column("Against", words=True),
        Column("Data", words=True),
        Column("Outcome", words=True),
        Column("Difference", "Mean over the seeds of arm minus the other, with its 95 % interval", True),
        Column("p", "Wilcoxon's signed-rank test, corrected"),
        Column("p of equivalence", "Two one-sided t tests within the margin, corrected"),
        Column("Margin", "The smallest difference that matters"),
        Column("Verdict", "About the arm, as against the other one", words=True),
    ]
    rows = []
    for each in judged:
        contrast, measure = each.contrast, study.measures[each.contrast.outcome]
        rows.append(
            [
                Entry(contrast.arm, contrast.arm),
                Entry(contrast.against, contrast.against),
                Entry(contrast.data, contrast.data),
                Entry(measure.label, measure.label),
                Entry(words.difference(each.difference, measure), each.difference, words.interval(each, measure)),
                Entry(p_value(each.p), each.p),
                Entry(p_value(each.p_equivalent), each.p_equivalent),
                Entry(words.amount(contrast.margin, measure), contrast.margin),
                Entry(each.verdict, each.verdict, each.reason, mood=_MOODS.get(each.verdict, "")),
            ]
        )
    caption = "The primary contrast" if key == "primary" and len(judged) == 1 else f"{key.capitalize()} contrasts"
    return Table(f"{key}-contrasts", caption, columns, rows)


def _theory(findings: Findings) -> Table | None:
    if not findings.theory:
        return None
    columns = [
        Column("Arm", words=True),
        Column("Data", words=True),
        Column("Measure", words=True),
        Column(findings.study.axis.capitalize()),
        Column("Measured", "Mean with its standard error"),
        Column("Expected", "What theory says"),
        Column("z", "How many standard errors lie between the two"),
        Column("p", "Two-sided, corrected over all rows"),
        Column("Verdict", words=True),
    ]
    rows = []
    for each in findings.theory:
        said = "departs from theory" if each.departs else "no departure shown"
        label = findings.study.measures[each.measure].label
        rows.append(
            [
                Entry(each.arm, each.arm),
                Entry(each.data, each.data),
                Entry(label, label),
                Entry(f"{each.at:g}", each.at),
                Entry(f"{each.measured:.4g} ± {each.error:.2g}", each.measured),
                Entry(f"{each.expected:.4g}", each.expected),
                Entry(f"{each.z:+.2f}", each.z),
                Entry(p_value(each.p), each.p),
                Entry(said, said, mood="bad" if each.departs else ""),
            ]
        )
    return Table("theory-table", "Theory and measurement at the end of the courses", columns, rows)


def _cells(findings: Findings, folder: Path) -> Table:
    measures = findings.study.measures
    names = [name for name in measures if any(name in life.results["outcomes"] for life in findings.lives)]
    columns = [Column("Data", words=True), Column("Arm", words=True), Column("Seed")]
    columns += [Column(measures[name].label, falls=measures[name].better != "smaller") for name in names]
    columns.append(Column("Seconds", "Wall-clock seconds of the cell"))
    rows = []
    for life in findings.lives:
        place, outcomes = life.folder.relative_to(folder).as_posix(), life.results["outcomes"]
        rows.append(
            [
                Entry(life.cell.data, life.cell.data),
                Entry(life.cell.arm, life.cell.arm, link=f"{quote(place)}/results.json"),
                Entry(str(life.cell.seed), life.cell.seed),
                *(Entry(words.amount(outcomes.get(name), measures[name]), outcomes.get(name)) for name in names),
                Entry(f"{life.results['seconds']:.1f}", life.results["seconds"]),
            ]
        )
    return Table("cells", "Every cell, shares in per cent", columns, rows)


def _missing(findings: Findings) -> Table | None:
    if not findings.missing:
        return None
    columns = [Column("Data", words=True), Column("Arm", words=True), Column("Seed"), Column("Reason", words=True)]
    rows = [
        [Entry(c.stream, c.stream), Entry(c.arm, c.arm), Entry(str(c.seed), c.seed), Entry(c.reason, c.reason)]
        for c in findings.missing
    ]
    return Table("missing-cells", "Cells of the study without results", columns, rows)


def _settings(study: Study) -> list[tuple[str, str]]:
    """(where, its settings in full), of the first seed of every arm on all data."""
    found: dict[str, str] = {}
    for cell in study.cells:
        text = json.dumps(cell.settings, indent=2, ensure_ascii=False, default=str)
        found.setdefault(f"{cell.arm} on {cell.data}", text)
    return list(found.items())

"""``report.html``: a whole study on one page: question, design, verdict, figures, limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dreamer.core.text import plural
from dreamer.report import page
from dreamer.report.html_tables import Column, Entry, Table, missing_table, number, p_value, verdict, word_columns
from dreamer.report.html_tables import words as entries
from dreamer.studies import figures, words
from dreamer.studies.findings import Findings
from dreamer.studies.study import Study
from dreamer.studies.verdicts import ContrastResult, explained

_TEMPLATE = Path(__file__).parent / "study.html.jinja"
Facts = list[tuple[str, list[tuple[str, str]]]]


def write_page(findings: Findings, folder: Path) -> Path:
    """Write ``report.html`` into the folder of a study, and return its path."""
    study = findings.study
    data = [_data(findings, name, f"data-{number}") for number, name in enumerate(study.data, start=1)]
    tables = [
        _contrasts(findings.primary, study, "primary"),
        _theory(findings),
        _contrasts(findings.exploratory, study, "exploratory"),
    ]
    tables = [table for table in tables if table is not None]
    contents = [
        ("design", "Design"),
        *([("verdicts", "Verdicts")] if tables else []),
        *((each["key"], each["name"]) for each in data),
        ("limits", "Limits"),
    ]
    return page.write_page(
        folder,
        _TEMPLATE,
        kind="study",
        title=study.title,
        headline=words.headline(findings),
        command=findings.command,
        contents=contents,
        missing=missing_table([(c.stream, c.arm, c.seed, c.reason) for c in findings.missing], "Data"),
        cells=_cells(findings, folder),
        explanation=explained(study).split("\n\n"),
        question=study.question,
        counts=f"{plural(len(study.arms), 'arm')}, {len(findings.runs)} of {len(study.cells)} cells",
        design=_design(study),
        tables=tables,
        data=data,
        limits=study.limits,
        settings=_settings(study),
    )


def _design(study: Study) -> list[tuple[str, Facts]]:
    """What was fixed beforehand: (heading, [(name, [what it is])])."""
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
    groups = [
        ("Primary contrast" if len(asked) == 1 else "Primary contrasts", asked),
        ("Arms", list(study.arms.items())),
        ("Data", places),
        ("Measures", [(measure.label, measure.hint) for measure in study.measures.values()]),
    ]
    return [(heading, [(name, [(what, "")]) for name, what in facts]) for heading, facts in groups]


def _data(findings: Findings, name: str, key: str) -> dict[str, Any]:
    """Everything that the page says about some data."""
    drawn = [
        *figures.contrasts(findings, name, key),
        *figures.curves(findings, name, key),
        *filter(None, [figures.pictures(findings, name, key)]),
    ]
    return {"name": name, "key": key, "table": _outcomes(findings, name, key), "figures": drawn}


def _outcomes(findings: Findings, data: str, key: str) -> Table:
    study = findings.study
    names = findings.measured(data)
    columns = [*word_columns("Arm"), Column("Seeds", falls=True)]
    for name in names:
        measure = study.measures[name]
        columns.append(Column(measure.label, measure.hint, falls=measure.better != "smaller"))
    rows = []
    for arm in study.arms_on(data):
        row = [*entries(arm), number(len(findings.of(data, arm)))]
        for name in names:
            about = findings.outcome(data, arm, name)
            row.append(Entry(words.summary(about, study.measures[name]), about.mean))
        rows.append(row)
    yardsticks = [(name, findings.yardstick(data, name)) for name in names]
    if any(value is not None for _, value in yardsticks):
        real = [Entry(words.amount(value, study.measures[name]), value) for name, value in yardsticks]
        rows.append([*entries("real data"), Entry("", None), *real])
    caption = f"Outcomes on {data}: mean ± standard deviation over the seeds; fractions in per cent"
    return Table(f"{key}-outcomes", caption, columns, rows, notes=words.undefined(findings, data))


def _contrasts(results: Sequence[ContrastResult], study: Study, key: str) -> Table | None:
    if not results:
        return None
    columns = [
        *word_columns("Arm", "Against", "Data", "Outcome"),
        Column("Difference", "Mean over the seeds of arm minus the other, with its 95 % interval", True),
        Column("p", "Wilcoxon's signed-rank test, corrected"),
        Column("p of equivalence", "Two one-sided t tests within the margin, corrected"),
        Column("Margin", "The smallest difference that matters"),
        Column("Verdict", "About the arm, as against the other one", words=True),
    ]
    rows = []
    for each in results:
        contrast, measure = each.contrast, study.measures[each.contrast.outcome]
        rows.append(
            [
                *entries(contrast.arm, contrast.against, contrast.data, measure.label),
                Entry(words.difference(each.difference, measure), each.difference, words.interval(each, measure)),
                p_value(each.p),
                p_value(each.p_equivalent),
                Entry(words.amount(contrast.margin, measure), contrast.margin),
                verdict(each.verdict, below=each.reason),
            ]
        )
    caption = "The primary contrast" if key == "primary" and len(results) == 1 else f"{key.capitalize()} contrasts"
    return Table(f"{key}-contrasts", caption, columns, rows)


def _theory(findings: Findings) -> Table | None:
    if not findings.theory:
        return None
    columns = [
        *word_columns("Arm", "Data", "Measure"),
        Column(findings.study.axis.capitalize()),
        Column("Measured", "Mean with its standard error"),
        Column("Expected", "What theory says"),
        Column("z", "How many standard errors lie between the two"),
        Column("p", "Two-sided, corrected over all rows"),
        *word_columns("Verdict"),
    ]
    rows = []
    for each in findings.theory:
        found = "departs from theory" if each.departs else "no departure shown"
        label = findings.study.measures[each.measure].label
        rows.append(
            [
                *entries(each.arm, each.data, label),
                number(each.at, "{:g}"),
                Entry(f"{each.measured:.4g} ± {each.error:.2g}", each.measured),
                number(each.expected, "{:.4g}"),
                number(each.z, "{:+.2f}"),
                p_value(each.p),
                Entry(found, found, mood="bad" if each.departs else ""),
            ]
        )
    return Table("theory-table", "Theory and measurement at the end of the curves", columns, rows)


def _cells(findings: Findings, folder: Path) -> Table:
    measures = findings.study.measures
    names = [name for name in measures if any(name in run.results["outcomes"] for run in findings.runs)]
    columns = [*word_columns("Data", "Arm"), Column("Seed")]
    columns += [Column(measures[name].label, falls=measures[name].better != "smaller") for name in names]
    columns.append(Column("Seconds", "Wall-clock seconds of the cell"))
    rows = []
    for run in findings.runs:
        place, outcomes = run.folder.relative_to(folder).as_posix(), run.results["outcomes"]
        rows.append(
            [
                *entries(run.cell.data),
                Entry(run.cell.arm, run.cell.arm, link=f"{quote(place)}/results.json"),
                number(run.cell.seed, "{}"),
                *(Entry(words.amount(outcomes.get(name), measures[name]), outcomes.get(name)) for name in names),
                number(run.results["seconds"], "{:.1f}"),
            ]
        )
    return Table("cells", "Every run, fractions in per cent", columns, rows)


def _settings(study: Study) -> list[tuple[str, str]]:
    """(where, its settings in full), of the first seed of every arm on all data."""
    found: dict[str, str] = {}
    for cell in study.cells:
        text = json.dumps(cell.settings, indent=2, ensure_ascii=False, default=str)
        found.setdefault(f"{cell.arm} on {cell.data}", text)
    return list(found.items())

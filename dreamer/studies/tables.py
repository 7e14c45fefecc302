"""The files of a study, and what the terminal shows of it.

``results.json`` holds everything, ``results.csv`` a row a cell, ``courses.csv`` what happened on the way, and
``findings.txt`` the command and what the terminal shows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dreamer.core.files import write_text
from dreamer.report.results import write_results
from dreamer.studies import words
from dreamer.studies.findings import Findings
from dreamer.studies.verdicts import ContrastResult, explained

CSV, COURSES, FINDINGS = "results.csv", "courses.csv", "findings.txt"


def write_tables(findings: Findings, folder: Path) -> None:
    """Write ``results.json``, ``results.csv``, ``courses.csv`` and ``findings.txt``, each in one piece.

    Raises:
        OSError: when the folder cannot be written to.
    """
    write_text(folder / CSV, csv_table(findings))
    write_text(folder / COURSES, courses_table(findings))
    write_text(folder / FINDINGS, f"{findings.command}\n\n{plain_findings(findings)}\n")
    write_results(everything(findings, folder), folder)


def csv_table(findings: Findings) -> str:
    """One row for each cell, lived or missing, with its outcomes; shares stay shares."""
    measures = list(findings.study.measures)
    rows: list[dict[str, Any]] = [
        {**_whose(life.cell), **life.results["outcomes"], "seconds": life.results["seconds"]} for life in findings.lives
    ]
    rows += [
        {"data": cell.stream, "arm": cell.arm, "seed": cell.seed, "missing": cell.reason} for cell in findings.missing
    ]
    return _csv(["data", "arm", "seed", *measures, "seconds", "missing"], rows)


def courses_table(findings: Findings) -> str:
    """One row for each cell and place of its course."""
    axis, measures = findings.study.axis, list(findings.study.measures)
    rows = []
    for life in findings.lives:
        course = life.results.get("course") or {}
        for i, place in enumerate(course.get(axis, ())):
            followed = {name: values[i] for name, values in course.items() if name != axis}
            rows.append({**_whose(life.cell), axis: place, **followed})
    return _csv(["data", "arm", "seed", axis, *measures], rows)


def everything(findings: Findings, folder: Path) -> dict[str, Any]:
    """What ``results.json`` holds."""
    study = findings.study
    return {
        "study": study.name,
        "title": study.title,
        "question": study.question,
        "command": findings.command,
        "complete": not findings.missing,
        "verdict": words.headline(findings),
        "primary": [asdict(judged) for judged in findings.primary],
        "exploratory": [asdict(judged) for judged in findings.exploratory],
        "theory": [{**asdict(each), "departs": each.departs} for each in findings.theory],
        "summaries": [
            {"data": data, "arm": arm, "measure": measure, **asdict(findings.outcome(data, arm, measure))}
            for data in study.data
            for measure in findings.measured(data)
            for arm in study.arms_on(data)
        ],
        "cells": [
            {
                **_whose(life.cell),
                "folder": life.folder.relative_to(folder).as_posix(),
                **{key: life.results.get(key) for key in ("outcomes", "yardsticks", "seconds", "versions")},
            }
            for life in findings.lives
        ],
        "missing": [asdict(cell) for cell in findings.missing],
        "limits": study.limits,
        "explanation": explained(study).split("\n\n"),
        "asked": study.asked,
    }


def plain_findings(findings: Findings) -> str:
    """What the terminal shows: outcomes by arm, and the verdicts."""
    study = findings.study
    blocks = [study.title]
    for data in study.data:
        names = findings.measured(data)
        rows = [("arm", "seeds", *names)]
        for arm in study.arms_on(data):
            lives = findings.of(data, arm)
            said = [words.summary(findings.outcome(data, arm, name), study.measures[name]) for name in names]
            rows.append((arm, str(len(lives)), *said))
        blocks.append(f"{data} (mean ± standard deviation; shares in per cent)\n" + "\n".join(_aligned(rows)))
    if findings.theory:
        rows = [("theory", "measure", study.axis, "measured", "expected", "standard errors between")]
        for each in findings.theory:
            numbers = (f"{number:.4g}" for number in (each.at, each.measured, each.expected, each.z))
            rows.append((each.arm, each.measure, *numbers))
        blocks.append("\n".join(_aligned(rows)))
    if findings.exploratory:
        said = [words.sentence(judged, study) for judged in _shown(findings.exploratory)]
        quiet = len(findings.exploratory) - len(said)
        said += [f"{quiet} exploratory contrasts: cannot say."] if quiet else []
        blocks.append("\n".join(["Exploratory:", *said]))
    blocks.append("\n".join(words.headline(findings)))
    blocks += [
        "\n".join(f"missing: {cell.arm} on {cell.stream}, seed {cell.seed}: {cell.reason}" for cell in findings.missing)
    ]
    return "\n\n".join(filter(None, blocks))


def _shown(exploratory: Sequence[ContrastResult]) -> Iterator[ContrastResult]:
    return (judged for judged in exploratory if judged.verdict != "cannot say")


def _whose(cell: Any) -> dict[str, Any]:
    return {"data": cell.data, "arm": cell.arm, "seed": cell.seed}


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of one width each, the first to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()

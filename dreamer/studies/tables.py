"""The files of a study, and what the terminal shows of it.

``results.json`` holds everything, ``results.csv`` a row a cell, ``curves.csv`` what was measured on the way, and
``findings.txt`` the command and what the terminal shows.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from dreamer.core.files import csv_text, write_text
from dreamer.core.text import aligned
from dreamer.metrics.significance import CONCLUSIVE
from dreamer.report.results import write_results
from dreamer.studies import words
from dreamer.studies.findings import Findings
from dreamer.studies.verdicts import explained

CSV, CURVES, FINDINGS = "results.csv", "curves.csv", "findings.txt"


def write_tables(findings: Findings, folder: Path) -> None:
    """Write ``results.json``, ``results.csv``, ``curves.csv`` and ``findings.txt``, each in one piece.

    Raises:
        OSError: when the folder cannot be written to.
    """
    write_text(folder / CSV, csv_table(findings))
    write_text(folder / CURVES, curves_table(findings))
    write_text(folder / FINDINGS, f"{findings.command}\n\n{plain_findings(findings)}\n")
    write_results(everything(findings, folder), folder)


def csv_table(findings: Findings) -> str:
    """One row for each cell, completed or missing, with its outcomes; fractions stay fractions.

    The last column says why a cell is missing, or which of its outcomes are no number.
    """
    measures = list(findings.study.measures)
    rows: list[dict[str, Any]] = [
        {
            **_key(run.cell),
            **run.results["outcomes"],
            "seconds": run.results["seconds"],
            "missing": words.without_number(findings, run),
        }
        for run in findings.runs
    ]
    rows += [
        {"data": cell.stream, "arm": cell.arm, "seed": cell.seed, "missing": cell.reason} for cell in findings.missing
    ]
    return csv_text(["data", "arm", "seed", *measures, "seconds", "missing"], rows)


def curves_table(findings: Findings) -> str:
    """One row for each cell and place of its curves."""
    axis, measures = findings.study.axis, list(findings.study.measures)
    rows = []
    for run in findings.runs:
        curves = run.results.get("curves") or {}
        for i, place in enumerate(curves.get(axis, ())):
            followed = {name: values[i] for name, values in curves.items() if name != axis}
            rows.append({**_key(run.cell), axis: place, **followed})
    return csv_text(["data", "arm", "seed", axis, *measures], rows)


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
        "primary": [asdict(result) for result in findings.primary],
        "exploratory": [asdict(result) for result in findings.exploratory],
        "theory": [{**asdict(each), "departs": each.departs} for each in findings.theory],
        "summaries": [
            {"data": data, "arm": arm, "measure": measure, **asdict(findings.outcome(data, arm, measure))}
            for data in study.data
            for measure in findings.measured(data)
            for arm in study.arms_on(data)
        ],
        "cells": [
            {
                **_key(run.cell),
                "folder": run.folder.relative_to(folder).as_posix(),
                **{key: run.results.get(key) for key in ("outcomes", "yardsticks", "seconds", "versions")},
            }
            for run in findings.runs
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
            outcomes = [words.summary(findings.outcome(data, arm, name), study.measures[name]) for name in names]
            rows.append((arm, str(len(findings.of(data, arm))), *outcomes))
        real = {name: findings.yardstick(data, name) for name in names}
        if any(value is not None for value in real.values()):
            rows.append(("real data", "", *(words.amount(real[name], study.measures[name]) for name in names)))
        lines = [*aligned(rows), *words.undefined(findings, data)]
        blocks.append(f"{data} (mean ± standard deviation; fractions in per cent)\n" + "\n".join(lines))
    if findings.theory:
        rows = [("theory", "measure", study.axis, "measured", "expected", "standard errors between")]
        for each in findings.theory:
            numbers = (f"{number:.4g}" for number in (each.at, each.measured, each.expected, each.z))
            rows.append((each.arm, each.measure, *numbers))
        blocks.append("\n".join(aligned(rows)))
    if findings.exploratory:
        lines = [words.sentence(each, study) for each in findings.exploratory if each.verdict in CONCLUSIVE]
        open_ones = len(findings.exploratory) - len(lines)
        lines += [f"{open_ones} exploratory contrasts allow no conclusion."] if open_ones else []
        blocks.append("\n".join(["Exploratory:", *lines]))
    blocks.append("\n".join(words.headline(findings)))
    blocks += [
        "\n".join(f"missing: {cell.arm} on {cell.stream}, seed {cell.seed}: {cell.reason}" for cell in findings.missing)
    ]
    return "\n\n".join(filter(None, blocks))


def _key(cell: Any) -> dict[str, Any]:
    return {"data": cell.data, "arm": cell.arm, "seed": cell.seed}

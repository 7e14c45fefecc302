"""The completed cells of a study, read from disk, with the verdicts computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer.jobs.manifest import completed
from dreamer.jobs.runner import Missing, why_missing
from dreamer.metrics.significance import Summary, summarise
from dreamer.report.results import read_results
from dreamer.studies.study import Cell, Study
from dreamer.studies.verdicts import Agreement, ContrastResult, agreements, compare


@dataclass(frozen=True)
class CompletedCell:
    """A cell that was run to its end.

    Attributes:
        results: the content of its ``results.json``: that of its ``cell.json``, and a
            :class:`dreamer.studies.experiments.base.CellResult`.
    """

    cell: Cell
    results: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Findings:
    """Everything that tables and page are made from.

    Attributes:
        runs: the completed cells, in its order.
        missing: the other ones; a data set counts as their stream.
        primary: verdicts about its primary contrasts.
    """

    study: Study
    runs: tuple[CompletedCell, ...]
    missing: tuple[Missing, ...]
    primary: tuple[ContrastResult, ...]
    exploratory: tuple[ContrastResult, ...]
    theory: tuple[Agreement, ...]
    command: str = ""

    def of(self, data: str, arm: str) -> list[CompletedCell]:
        """The runs of an arm on some data, by seed."""
        return [run for run in self.runs if (run.cell.data, run.cell.arm) == (data, arm)]

    def outcome(self, data: str, arm: str, measure: str) -> Summary:
        """Mean, deviation and interval of an outcome over the seeds."""
        scores = _scores(self.runs).get((data, arm, measure), {}).values()
        return summarise([math.nan if score is None else score for score in scores])

    def measured(self, data: str) -> list[str]:
        """The measures of which some run on these data has an outcome, in the experiment's order."""
        found = {name for run in self.runs if run.cell.data == data for name in run.results.get("outcomes", {})}
        return [name for name in self.study.measures if name in found]

    def defined(self, data: str) -> list[str]:
        """Those of :meth:`measured` that some run on these data has a number of."""
        scores = _scores(self.runs)
        numbers = {name for (on, _, name), found in scores.items() if on == data and set(found.values()) != {None}}
        return [name for name in self.measured(data) if name in numbers]

    def yardstick(self, data: str, measure: str) -> float | None:
        """What real data themselves have of a measure, mean over all runs; None where there is none."""
        known = [run.results.get("yardsticks") or {} for run in self.runs if run.cell.data == data]
        return summarise([yardsticks[measure] for yardsticks in known if measure in yardsticks]).mean


def find(study: Study, folder: Path, command: str = "", reasons: Mapping[Path, str] | None = None) -> Findings:
    """Read the completed cells of a study, and compute its verdicts; ``reasons`` say why cells failed, by folder."""
    runs, missing = [], []
    for cell in study.cells:
        place = folder / cell.folder
        if completed(place):
            runs.append(CompletedCell(cell, read_results(place), place))
        else:
            missing.append(Missing(cell.arm, cell.data, cell.seed, why_missing(place, reasons)))
    scores = _scores(runs)
    return Findings(
        study,
        tuple(runs),
        tuple(missing),
        tuple(compare(study.primary, study, scores)),
        tuple(compare(study.exploratory, study, scores)),
        tuple(agreements(_theory(study, runs))),
        command,
    )


def _scores(runs: Sequence[CompletedCell]) -> dict[tuple[str, str, str], dict[int, float | None]]:
    found: dict[tuple[str, str, str], dict[int, float | None]] = {}
    for run in runs:
        for outcome, value in (run.results.get("outcomes") or {}).items():
            found.setdefault((run.cell.data, run.cell.arm, outcome), {})[run.cell.seed] = value
    return found


def _theory(study: Study, runs: Sequence[CompletedCell]) -> list[tuple[str, str, str, float, float, float, float]]:
    """The ends of all curves that have a theory, the mean of the seeds each."""
    found = []
    for data in study.data:
        for arm in study.arms:
            cells = [run.results for run in runs if (run.cell.data, run.cell.arm) == (data, arm)]
            for measure in cells[0].get("expected", {}) if cells else ():
                ends = [tuple(cell[key][measure][-1] for key in ("curves", "expected", "errors")) for cell in cells]
                if any(None in end or not end[2] for end in ends):
                    continue
                measured, expected = (math.fsum(end[i] for end in ends) / len(ends) for i in (0, 1))
                error = math.sqrt(math.fsum(end[2] ** 2 for end in ends)) / len(ends)
                at = cells[0]["curves"][study.axis][-1]
                found.append((data, arm, measure, at, measured, expected, error))
    return found

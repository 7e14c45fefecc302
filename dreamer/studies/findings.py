"""What has been lived of a study, found again and judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer.compare.analysis import Summary, summarise
from dreamer.compare.results import Missing
from dreamer.jobs.job import LOG, last_word
from dreamer.jobs.tracker import finished
from dreamer.report.results import read_results
from dreamer.studies.study import Cell, Study
from dreamer.studies.verdicts import Agreement, ContrastResult, agreements, judge


@dataclass(frozen=True)
class Lived:
    """A cell that was lived to its end.

    Attributes:
        cell: which.
        results: the content of its ``results.json``: that of its ``cell.json``, and what
            :class:`dreamer.studies.experiments.base.CellResult` says.
        folder: where it lies.
    """

    cell: Cell
    results: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Findings:
    """Everything that tables and page are made from.

    Attributes:
        study: what was asked for.
        lives: the cells that were lived, in its order.
        missing: those that were not; a data set counts as their stream.
        primary: what may be said about its primary contrasts.
        exploratory: and about all others.
        theory: measurements held against theory, where the experiment has one.
        command: what was typed.
    """

    study: Study
    lives: tuple[Lived, ...]
    missing: tuple[Missing, ...]
    primary: tuple[ContrastResult, ...]
    exploratory: tuple[ContrastResult, ...]
    theory: tuple[Agreement, ...]
    command: str = ""

    def of(self, data: str, arm: str) -> list[Lived]:
        """The lives of an arm on some data, by seed."""
        return [life for life in self.lives if (life.cell.data, life.cell.arm) == (data, arm)]

    def outcome(self, data: str, arm: str, measure: str) -> Summary:
        """Mean, deviation and interval of an outcome over the seeds."""
        return summarise(list(_scores(self.lives).get((data, arm, measure), {}).values()))

    def measured(self, data: str) -> list[str]:
        """The measures of which some life on these data has an outcome, in the experiment's order."""
        found = {name for life in self.lives if life.cell.data == data for name in life.results.get("outcomes", {})}
        return [name for name in self.study.measures if name in found]


def find(study: Study, folder: Path, command: str = "", reasons: Mapping[Path, str] | None = None) -> Findings:
    """Read what has been lived of a study, and judge it.

    Args:
        study: what was asked for.
        folder: that of the study.
        command: what was typed.
        reasons: why cells failed, by their folders.
    """
    lives, missing = [], []
    for cell in study.cells:
        place = folder / cell.folder
        if finished(place):
            lives.append(Lived(cell, read_results(place), place))
            continue
        said = last_word(place / LOG) if (place / LOG).is_file() else ""
        missing.append(Missing(cell.arm, cell.data, cell.seed, (reasons or {}).get(place) or said or "not lived yet"))
    scores = _scores(lives)
    return Findings(
        study,
        tuple(lives),
        tuple(missing),
        tuple(judge(study.primary, study, scores)),
        tuple(judge(study.exploratory, study, scores)),
        tuple(agreements(_theory(study, lives))),
        command,
    )


def _scores(lives: Sequence[Lived]) -> dict[tuple[str, str, str], dict[int, float]]:
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    for life in lives:
        for outcome, value in (life.results.get("outcomes") or {}).items():
            if value is not None:
                found.setdefault((life.cell.data, life.cell.arm, outcome), {})[life.cell.seed] = value
    return found


def _theory(study: Study, lives: Sequence[Lived]) -> list[tuple[str, str, str, float, float, float, float]]:
    """The ends of all courses that have a theory, the mean of the seeds each."""
    found = []
    for data in study.data:
        for arm in study.arms:
            cells = [life.results for life in lives if (life.cell.data, life.cell.arm) == (data, arm)]
            for measure in cells[0].get("expected", {}) if cells else ():
                ends = [tuple(cell[key][measure][-1] for key in ("course", "expected", "errors")) for cell in cells]
                if any(None in end or not end[2] for end in ends):
                    continue
                measured, expected = (math.fsum(end[i] for end in ends) / len(ends) for i in (0, 1))
                error = math.sqrt(math.fsum(end[2] ** 2 for end in ends)) / len(ends)
                at = cells[0]["course"][study.axis][-1]
                found.append((data, arm, measure, at, measured, expected, error))
    return found

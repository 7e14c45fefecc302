"""The completed runs of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer.jobs.runner import Missing
from dreamer.report.score import Score


@dataclass(frozen=True)
class CompletedRun:
    """One cell of the grid that was run to its end.

    Attributes:
        seed: of everything that was drawn; the same seed means the same class order, data order, initial weights and
            test data for every arm.
        results: the content of its ``results.json``, in which accuracies are fractions in [0, 1], other scores as they
            are.
        folder: the run folder, or None where only the results are at hand.
    """

    arm: str
    stream: str
    seed: int
    results: Mapping[str, Any]
    folder: Path | None = None

    @property
    def average_accuracy(self) -> float | None:
        """The mean of the final scores on all experiences, accuracies in [0, 1]; None where it is no finite number."""
        value = self.results["metrics"]["average_accuracy"]
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Comparison:
    """Everything that tables and page are made from.

    Attributes:
        runs: the completed cells, in the order of the grid: by stream, then arm, then seed.
        warnings: where arms differ in what they were given, one sentence each.
    """

    title: str
    runs: tuple[CompletedRun, ...]
    missing: tuple[Missing, ...]
    reference: str
    warnings: tuple[str, ...] = ()
    command: str = ""

    def score(self, stream: str) -> Score:
        """By what the runs on a stream are scored; all of them are by the same."""
        return next((Score.of(run.results) for run in self.runs if run.stream == stream), Score())

    @property
    def _cells(self) -> tuple[CompletedRun | Missing, ...]:
        return (*self.runs, *self.missing)

    @property
    def arms(self) -> list[str]:
        """The arms in the order of the grid."""
        return list(dict.fromkeys(cell.arm for cell in self._cells))

    @property
    def streams(self) -> list[str]:
        """The streams in the order of the grid."""
        return list(dict.fromkeys(cell.stream for cell in self._cells))

    def diverged(self, arm: str, stream: str) -> bool:
        """Whether a run of an arm on a stream diverged: then it has no number there, whatever other seeds found."""
        return any(cell.diverged for cell in self.missing if (cell.arm, cell.stream) == (arm, stream))

    def of(self, arm: str, stream: str) -> dict[int, CompletedRun]:
        """The runs of an arm on a stream, by seed; none of an arm that diverged there."""
        if self.diverged(arm, stream):
            return {}
        return {run.seed: run for run in self.runs if (run.arm, run.stream) == (arm, stream)}

    def outcomes(self, stream: str) -> dict[str, dict[int, float | None]]:
        """Average scores, by arm and seed; None of a completed run whose score is no number."""
        return {arm: {seed: run.average_accuracy for seed, run in self.of(arm, stream).items()} for arm in self.arms}

    def scores(self, stream: str) -> dict[str, dict[int, float]]:
        """Average scores, by arm and seed; runs without one are left out."""
        return {
            arm: {seed: score for seed, score in by_seed.items() if score is not None}
            for arm, by_seed in self.outcomes(stream).items()
        }

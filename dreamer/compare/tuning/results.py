"""The results of tuning, and their files: ``best.yaml``, ``trials.csv``, ``tuning.json``."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer import config
from dreamer.compare.grid import OURS, TUNING
from dreamer.compare.tuning.space import Range, Space, nested
from dreamer.core.files import csv_text, write_text
from dreamer.report.score import ACCURACY, Score

BEST = "best.yaml"
TRIALS = "trials.csv"


@dataclass(frozen=True)
class Task:
    """What is tuned, and on what.

    Attributes:
        seeds: of the runs of every trial.
    """

    strategy: str
    stream: str = "digits"
    words: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1001, 1002)
    augment: str | tuple[str, ...] | None = None

    @property
    def recipes(self) -> tuple[str, ...]:
        """The configurations of the strategy, left to right."""
        name = self.strategy.split()[0]
        return () if name == OURS else tuple(name.split("+"))

    @property
    def settings(self) -> tuple[str, ...]:
        """All single settings; those on the right win."""
        return (*self.words, *self.stream.split()[1:], *self.strategy.split()[1:])

    def command(self, best: Path) -> str:
        """The command that trains with the best trial."""
        return shlex.join(["dreamer", "run", self.stream.split()[0], *self.recipes, str(best), *self.settings])


@dataclass(frozen=True)
class Trial:
    """One trial that is over.

    Attributes:
        accuracies: validation accuracy, or another score, of each seed's run; None where it failed.
        reason: why it failed, in one line; empty when it did not.
        score: by what the runs are scored.
    """

    number: int
    parameters: Mapping[str, Any]
    accuracies: Mapping[int, float | None]
    reason: str = ""
    score: Score = ACCURACY

    @property
    def outcome(self) -> str:
        """What came of it, in words."""
        if self.value is None:
            return f"failed: {self.reason}"
        return f"validation {self.score.name} {self.score.write(self.value, 2)}{self.score.sign}"

    @property
    def value(self) -> float | None:
        """The mean validation accuracy, or other score, over the seeds; None when the trial failed."""
        found = [accuracy for accuracy in self.accuracies.values() if accuracy is not None]
        return sum(found) / len(found) if found and len(found) == len(self.accuracies) else None


@dataclass(frozen=True)
class Tuned:
    """What has been found.

    Attributes:
        trials: all of them, failed ones too, in order.
        augmentation: the augmentation of the runs where it is not the recipe's own, as keys of ``wake``.
    """

    task: Task
    space: Space
    trials: tuple[Trial, ...]
    augmentation: Mapping[str, Any]
    code: str

    @property
    def best(self) -> Trial | None:
        """The trial of the best value, of equals the first; None when all failed."""
        done = [trial for trial in self.trials if trial.value is not None]
        return max(done, key=lambda trial: trial.score.direction * (trial.value or 0.0), default=None)

    @property
    def column(self) -> str:
        """What the value of a trial is called in files."""
        score = self.trials[0].score if self.trials else ACCURACY
        return f"validation_{score.name.replace(' ', '_')}"

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(trial.value is None for trial in self.trials)


def write(tuned: Tuned, folder: Path) -> None:
    """Write everything into the folder of the tuning; without a completed trial there is no ``best.yaml``."""
    write_text(folder / TRIALS, _table(tuned))
    write_text(folder / TUNING, json.dumps(_summary(tuned), indent=1) + "\n")
    if tuned.best is not None:
        write_text(folder / BEST, _overlay(tuned, tuned.best, folder / BEST))


def _table(tuned: Tuned) -> str:
    by_seed = {seed: f"{tuned.column}_seed{seed}" for seed in tuned.task.seeds}
    rows = [
        {
            "trial": trial.number,
            "state": "failed" if trial.value is None else "done",
            tuned.column: trial.value,
            **{name: trial.accuracies.get(seed) for seed, name in by_seed.items()},
            **trial.parameters,
            "reason": trial.reason,
        }
        for trial in tuned.trials
    ]
    return csv_text(["trial", "state", tuned.column, *by_seed.values(), *tuned.space, "reason"], rows)


def _summary(tuned: Tuned) -> dict[str, Any]:
    best = tuned.best
    return {
        "strategy": tuned.task.strategy,
        "stream": tuned.task.stream,
        "set": list(tuned.task.words),
        "augment": tuned.task.augment,
        "tuning": {"trials": len(tuned.trials), "seeds": list(tuned.task.seeds)},
        "failed": tuned.failed,
        "space": {key: entry.plain for key, entry in tuned.space.items()},
        "best": None
        if best is None
        else {"trial": best.number, tuned.column: best.value, "parameters": dict(best.parameters)},
        "code": tuned.code,
    }


def _overlay(tuned: Tuned, best: Trial, path: Path) -> str:
    task = tuned.task
    seeds = ", ".join(map(str, task.seeds))
    failed = f", {tuned.failed} of which failed" if tuned.failed else ""
    head = [
        task.command(path),
        f"{task.strategy} on {task.stream}, tuned: the best of {len(tuned.trials)} trials{failed}.",
        f"Chosen on held-out training data, seeds {seeds}: {best.outcome}.",
        "Searched:",
        *(f"  {key}: {_written(entry)}" for key, entry in tuned.space.items()),
    ]
    lines = [f"# {' '.join(line.split()) if line[0] != ' ' else line}".rstrip() for line in head]
    content = nested(best.parameters)
    if tuned.augmentation:
        lines.append("# The augmentation of real samples is the one that these values were chosen with.")
        content = config.merge(content, {"wake": dict(tuned.augmentation)})
    return "\n".join(lines) + "\n" + _yaml(content)


def _written(entry: Any) -> str:
    if isinstance(entry, Range):
        how = ", logarithmically" if entry.log else f", in steps of {entry.step:g}" if entry.step else ""
        return f"{entry.low:g} to {entry.high:g}{how}"
    return f"one of {', '.join(map(str, _plain(entry.plain)))}"


def _plain(values: Sequence[Any]) -> list[str]:
    return [json.dumps(value) for value in values]


def _yaml(plain: Mapping[str, Any]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / BEST
        config.save(plain, path)
        return path.read_text(encoding="utf-8")

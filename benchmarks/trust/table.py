"""The record of what was tried, and the table in docs/trust.md that it becomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.record import Record
from benchmarks.trust.trial import Trial
from reproductions import records

RECORD = records.MEASUREMENTS / "trust.json"
PAGE = records.DOCS / "trust.md"
_BEGIN, _END = "<!-- written by python -m benchmarks.trust --table -->", "<!-- until here -->"
TITLES = {
    "kills": "a run is killed, continued, and every file of its folder compared with an uninterrupted one's",
    "many": "a command of many runs is killed, and started again",
    "bits": "a bit of a checkpoint is flipped, and the run resumed",
    "malice": "a file from somebody else tries to run code",
    "pairs": "two commands on one folder are started at once",
    "inputs": "an input makes no sense",
    "nan": "a run diverges, or its data hold NaN",
    "disk": "the disk is full at so many bytes, and has room again",
    "folder": "the run folder is deleted while the run trains",
    "ray": "a run on Ray",
}
"""What each experiment does."""


class Tried(Record):
    """The trials that were made.

    Args:
        path: the file of the record.
    """

    def __init__(self, path: Path):
        super().__init__(path, read(path))

    def has(self, experiment: str, name: str) -> bool:
        """Whether a trial is on record."""
        return any(name in kind["tried"] for kind in self._kinds(experiment).values())

    def add(self, experiment: str, trial: Trial, wrong: str) -> None:
        """Record what became of a trial."""
        kind = self._kinds(experiment).setdefault(trial.kind, {"tried": [], "wrong": {}})
        kind["tried"].append(trial.name)
        if wrong:
            kind["wrong"][trial.name] = wrong
        self.write()

    def skip(self, experiment: str, reason: str) -> None:
        """Record that an experiment cannot be made here."""
        self.content["experiments"][experiment] = {"not here": {"tried": [], "wrong": {}, "reason": reason}}
        self.write()

    def forget(self, experiment: str) -> None:
        """Make room for the trials of an experiment that did not survive, and are made again."""
        for kind in self._kinds(experiment).values():
            kind["tried"] = [name for name in kind["tried"] if name not in kind["wrong"]]
            kind["wrong"] = {}

    def wrong(self) -> list[str]:
        """What did not survive, one line each."""
        return [
            f"{experiment}, {name}: {wrong}"
            for experiment, kinds in self.content["experiments"].items()
            for kind in kinds.values()
            for name, wrong in kind["wrong"].items()
        ]

    def _kinds(self, experiment: str) -> dict[str, Any]:
        kinds: dict[str, Any] = self.content["experiments"].setdefault(experiment, {})
        return kinds


def read(path: Path = RECORD) -> dict[str, Any]:
    """What is on record."""
    found: dict[str, Any] = records.read(path, {"experiments": {}})
    return found


def table(content: Mapping[str, Any]) -> str:
    """The record as a table; one row for each kind of trial, kinds of an experiment under its title."""
    lines = ["| what | tried | survived |", "|---|---:|---:|"]
    for experiment, title in TITLES.items():
        kinds = content["experiments"].get(experiment)
        if not kinds:
            continue
        tried, lost = (sum(len(kind[which]) for kind in kinds.values()) for which in ("tried", "wrong"))
        lines.append(f"| **{title}** | **{tried}** | **{tried - lost}** |")
        groups: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for name, kind in kinds.items():
            if "reason" in kind:
                lines.append(f"| {kind['reason']} | 0 | 0 |")
                continue
            groups[name][0] += len(kind["tried"])
            groups[name][1] += len(kind["tried"]) - len(kind["wrong"])
        if len(groups) > 1:
            lines += [f"| {name} | {counts[0]} | {counts[1]} |" for name, counts in groups.items()]
    return "\n".join(lines)


def write(path: Path = RECORD) -> None:
    """Write the table of a record into its page."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(_BEGIN)
    text = table(read(path))
    PAGE.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{rest.split(_END, 1)[1]}", encoding="utf-8")

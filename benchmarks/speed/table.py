"""The record of what was measured, and the tables in docs/performance.md that it becomes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.record import Record
from benchmarks.speed.pair import Case, Rounds, quartiles, ratios
from reproductions import records

RECORD = records.MEASUREMENTS / "speed.json"
PAGE = records.DOCS / "performance.md"
_BEGIN, _END = "<!-- written by python -m benchmarks.speed --table -->", "<!-- until here -->"
_UNITS = ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (float("inf"), 1.0, "s"))
_OWNERS = ("torch", "dreamer", "display", "Lightning", "Avalanche", "the rest")


class Measured(Record):
    """The cases that were measured.

    Args:
        path: the file of the record.
    """

    def __init__(self, path: Path):
        super().__init__(path, read(path))

    def has(self, name: str) -> bool:
        """Whether a case is on record."""
        return name in self.content["cases"]

    def add(self, case: Case, rounds: Rounds) -> None:
        """Record a case, with what it says of itself."""
        said: dict[str, Any] = {"what": case.what, "unit": case.unit, "against": case.against}
        if case.goal is not None:
            said["goal"] = {"least": case.goal.least, "words": case.goal.words}
        self.content["cases"][case.name] = said | {"rounds": rounds}
        self.write()

    def add_profiles(self, profiles: Mapping[str, Mapping[str, float]]) -> None:
        """Record where the microseconds of a step go."""
        self.content["profiles"] = {name: dict(found) for name, found in profiles.items()}
        self.write()


def read(path: Path = RECORD) -> dict[str, Any]:
    """What is on record."""
    found: dict[str, Any] = records.read(path, {"cases": {}, "profiles": {}})
    return found


def tables(content: Mapping[str, Any]) -> str:
    """The record as tables: goals, what has no goal, where a step's time goes."""
    cases = content["cases"].values()
    goals = [_goal_row(case) for case in cases if "goal" in case]
    others = [_row(case) for case in cases if "goal" not in case]
    found = content.get("versions", {})
    versions = ", ".join(f"{name} {version}" for name, version in found.items() if version and name != "dreamer")
    head = "| what | against | ours | theirs | speed | by the wall clock |"
    parts = [
        f"Measured on: {content.get('machine', 'nothing yet')}; {versions}.",
        _table(f"{head} goal | reached |", goals),
        _table(head, others),
        _profiles(content["profiles"]),
    ]
    return "\n\n".join(part for part in parts if part)


def reached(case: Mapping[str, Any]) -> bool:
    """Whether the median of the ratios is as large as it was to be."""
    return statistics.median(ratios(case["rounds"])) >= case["goal"]["least"]


def _goal_row(case: Mapping[str, Any]) -> list[str]:
    return [*_row(case), case["goal"]["words"], "yes" if reached(case) else "**no**"]


def _row(case: Mapping[str, Any]) -> list[str]:
    rounds, unit = case["rounds"], case["unit"]
    ours = statistics.median(pair["ours"][0] for pair in rounds)
    theirs = [pair["reference"][0] for pair in rounds if "reference" in pair]
    return [
        case["what"],
        case["against"],
        amount(ours, unit),
        amount(statistics.median(theirs), unit) if theirs else "",
        _spread(ratios(rounds)),
        "" if unit == "MB" else _spread(ratios(rounds, clock=1)),
    ]


def amount(value: float, unit: str) -> str:
    """Seconds for each unit, or megabytes.

    >>> amount(0.0123, "step"), amount(412.3, "MB")
    ('12.3 ms a step', '412 MB')
    """
    if unit == "MB":
        return f"{value:.0f} MB"
    factor, name = next((factor, name) for below, factor, name in _UNITS if value < below)
    return f"{value * factor:.3g} {name} {'an' if unit[0] in 'aeiou' else 'a'} {unit}"


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    low, high = quartiles(values)
    return f"{statistics.median(values):.2f} ({low:.2f} to {high:.2f})"


def _table(head: str, rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *lines]) if lines else ""


def _profiles(profiles: Mapping[str, Mapping[str, float]]) -> str:
    if not profiles:
        return ""
    owners = [owner for owner in _OWNERS if any(owner in found for found in profiles.values())]
    rows = [
        [name, f"{sum(found.values()):.0f}", *(f"{found[owner]:.0f}" if owner in found else "" for owner in owners)]
        for name, found in profiles.items()
    ]
    return _table("| µs of a wake step | all | " + " | ".join(owners) + " |", rows)


def write(path: Path = RECORD) -> None:
    """Write the tables of a record into their page."""
    before, rest = PAGE.read_text(encoding="utf-8").split(_BEGIN)
    text = tables(read(path))
    PAGE.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{rest.split(_END, 1)[1]}", encoding="utf-8")

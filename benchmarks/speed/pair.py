"""Two ways to do the same work, taken in turn in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Spent(NamedTuple):
    """What some units of work took.

    Attributes:
        cpu: CPU seconds of this process for each unit; other processes change it little.
        wall: seconds for each unit.
    """

    cpu: float
    wall: float


Rounds = list[dict[str, list[float]]]
"""What was measured: in every round CPU and wall seconds of ours and of the reference."""


class Watch:
    """A clock for some units of work.

    >>> watch = Watch()
    >>> _ = sum(range(1000))
    >>> watch.spent(10).wall > 0
    True
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin now."""
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def spent(self, units: float = 1) -> Spent:
        """What each of so many units took since the beginning."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return Spent(cpu / units, wall / units)


@dataclass(frozen=True)
class Goal:
    """What a ratio should reach.

    Attributes:
        least: the smallest speed relative to the reference.
        words: how the goal is written.
    """

    least: float
    words: str


@dataclass(frozen=True)
class Case:
    """A measurement.

    Attributes:
        name: says which one it is on the command line.
        what: what is measured.
        unit: of which the seconds are.
        against: the reference; empty where there is none.
        ours: does it once.
        reference: does the same work in another way; None where nothing does.
        goal: what is wanted.
        rounds: pairs.
        warm_up: make one more first, which is not counted.
        together: makes so many rounds in a way of its own, in place of ``ours`` and ``reference``.
    """

    name: str
    what: str
    unit: str
    against: str
    ours: Callable[[], Spent] | None = None
    reference: Callable[[], Spent] | None = None
    goal: Goal | None = None
    rounds: int = 9
    warm_up: bool = True
    together: Callable[[int], Rounds] | None = None


def measure(case: Case, rounds: int | None = None) -> Rounds:
    """Measure a case in rounds whose order alternates, because a machine's speed drifts."""
    found: Rounds = []
    if case.together is not None:
        return case.together(rounds or case.rounds)
    assert case.ours is not None
    for number in range(0 if case.warm_up else 1, (rounds or case.rounds) + 1):
        ways = {"ours": case.ours} | ({} if case.reference is None else {"reference": case.reference})
        order = list(ways) if number % 2 else list(reversed(ways))
        taken = {name: list(ways[name]()) for name in order}
        if number:
            found.append({name: taken[name] for name in ways})
    return found


def ratios(rounds: Rounds, clock: int = 0) -> list[float]:
    """How fast ours is relative to the reference, round by round: 0.5 takes twice as long.

    Args:
        clock: 0 for CPU seconds, 1 for wall seconds.
    """
    return [pair["reference"][clock] / pair["ours"][clock] for pair in rounds if "reference" in pair]


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high

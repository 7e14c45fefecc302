"""What a comparison is made of once its lives have been lived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Lived:
    """One cell of the grid: a life that was lived to its end.

    Attributes:
        arm: what is compared, such as ``er`` or ``avalanche:Replay``.
        stream: the stream it lived through.
        seed: of everything that was drawn; the same seed means the same class order, data order, initial weights and
            test data for every arm.
        results: the content of its ``results.json``, in which accuracies are shares in [0, 1].
        folder: the run folder, or None where only the results are at hand.
    """

    arm: str
    stream: str
    seed: int
    results: Mapping[str, Any]
    folder: Path | None = None

    @property
    def average_accuracy(self) -> float | None:
        """The mean of the final accuracies on all experiences, in [0, 1]."""
        return self.results["metrics"]["average_accuracy"]


@dataclass(frozen=True)
class Missing:
    """One cell of the grid without results.

    Attributes:
        arm: as in :class:`Lived`.
        stream: as in :class:`Lived`.
        seed: as in :class:`Lived`.
        reason: why, in one line: it failed, or has not been lived yet.
    """

    arm: str
    stream: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Everything that tables and page are made from.

    Attributes:
        title: what is compared, in a few words.
        lives: the cells that were lived, in the order of the grid: by stream, then arm, then seed.
        missing: the cells that were not.
        reference: the arm that all others are held against.
        warnings: where arms differ in what they were given, one sentence each.
        command: what was typed, or empty.
    """

    title: str
    lives: tuple[Lived, ...]
    missing: tuple[Missing, ...]
    reference: str
    warnings: tuple[str, ...] = ()
    command: str = ""

    @property
    def arms(self) -> list[str]:
        """The arms in the order of the grid."""
        return _once([*(cell.arm for cell in self.lives), *(cell.arm for cell in self.missing)])

    @property
    def streams(self) -> list[str]:
        """The streams in the order of the grid."""
        return _once([*(cell.stream for cell in self.lives), *(cell.stream for cell in self.missing)])

    def of(self, arm: str, stream: str) -> dict[int, Lived]:
        """The lives of an arm on a stream, by seed."""
        return {life.seed: life for life in self.lives if (life.arm, life.stream) == (arm, stream)}

    def scores(self, stream: str) -> dict[str, dict[int, float]]:
        """Average accuracies in [0, 1], by arm and seed; lives without one are left out."""
        found: dict[str, dict[int, float]] = {}
        for arm in self.arms:
            by_seed = {seed: life.average_accuracy for seed, life in self.of(arm, stream).items()}
            found[arm] = {seed: score for seed, score in by_seed.items() if score is not None}
        return found


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))

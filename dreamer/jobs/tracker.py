"""What happens to the cells of a comparison while they are lived, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dreamer.config.binding import ConfigError
from dreamer.report.results import read_results


class Interrupted(KeyboardInterrupt):
    """A comparison was stopped by hand; started again, it goes on with what is missing."""


@dataclass(frozen=True)
class Event:
    """Something happened to a cell.

    Attributes:
        kind: ``started``; ``done``; ``died``, and will be tried again; ``failed`` for good; ``stopped`` by hand.
        folder: the run folder of the cell.
        attempt: which try it is, from 1.
        seconds: how long this try took; 0 when it has only started.
        reason: why it did not get done, in one line; empty when it did.
    """

    kind: Literal["started", "done", "died", "failed", "stopped"]
    folder: Path
    attempt: int
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Ending:
    """How one try ended.

    Attributes:
        kind: ``done``: with complete results; ``refused``: the configuration cannot be lived, so no other try will do
            better; ``died``: anything else.
        seconds: how long it took.
        reason: why it is not done, in one line; empty when it is.
    """

    kind: Literal["done", "refused", "died"]
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        folder: its run folder.
        done: whether complete results lie there.
        attempts: how often it was tried.
        seconds: how long all tries took together.
        reason: why the last try failed, in one line; empty when it is done.
    """

    folder: Path
    done: bool
    attempts: int
    seconds: float
    reason: str = ""


class JobTracker:
    """Keeps the account of cells that are lived: tells whoever watches, and decides what is tried again.

    Args:
        folders: the run folders; one that is named twice counts once.
        retries: how many more tries a cell gets that dies.
        watch: is told everything that happens.

    Raises:
        ConfigError: when ``retries`` is negative.
    """

    def __init__(self, folders: Sequence[Path], retries: int, watch: Callable[[Event], None] | None = None):
        if retries < 0:
            raise ConfigError(f"retries: expected 0 or more, got {retries}")
        self.folders = list(dict.fromkeys(map(Path, folders)))
        self.tries = retries + 1
        self._watch = watch
        self._seconds = dict.fromkeys(self.folders, 0.0)
        self._outcomes: dict[Path, Outcome] = {}

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of the cells, in their order; those that have not ended yet are left out."""
        return [self._outcomes[folder] for folder in self.folders if folder in self._outcomes]

    def start(self, folder: Path, attempt: int) -> None:
        """A try begins."""
        self._tell(Event("started", folder, attempt))

    def end(self, folder: Path, attempt: int, ending: Ending) -> bool:
        """A try has ended.

        Returns:
            Whether the cell is to be tried again.
        """
        self._seconds[folder] += ending.seconds
        if ending.kind == "died" and attempt < self.tries:
            self._tell(Event("died", folder, attempt, ending.seconds, ending.reason))
            return True
        done = ending.kind == "done"
        self._outcomes[folder] = Outcome(folder, done, attempt, self._seconds[folder], ending.reason)
        self._tell(Event("done" if done else "failed", folder, attempt, ending.seconds, ending.reason))
        return False

    def stop(self, folder: Path, attempt: int, ending: Ending) -> None:
        """A try has ended because it was asked to, unless it was quicker."""
        if ending.kind == "died":
            self._tell(Event("stopped", folder, attempt, ending.seconds, ending.reason))
        else:
            self.end(folder, attempt, ending)

    def _tell(self, event: Event) -> None:
        if self._watch is not None:
            self._watch(event)


def finished(folder: Path) -> bool:
    """Whether a run folder holds the results of a complete life."""
    try:
        return read_results(folder).get("complete") is True
    except (OSError, ValueError):
        return False

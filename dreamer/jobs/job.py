"""A job: attempts to run it, each in a process of its own, and what becomes of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from dreamer.config.binding import ConfigError
from dreamer.jobs.manifest import completed
from dreamer.jobs.worker import Worker

LOG = "cell.log"
REFUSED = 2
"""The exit code for a configuration that cannot be run."""
DIVERGED = 3
"""The exit code for a job that diverged: another attempt would, too."""
_TAIL_BYTES = 1 << 16
_REASON_LETTERS = 300


class Interrupted(KeyboardInterrupt):
    """Jobs were stopped by hand; started again, those that are missing are run."""


@dataclass(frozen=True)
class Event:
    """Something happened to a job.

    Attributes:
        kind: ``started``; ``done``; ``died``, and will be tried again; ``failed`` for good; ``stopped`` by hand.
        attempt: which attempt it is, from 1.
        reason: why it did not get done, in one line; empty when it did.
    """

    kind: Literal["started", "done", "died", "failed", "stopped"]
    folder: Path
    attempt: int
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Attributes:
        kind: ``done``: with complete results; ``refused``: the configuration cannot be run, or its training
            diverges, so no other attempt will do better; ``died``: anything else.
    """

    kind: Literal["done", "refused", "died"]
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        done: whether complete results lie there.
        reason: why the last attempt failed, in one line; empty when it is done.
    """

    folder: Path
    done: bool
    attempts: int
    seconds: float
    reason: str = ""


class JobTracker:
    """Records what happens to jobs, reports it, and decides what is tried again.

    Args:
        retries: how many more attempts a job gets that crashes.

    Raises:
        ConfigError: when ``retries`` is negative.
    """

    def __init__(self, folders: Sequence[Path], retries: int, watch: Callable[[Event], None] | None = None):
        if retries < 0:
            raise ConfigError(f"retries: expected 0 or more, got {retries}")
        self.folders = list(dict.fromkeys(map(Path, folders)))
        self.attempts = retries + 1
        self._watch = watch or (lambda event: None)
        self._seconds = dict.fromkeys(self.folders, 0.0)
        self._outcomes: dict[Path, Outcome] = {}

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of the jobs, in their order; those that have not ended yet are left out."""
        return [self._outcomes[folder] for folder in self.folders if folder in self._outcomes]

    def start(self, folder: Path, attempt: int) -> None:
        """An attempt begins."""
        self._watch(Event("started", folder, attempt))

    def end(self, folder: Path, attempt: int, ending: Ending) -> bool:
        """Record that an attempt has ended; True when the job is to be tried again."""
        self._seconds[folder] += ending.seconds
        if ending.kind == "died" and attempt < self.attempts:
            self._watch(Event("died", folder, attempt, ending.seconds, ending.reason))
            return True
        done = ending.kind == "done"
        self._outcomes[folder] = Outcome(folder, done, attempt, self._seconds[folder], ending.reason)
        self._watch(Event("done" if done else "failed", folder, attempt, ending.seconds, ending.reason))
        return False

    def refuse(self, folder: Path, attempt: int, error: OSError) -> None:
        """An attempt could not begin, and no other one would."""
        self.start(folder, attempt)
        self.end(folder, attempt, Ending("refused", 0.0, f"could not be started: {error}"))

    def stop(self, folder: Path, attempt: int, ending: Ending) -> None:
        """An attempt has ended because it was stopped by hand, unless it was quicker."""
        if ending.kind == "died":
            self._watch(Event("stopped", folder, attempt, ending.seconds, ending.reason))
        else:
            self.end(folder, attempt, ending)


class Attempt:
    """A process that runs a job; what it prints goes to the folder's ``cell.log``.

    It leads a process group of its own: a Ctrl-C in the terminal reaches it through :meth:`interrupt` alone, and what
    it starts ends with it. It ends with this process, see :mod:`dreamer.jobs.watchdog`.

    Raises:
        OSError: when the process cannot be started.
    """

    def __init__(self, folder: Path, number: int, attempts: int, worker: Worker):
        self.folder = folder
        self.number = number
        self._began = time.monotonic()
        with open(folder / LOG, "ab") as log:
            gap = "\n" if log.tell() else ""
            log.write(f"{gap}[attempt {number} of {attempts}, {datetime.now():%Y-%m-%d %H:%M:%S}]\n".encode())
            log.flush()
            self._start = log.tell()
            self._process = worker.start(folder, log)

    def poll(self) -> Ending | None:
        """How it ended, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        seconds = time.monotonic() - self._began
        if code == 0 and completed(self.folder):
            self._process.close()
            return Ending("done", seconds)
        self.kill()  # what it left behind must not write into the folder of the next attempt
        word = last_word(self.folder / LOG, self._start)
        if code in (REFUSED, DIVERGED):
            return Ending("refused", seconds, word or "refused without a reason")
        return Ending("died", seconds, f"{_manner(code)}: {word}" if word else _manner(code))

    def interrupt(self) -> None:
        """Ask it to save what is needed to resume, and to end."""
        self._process.signal(signal.SIGINT)

    def kill(self) -> None:
        """End it, and what it started, at once."""
        self._process.kill()


def last_word(log: Path, start: int = 0) -> str:
    """The line of a log that says why it ends: that of the last exception, else the last one with a letter in it.

    Returns:
        At most 300 letters; empty when there is no such line.
    """
    with open(log, "rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    written = [line for line in lines if any(letter.isalnum() for letter in line)]
    traced = [index for index, line in enumerate(written) if line.startswith("Traceback (most recent call last)")]
    # below a traceback all is indented but the exception; what follows it are remarks of a process that ends
    raised = [line for line in written[traced[-1] + 1 :] if not line[0].isspace()][:1] if traced else []
    return " ".join((raised or written[-1:] or [""])[0].split())[:_REASON_LETTERS]


def _manner(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        return f"killed by {name}"
    return f"exit code {code}" if code else "ended without complete results"

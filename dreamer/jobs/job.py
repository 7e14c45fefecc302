"""One try to live a cell, in a process of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

import dreamer
from dreamer.jobs.tracker import Ending, finished
from dreamer.jobs.watchdog import VARIABLE

LOG = "cell.log"
REFUSED = 2
"""The exit code for a configuration that cannot be lived."""
_LINGER_SECONDS = 10.0
_TAIL_BYTES = 1 << 16
_REASON_LETTERS = 300

# the last words of a killed process are to be on record
_ALWAYS = {"PYTHONUNBUFFERED": "1"}

Command = Callable[[Path], list[str]]


def _path() -> str:
    """Where children look for modules: this very package first, installed or not, then what this process was told."""
    here = str(Path(dreamer.__file__).parent.parent)
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def cell_command(folder: Path) -> list[str]:
    """The command that lives the cell of a folder."""
    return [sys.executable, "-m", "dreamer.compare.cell", str(folder)]


class Attempt:
    """A child process that lives a cell; what it says goes to the folder's ``cell.log``.

    It leads a process group of its own: a Ctrl-C in the terminal does not reach it but through :meth:`interrupt`, and
    what it starts goes when it goes.

    Args:
        folder: the run folder of the cell.
        number: which try this is, from 1.
        tries: how many there may be.
        parent_watchdog: the file descriptor of :func:`dreamer.jobs.watchdog.parent_watchdog`.
        environment: variables that the child gets beside those of this process.
        command: what to run.

    Raises:
        OSError: when the child cannot be started, or a process of an earlier try will not let go of the folder.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        tries: int,
        parent_watchdog: int,
        environment: Mapping[str, str],
        command: Command = cell_command,
    ):
        self.folder = folder
        self.number = number
        self._began = time.monotonic()
        with open(folder / LOG, "ab") as log:
            _claim(log, folder)
            gap = "\n" if log.tell() else ""
            log.write(f"{gap}[try {number} of {tries}, {datetime.now():%Y-%m-%d %H:%M:%S}]\n".encode())
            log.flush()
            self._said = log.tell()
            self._process = subprocess.Popen(
                command(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # unbuffered, so that the last words of a killed process are on record
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    "PYTHONPATH": _path(),
                    **environment,
                    VARIABLE: str(parent_watchdog),
                },
                pass_fds=(parent_watchdog,),
                start_new_session=True,
            )

    def poll(self) -> Ending | None:
        """How it ended, or None while it lives."""
        code = self._process.poll()
        if code is None:
            return None
        seconds = time.monotonic() - self._began
        if code == 0 and finished(self.folder):
            return Ending("done", seconds)
        self._signal(signal.SIGKILL)  # what it left behind must not write into the folder of the next try
        word = last_word(self.folder / LOG, self._said)
        if code == REFUSED:
            return Ending("refused", seconds, word or "refused without a word")
        return Ending("died", seconds, f"{_manner(code)}: {word}" if word else _manner(code))

    def interrupt(self) -> None:
        """Ask it to save what is needed to go on, and to end."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the latter is macOS's word on a group of the dead
            os.killpg(self._process.pid, number)


def last_word(log: Path, start: int = 0) -> str:
    """The line of a log that says why it ends: that of the last exception, else the last one that says anything.

    Args:
        log: the file.
        start: where to begin to read, in bytes.

    Returns:
        At most 300 letters; empty when the log says nothing.
    """
    with open(log, "rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line for line in lines if any(letter.isalnum() for letter in line)]
    traced = [index for index, line in enumerate(said) if line.startswith("Traceback (most recent call last)")]
    # below a traceback all is indented but the exception; what follows it are remarks of a process that ends
    raised = [line for line in said[traced[-1] + 1 :] if not line[0].isspace()][:1] if traced else []
    return " ".join((raised or said[-1:] or [""])[0].split())[:_REASON_LETTERS]


def _claim(log: IO[bytes], folder: Path) -> None:
    """Wait until nobody else holds the log.

    The child inherits the file and its lock with it, so the lock says that somebody of an earlier try is still alive:
    the orphan, say, of a killed engine that has not noticed yet.
    """
    until = time.monotonic() + _LINGER_SECONDS
    while True:
        try:
            return fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise BlockingIOError(f"a process of an earlier try still lives in {folder}") from None
            time.sleep(0.05)


def _manner(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        return f"killed by {name}"
    return f"exit code {code}" if code else "ended without complete results"

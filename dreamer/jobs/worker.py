"""Starts the process of a job, as one that begins with nothing imported."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dreamer.jobs.watchdog import VARIABLE

if TYPE_CHECKING:
    from dreamer.jobs.manifest import Program

_PACKAGES = str(Path(__file__).parents[2])


class Process(Protocol):
    """The process of a job. It leads a process group of its own."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started; one that has ended gets none."""

    def kill(self) -> None:
        """End it, and what it has started, and wait until it has."""

    def close(self) -> None:
        """Let go of it after its end."""


class Worker(Protocol):
    """Starts the processes of jobs, one after the other."""

    def start(self, folder: Path, log: BinaryIO) -> Process:
        """Start the job of a folder; what it prints goes to the log. An ``OSError`` when it cannot be started."""

    def close(self) -> None:
        """Start no more."""


class ColdWorker:
    """Gives each job a new interpreter, which imports everything first.

    Args:
        environment: variables that the jobs get beside those of this process.
    """

    def __init__(self, program: Program, environment: Mapping[str, str]):
        self._program = program
        self._environment = environment

    def start(self, folder: Path, log: BinaryIO) -> Process:
        """Start the command of the program."""
        return ColdProcess(self._program.command(folder), log, self._environment)

    def close(self) -> None:
        """There is nothing to let go of."""


class ColdProcess:
    """A child process, which ends when this one does, see :mod:`dreamer.jobs.watchdog`."""

    def __init__(self, command: list[str], log: BinaryIO, environment: Mapping[str, str]):
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=variables(environment) | {VARIABLE: "1"},
            start_new_session=True,
        )

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process group."""
        signal_group(self._process.pid, number)

    def kill(self) -> None:
        """End the process group."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self.close()

    def close(self) -> None:
        """Close the pipe that says that this process is there."""
        assert self._process.stdin is not None
        self._process.stdin.close()


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a job's process, which finds this very package, installed or not."""
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",  # the last words of a killed process are on record
        "PYTHONPATH": os.pathsep.join([_PACKAGES, *filter(None, [os.environ.get("PYTHONPATH")])]),
        **environment,
    }


def signal_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to a process group, if there still is one."""
    with suppress(ProcessLookupError, PermissionError):  # the latter is macOS's word on a group of the dead
        os.killpg(leader, number)

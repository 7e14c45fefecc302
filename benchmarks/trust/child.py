"""Commands of `dreamer` as processes that begin at once: forks of this one, which has imported everything.

A fork is a process like any other: it can be killed, limited and locked out, and what it holds is gone with it.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

HUNG = 600.0
"""Seconds after which a command counts as hung."""
_LOOK_SECONDS = 0.005
_PIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: its exit code; below 0 the signal that killed it.
        out: what it printed.
        said: what it printed to standard error.
    """

    code: int
    out: str
    said: str

    @property
    def words(self) -> str:
        """Code and last line in one, for a record."""
        lines = self.said.strip().splitlines()
        return f"exit code {self.code}: {lines[-1][:300] if lines else 'said nothing'}"


_IMPORTED = (
    "matplotlib.backends.backend_agg",
    "matplotlib.cm",
    "matplotlib.figure",
    "sklearn.datasets",
    # an optimiser imports it at its first step
    "torch._dynamo",
    "dreamer.cli.main",
    "dreamer.report.pictures",
    "dreamer.runs.run",
    "dreamer.runs.summary",
)


def warm_up() -> None:
    """Import what commands import, so that children need not."""
    for module in _IMPORTED:
        importlib.import_module(module)
    import matplotlib
    import torch

    from dreamer.config import registry

    # coarse pictures take a tenth of the time
    matplotlib.rcParams["savefig.dpi"] = 20
    torch.set_num_threads(1)
    for family in registry.FAMILIES:
        for name in registry.names(family):
            registry.resolve(family, name)


class Child:
    """A command of `dreamer` in a fork of this process.

    Args:
        words: what is typed after ``dreamer``.
        cwd: where it is typed.
        before: is called in the child first: here it is given its faults.
    """

    def __init__(self, words: list[str], cwd: Path, before: Callable[[], None] = lambda: None):
        # pipes, for files may be limited; a command says little
        (self._out, out), (self._err, err) = _pipe(), _pipe()
        self._code: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(words, cwd, before, out, err)
        os.close(out)
        os.close(err)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if not self.ended():
            os.kill(self.pid, number)

    def ended(self) -> bool:
        """Whether it has."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is not None

    def wait(self, seconds: float = HUNG) -> Ending:
        """Wait until it has ended; what hangs is killed, and ends with the code of that."""
        until = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > until:
                self.send(signal.SIGKILL)
            time.sleep(_LOOK_SECONDS)
        assert self._code is not None
        return Ending(self._code, _text(self._out), _text(self._err))


def dreamer(words: list[str], cwd: Path, before: Callable[[], None] = lambda: None) -> Ending:
    """Run a command of `dreamer` to its end; see :class:`Child`."""
    return Child(words, cwd, before).wait()


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)  # what a child of the child holds open has no end
    with suppress(AttributeError, OSError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return reading, writing


def _text(reading: int) -> str:
    with suppress(BlockingIOError):
        said = os.read(reading, _PIPE_BYTES)
        os.close(reading)
        return said.decode(errors="replace")
    os.close(reading)
    return ""


def _become(words: list[str], cwd: Path, before: Callable[[], None], out: int, err: int) -> NoReturn:
    code = 1
    try:
        os.setsid()  # what is meant for this one must not reach its parent
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(cwd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["dreamer", *words]
        before()
        code = _command()
    except KeyboardInterrupt:  # it came before the command could hear it
        code = 128 + signal.SIGINT
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is one
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _command() -> int:
    from dreamer.cli import main

    try:
        main.main()
    except SystemExit as left:
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
            return 1
        return left.code or 0
    return 0

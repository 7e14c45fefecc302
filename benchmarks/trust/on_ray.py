"""Comparisons on Ray whose worker or head is killed, and which are then continued on this machine."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.trust.child import Child, dreamer
from benchmarks.trust.many import COMMANDS, rows
from benchmarks.trust.trial import NotAvailable, Trial

_WORDS = COMMANDS["a comparison"]
_TASK = "ray::_run"
"""How Ray calls a process that runs a job."""
_PATIENCE = 300.0


def trials(scratch: Path) -> Iterator[Trial]:
    """A worker and the head, each killed while a cell is run."""
    if importlib.util.find_spec("ray") is None:
        raise NotAvailable("ray is not installed")
    if not Path("/proc/self/task").exists():
        raise NotAvailable("the processes of Ray are found in /proc, which is not here")
    for name, kind in (("a worker", _TASK), ("the head", "gcs_server")):
        yield Trial(f"{name} of Ray is killed", name, functools.partial(_killed, scratch, kind))


def _killed(scratch: Path, kind: str, folder: Path) -> str:
    child = Child([*_WORDS, "--engine", "ray", "--out", "run"], folder)
    victim = _wait(lambda: _descendant(child.pid, kind) if _descendant(child.pid, _TASK) else None)
    if victim is None:
        child.send(signal.SIGKILL)
        return f"no {kind} was found"
    os.kill(victim, signal.SIGKILL)
    ended = child.wait()
    if ended.code == -signal.SIGKILL:
        return "it hung"
    again = dreamer([*_WORDS, "--out", "run"], folder)
    if again.code != 0:
        return f"continued here: {again.words}"
    whole = scratch / "whole"
    if not whole.exists():
        whole.mkdir(parents=True)
        assert dreamer([*_WORDS, "--out", "run"], whole).code == 0
    return "" if rows(folder / "run") == rows(whole / "run") else "the tables differ"


def _wait(found: Callable[[], int | None]) -> int | None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        pid = found()
        if pid is not None:
            return pid
        time.sleep(0.05)
    return None


def _descendant(parent: int, kind: str) -> int | None:
    """A process below another one whose command line begins with, or holds, a word."""
    for pid in _children(parent):
        with suppress(OSError):
            if kind in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
                return pid
        below = _descendant(pid, kind)
        if below is not None:
            return below
    return None


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    return []

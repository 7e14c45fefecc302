"""A display of many jobs: done, running, failed and left, and the time that they still need."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from dreamer.jobs.job import Event

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_REFRESHES_PER_SECOND = 2
_SHORTEST, _LONGEST = 4, 40
"""Letters of the bar."""
_SHOWN = 8


def last_three(folder: Path) -> str:
    """How a job is called: by the last three folders of its path, such as stream, arm and seed."""
    return "/".join(folder.parts[-3:])


class TimeLeft:
    """Estimates how long jobs take from those that are done, where it can from siblings.

    Siblings are the folders of the same parent, which differ in the seed alone.
    """

    def __init__(self) -> None:
        self._seconds: dict[Path, list[float]] = {}

    def add(self, folder: Path, seconds: float) -> None:
        """A job took so long."""
        self._seconds.setdefault(folder.parent, []).append(seconds)

    def estimate(self, folder: Path) -> float | None:
        """Seconds that a job takes, or None while no job is done."""
        known = self._seconds.get(folder.parent) or [one for several in self._seconds.values() for one in several]
        return sum(known) / len(known) if known else None

    def left(self, waiting: Sequence[Path], running: Sequence[tuple[Path, float]], side_by_side: int) -> float | None:
        """Seconds until all is done, or None while no job is done."""
        if not self._seconds:
            return None
        ahead = sum(self.estimate(folder) or 0.0 for folder in waiting)
        ahead += sum(max(0.0, (self.estimate(folder) or 0.0) - so_far) for folder, so_far in running)
        return ahead / max(1, side_by_side)


class Display:
    """Shows how many jobs are done; a pool's ``watch``, and a context manager.

    In a terminal a few lines are kept up to date, and jobs that crash are reported above them; anywhere else, such as a
    pipe or a log file, everything that happens is one plain line. It writes to the standard error.

    Args:
        before: how many more were completed before.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        before: int = 0,
        name: Callable[[Path], str] = last_three,
        file: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._waiting = dict.fromkeys(folders)
        self._running: dict[Path, tuple[int, float]] = {}
        self._done, self._failed, self._widest = before, 0, 0
        self._total = len(self._waiting) + before
        self._name = name
        self._file = file
        self._clock = clock
        self._time = TimeLeft()
        self._lock = threading.Lock()
        self._console: Console | None = None
        self._live: Live | None = None

    def __enter__(self) -> Display:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self._file or sys.stderr, highlight=False)
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._picture,
                console=self._console,
                refresh_per_second=_REFRESHES_PER_SECOND,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Record what happened, and report it."""
        with self._lock:
            self._note(event)
            line, progress = self._line(event), self._progress()
        if self._console is None:
            return
        if self._live is None:
            self._console.print(f"{line}; {progress}", soft_wrap=True, markup=False)
        elif event.kind in ("died", "failed"):
            self._console.print(line, soft_wrap=True, markup=False)

    def _note(self, event: Event) -> None:
        if event.kind == "started":
            self._waiting.pop(event.folder, None)
            self._running[event.folder] = (event.attempt, self._clock())
            self._widest = max(self._widest, len(self._running))
            return
        self._running.pop(event.folder, None)
        if event.kind == "done":
            self._done += 1
            self._time.add(event.folder, event.seconds)
        elif event.kind == "failed":
            self._failed += 1
        else:
            self._waiting[event.folder] = None

    def _line(self, event: Event) -> str:
        name, took = self._name(event.folder), f"{event.seconds:.1f} s"
        if event.kind == "started":
            return f"started  {name}" + (f", attempt {event.attempt}" if event.attempt > 1 else "")
        if event.kind == "done":
            return f"done     {name} in {took}"
        again = ", will be tried again" if event.kind == "died" else ""
        return f"{event.kind:<8} {name} after {took}{again}: {event.reason}"

    def _progress(self) -> str:
        parts = [f"{self._done} of {self._total} done", f"{len(self._running)} running"]
        parts += [f"{self._failed} failed"] if self._failed else []
        parts += [f"{len(self._waiting)} left"]
        now = self._clock()
        running = [(folder, now - since) for folder, (_, since) in self._running.items()]
        left = self._time.left(list(self._waiting), running, self._widest)
        return ", ".join(parts if left is None else [*parts, f"about {timedelta(seconds=round(left))} to go"])

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar as Bar
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            progress, ended = self._progress(), self._done + self._failed
            running, now = list(self._running.items()), self._clock()
        jobs = Table.grid(padding=(0, 2))
        for folder, (attempt, since) in running[:_SHOWN]:
            again = f"attempt {attempt}" if attempt > 1 else ""
            jobs.add_row(
                Text(self._name(folder)), Text(str(timedelta(seconds=round(now - since)))), Text(again, style="yellow")
            )
        more = [Text(f"and {len(running) - _SHOWN} more", style="dim")] if len(running) > _SHOWN else []
        assert self._console is not None
        # the bar gives way where the terminal is narrow, not the words
        width = max(_SHORTEST, min(self._console.width - len(progress) - 1, _LONGEST))
        head = Table.grid(padding=(0, 1))
        head.add_row(Bar(total=max(1, self._total), completed=ended, width=width), Text(progress))
        return Group(head, jobs, *more)

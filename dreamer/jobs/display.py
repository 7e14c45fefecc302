"""A live display of a comparison: cells done, running, failed and left, and the time they still need."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from dreamer.jobs.tracker import Event

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_REFRESHES_PER_SECOND = 2
_SHOWN = 8


def last_three(folder: Path) -> str:
    """How a cell is called: stream, arm and seed are the last three folders of its path."""
    return "/".join(folder.parts[-3:])


class Pace:
    """Guesses how long cells take from those that are done: where it can from siblings, which differ in the seed alone.

    Siblings are the folders of the same parent.
    """

    def __init__(self) -> None:
        self._seconds: dict[Path, list[float]] = {}

    def add(self, folder: Path, seconds: float) -> None:
        """A cell took so long."""
        self._seconds.setdefault(folder.parent, []).append(seconds)

    def guess(self, folder: Path) -> float | None:
        """Seconds that a cell takes, or None while no cell is done."""
        known = self._seconds.get(folder.parent) or [one for several in self._seconds.values() for one in several]
        return sum(known) / len(known) if known else None

    def left(self, waiting: Sequence[Path], running: Sequence[tuple[Path, float]], side_by_side: int) -> float | None:
        """Seconds until all is done, or None while no cell is done.

        Args:
            waiting: cells that have not begun.
            running: cells that are lived, with the seconds that they have been so far.
            side_by_side: how many are lived at once.
        """
        if not self._seconds:
            return None
        ahead = sum(self.guess(folder) or 0.0 for folder in waiting)
        ahead += sum(max(0.0, (self.guess(folder) or 0.0) - so_far) for folder, so_far in running)
        return ahead / max(1, side_by_side)


class Display:
    """Shows where a comparison stands; an engine's ``watch``, and a context manager.

    In a terminal a few lines are kept up to date, and cells that die are told of above them; anywhere else, such as a
    pipe or a log file, everything that happens is one plain line. It writes to the standard error.

    Args:
        folders: the cells that will be lived.
        before: how many cells of the comparison were done before.
        name: how a cell is called.
        file: where to write; by default the standard error.
        clock: seconds that go on.
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
        self._pace = Pace()
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
        """Take note of what happened, and tell of it."""
        with self._lock:
            self._note(event)
            line, standing = self._line(event), self._standing()
        if self._console is None:
            return
        if self._live is None:
            self._console.print(f"{line}; {standing}", soft_wrap=True, markup=False)
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
            self._pace.add(event.folder, event.seconds)
        elif event.kind == "failed":
            self._failed += 1
        else:
            self._waiting[event.folder] = None

    def _line(self, event: Event) -> str:
        name, took = self._name(event.folder), f"{event.seconds:.1f} s"
        if event.kind == "started":
            return f"begins   {name}" + (f", try {event.attempt}" if event.attempt > 1 else "")
        if event.kind == "done":
            return f"done     {name} in {took}"
        again = ", will be tried again" if event.kind == "died" else ""
        return f"{event.kind:<8} {name} after {took}{again}: {event.reason}"

    def _standing(self) -> str:
        said = [f"{self._done} of {self._total} cells done", f"{len(self._running)} running"]
        said += [f"{self._failed} failed"] if self._failed else []
        said += [f"{len(self._waiting)} left"]
        now = self._clock()
        running = [(folder, now - since) for folder, (_, since) in self._running.items()]
        left = self._pace.left(list(self._waiting), running, self._widest)
        return ", ".join(said if left is None else [*said, f"about {_span(left)} to go"])

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar as Bar
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            standing, ended = self._standing(), self._done + self._failed
            running, now = list(self._running.items()), self._clock()
        cells = Table.grid(padding=(0, 2))
        for folder, (attempt, since) in running[:_SHOWN]:
            again = f"try {attempt}" if attempt > 1 else ""
            cells.add_row(Text(self._name(folder)), Text(_span(now - since)), Text(again, style="yellow"))
        more = [Text(f"and {len(running) - _SHOWN} more", style="dim")] if len(running) > _SHOWN else []
        return Group(Bar(total=max(1, self._total), completed=ended, width=40), Text(standing), cells, *more)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

"""Lives many cells on this machine, each in a worker process of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dreamer.config.binding import ConfigError
from dreamer.jobs.job import Attempt, Command, cell_command
from dreamer.jobs.tracker import Ending, Event, Interrupted, JobTracker, Outcome
from dreamer.jobs.watchdog import parent_watchdog

_LOOK_SECONDS = 0.05


def live_all(
    folders: Sequence[Path],
    *,
    workers: int,
    retries: int = 1,
    threads: int | None = None,
    devices: Sequence[str] | None = None,
    command: Command = cell_command,
    watch: Callable[[Event], None] | None = None,
    patience: float = 30.0,
) -> list[Outcome]:
    """Live cells side by side.

    Args:
        folders: the run folders of the cells; leave out those that are :func:`dreamer.jobs.tracker.finished`.
        workers: how many are lived at once, at least 1.
        retries: how many more tries a cell gets that dies; it goes to the end of the queue.
        threads: of each cell, at least 1; by default what ``OMP_NUM_THREADS`` says, else an equal share of the cores.
        devices: what ``CUDA_VISIBLE_DEVICES`` may name, dealt out to the workers in turn; by default all see all.
        command: what lives the cell of a folder. Exit code 0 and complete results mean that it is done, 2 that it
            cannot be lived, anything else that it died.
        watch: is told everything that happens, in this thread.
        patience: seconds that cells have to save and end when they are stopped by hand; a second Ctrl-C ends it.

    Returns:
        What became of each cell, in the order of the folders. That a cell failed is no error here.

    Raises:
        ConfigError: for numbers that make no sense.
        Interrupted: when it was stopped by hand.
    """
    if workers < 1:
        raise ConfigError(f"workers: expected at least 1, got {workers}")
    account = JobTracker(folders, retries, watch)
    shares = [_share(worker, workers, threads, devices) for worker in range(workers)]
    with parent_watchdog() as line, _interruptions() as asked:
        crew = WorkerPool(account, shares, line, command)
        try:
            crew.work(asked)
            crew.rest(asked, patience)
        finally:
            crew.kill()
    if len(account.outcomes) < len(account.folders):
        raise Interrupted
    return account.outcomes


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_variables(threads: int) -> dict[str, str]:
    """The environment in which a process computes with so many threads.

    Raises:
        ConfigError: when there are none.
    """
    if threads < 1:
        raise ConfigError(f"threads: expected at least 1, got {threads}")
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def _share(worker: int, workers: int, threads: int | None, devices: Sequence[str] | None) -> dict[str, str]:
    if threads is None:
        told = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(told) if told.isdecimal() else max(1, cores() // workers)
    seen = {"CUDA_VISIBLE_DEVICES": devices[worker % len(devices)]} if devices else {}
    return thread_variables(threads) | seen


class WorkerPool:
    """The workers: who lives what, and what waits.

    Args:
        account: of all cells.
        shares: the environment of each worker.
        line: the parent_watchdog of the children.
        command: what lives the cell of a folder.
    """

    def __init__(self, account: JobTracker, shares: Sequence[Mapping[str, str]], line: int, command: Command):
        self._account = account
        self._shares = shares
        self._line = line
        self._command = command
        self._waiting = deque((folder, 1) for folder in account.folders)
        self._living: dict[int, Attempt] = {}

    def work(self, asked: Callable[[], int]) -> None:
        """Live until nothing is left, or somebody asks to stop."""
        while (self._waiting or self._living) and not asked():
            for worker, share in enumerate(self._shares):
                if self._waiting and worker not in self._living:
                    self._begin(worker, share, *self._waiting.popleft())
            time.sleep(_LOOK_SECONDS)
            for attempt, ending in self._ended():
                if self._account.end(attempt.folder, attempt.number, ending):
                    self._waiting.append((attempt.folder, attempt.number + 1))

    def rest(self, asked: Callable[[], int], patience: float) -> None:
        """Let all that live save and end, for as long as nobody asks again."""
        until = time.monotonic() + patience
        for attempt in self._living.values():
            attempt.interrupt()
        while self._living:
            if time.monotonic() > until or asked() > 1:
                for attempt in self._living.values():
                    attempt.kill()
            for attempt, ending in self._ended():
                self._account.stop(attempt.folder, attempt.number, ending)
            time.sleep(_LOOK_SECONDS)

    def kill(self) -> None:
        """End whoever still lives."""
        for attempt in self._living.values():
            attempt.kill()

    def _begin(self, worker: int, share: Mapping[str, str], folder: Path, number: int) -> None:
        try:
            attempt = Attempt(folder, number, self._account.tries, self._line, share, self._command)
        except OSError as error:
            self._account.start(folder, number)
            self._account.end(folder, number, Ending("refused", 0.0, f"could not be started: {error}"))
            return
        self._living[worker] = attempt
        self._account.start(folder, number)

    def _ended(self) -> Iterator[tuple[Attempt, Ending]]:
        for worker, attempt in list(self._living.items()):
            ending = attempt.poll()
            if ending is not None:
                del self._living[worker]
                yield attempt, ending


@contextmanager
def _interruptions() -> Iterator[Callable[[], int]]:
    """Counts each Ctrl-C, instead of raising in the middle of a child's birth; only the main thread can."""
    count = 0

    def add(signum: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1

    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, add) if here else None
    try:
        yield lambda: count
    finally:
        if here:
            signal.signal(signal.SIGINT, before)

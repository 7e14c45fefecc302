"""Runs many jobs on this machine, each in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dreamer.config.binding import ConfigError
from dreamer.jobs.job import Attempt, Ending, Event, Interrupted, JobTracker, Outcome
from dreamer.jobs.manifest import Program
from dreamer.jobs.warm_worker import WarmWorker, can_fork
from dreamer.jobs.worker import ColdWorker, Worker

_LOOK_SECONDS = 0.05


def run_jobs(
    folders: Sequence[Path],
    program: Program,
    *,
    workers: int,
    retries: int = 1,
    threads: int | None = None,
    devices: Sequence[str] | None = None,
    watch: Callable[[Event], None] | None = None,
    patience: float = 30.0,
    warm: bool | None = None,
) -> list[Outcome]:
    """Run jobs side by side.

    Args:
        folders: the run folders of the jobs; leave out those that are :func:`dreamer.jobs.manifest.completed`.
        retries: how many more attempts a job gets that crashes; it goes to the end of the queue.
        threads: of each job, at least 1; by default what ``OMP_NUM_THREADS`` says, else an equal part of the cores.
        devices: what ``CUDA_VISIBLE_DEVICES`` may name, dealt out to the workers in turn; by default all see all.
        patience: seconds that jobs have to save and end when they are stopped by hand; a second Ctrl-C ends it.
        warm: whether workers import everything once and fork for each job, where they can; by default when there are
            more jobs than workers.

    Returns:
        What became of each job, in the order of the folders. That a job failed is no error here.

    Raises:
        ConfigError: for numbers that make no sense.
        Interrupted: when it was stopped by hand.
    """
    if workers < 1:
        raise ConfigError(f"workers: expected at least 1, got {workers}")
    tracker = JobTracker(folders, retries, watch)
    if warm is None:
        warm = len(tracker.folders) > workers
    kind = WarmWorker if warm and can_fork() else ColdWorker
    crew = [kind(program, _environment(worker, workers, threads, devices)) for worker in range(workers)]
    with counted_interruptions() as interruptions:
        pool = WorkerPool(tracker, crew)
        try:
            pool.work(interruptions)
            pool.stop(interruptions, patience)
        finally:
            pool.close()
    if len(tracker.outcomes) < len(tracker.folders):
        raise Interrupted
    return tracker.outcomes


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_variables(threads: int) -> dict[str, str]:
    """The environment in which a process computes with so many threads, at least 1."""
    if threads < 1:
        raise ConfigError(f"threads: expected at least 1, got {threads}")
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


@contextmanager
def counted_interruptions() -> Iterator[Callable[[], int]]:
    """Counts each Ctrl-C, instead of raising wherever this process is just then; only the main thread can.

    SIGTERM, however often it comes, counts as the first.
    """
    count = 0

    def add(signum: int, frame: FrameType | None) -> None:
        nonlocal count
        count = count + 1 if signum == signal.SIGINT else max(count, 1)

    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, add) for number in (signal.SIGINT, signal.SIGTERM)} if here else {}
    try:
        yield lambda: count
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class WorkerPool:
    """The workers: which job each one runs, and which jobs wait."""

    def __init__(self, tracker: JobTracker, workers: Sequence[Worker]):
        self._tracker = tracker
        self._workers = workers
        self._waiting = deque((folder, 1) for folder in tracker.folders)
        self._running: dict[int, Attempt] = {}

    def work(self, interruptions: Callable[[], int]) -> None:
        """Run jobs until none is left, or they are interrupted."""
        while (self._waiting or self._running) and not interruptions():
            for worker in range(len(self._workers)):
                if self._waiting and worker not in self._running:
                    self._begin(worker, *self._waiting.popleft())
            time.sleep(_LOOK_SECONDS)
            for attempt, ending in self._ended():
                if self._tracker.end(attempt.folder, attempt.number, ending):
                    self._waiting.append((attempt.folder, attempt.number + 1))

    def stop(self, interruptions: Callable[[], int], patience: float) -> None:
        """Let all that run save and end, for as long as nobody interrupts again."""
        until = time.monotonic() + patience
        for attempt in self._running.values():
            attempt.interrupt()
        while self._running:
            if time.monotonic() > until or interruptions() > 1:
                self.kill()
            for attempt, ending in self._ended():
                self._tracker.stop(attempt.folder, attempt.number, ending)
            time.sleep(_LOOK_SECONDS)

    def kill(self) -> None:
        """End all that still run."""
        for attempt in self._running.values():
            attempt.kill()

    def close(self) -> None:
        """End all that still run, and the workers."""
        self.kill()
        for worker in self._workers:
            worker.close()

    def _begin(self, worker: int, folder: Path, number: int) -> None:
        try:
            attempt = Attempt(folder, number, self._tracker.attempts, self._workers[worker])
        except OSError as error:
            self._tracker.refuse(folder, number, error)
            return
        self._running[worker] = attempt
        self._tracker.start(folder, number)

    def _ended(self) -> Iterator[tuple[Attempt, Ending]]:
        for worker, attempt in list(self._running.items()):
            ending = attempt.poll()
            if ending is not None:
                del self._running[worker]
                yield attempt, ending


def _environment(worker: int, workers: int, threads: int | None, devices: Sequence[str] | None) -> dict[str, str]:
    if threads is None:
        given = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(given) if given.isdecimal() else max(1, cores() // workers)
    seen = {"CUDA_VISIBLE_DEVICES": devices[worker % len(devices)]} if devices else {}
    return thread_variables(threads) | seen

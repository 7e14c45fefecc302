"""Runs many jobs on a Ray cluster; its nodes need dreamer and the data sets, but no common file system.

A task gets the manifest of a job, runs it in a process of its own in a temporary folder, and returns the files of the
run folder, which are written here. This is the one file that imports ray, inside functions.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from dreamer.config.binding import ConfigError
from dreamer.core import lock
from dreamer.jobs import manifest
from dreamer.jobs.job import LOG, Attempt, Ending, Event, Interrupted, JobTracker, Outcome
from dreamer.jobs.manifest import Program
from dreamer.jobs.pool import cores, counted_interruptions, thread_variables
from dreamer.jobs.worker import ColdWorker
from dreamer.report.results import FILE_NAME

if TYPE_CHECKING:
    from ray import ObjectRefGenerator

LEFT_BEHIND = ("checkpoints",)
"""What is only needed to resume stays on the node."""
_LOOK_SECONDS = 0.05
_CONNECT_SECONDS = 5.0
_CANCEL_SECONDS = 10.0


@dataclass(frozen=True)
class Job:
    """What a node needs to know to run a job once.

    Attributes:
        content: of the job's manifest.
        code: the fingerprint of the program here.
    """

    content: bytes
    name: str
    number: int
    attempts: int
    threads: int
    program: Program
    code: str


@dataclass(frozen=True)
class Delivery:
    """What a node returns.

    Attributes:
        files: the content of every file by its path in the run folder; of a job that is not done, the log alone.
    """

    ending: Ending
    files: Mapping[str, bytes]


def run_jobs_on_ray(
    folders: Sequence[Path],
    program: Program,
    *,
    address: str | None = None,
    threads: int | None = None,
    gpus: float = 0.0,
    retries: int = 1,
    watch: Callable[[Event], None] | None = None,
) -> list[Outcome]:
    """Run jobs on a Ray cluster, as many at once as its cores (and GPUs) allow.

    A job that crashes, with its process, its worker or its node, is started again on any node. Its run folder here is
    written when it is done; only its log grows with every attempt.

    Args:
        folders: the run folders of the jobs here.
        address: of the cluster, ``HOST:PORT``, or ``auto`` for the one that runs on this machine; by default one is
            started here and ended afterwards. A connection that this process has already is used as it is.
        threads: of each job, and the cores that Ray reserves for it, at least 1; by default 1.
        gpus: GPUs that Ray reserves for each job; with a fraction of one, several jobs use the same GPU.

    Returns:
        What became of each job, in the order of the folders. That a job failed is no error here.

    Raises:
        ConfigError: when ray is not installed, no cluster is at the address, or numbers make no sense.
        Interrupted: when it was stopped by hand; jobs that were running start again next time.
    """
    ray = _import_ray()
    threads = 1 if threads is None else threads
    thread_variables(threads)
    tracker = JobTracker(folders, retries, watch)
    with _connected(ray, address, threads, gpus), counted_interruptions() as interruptions:
        pool = RayPool(ray, tracker, threads, gpus, program)
        try:
            pool.work(interruptions)
        finally:
            pool.cancel()
    if len(tracker.outcomes) < len(tracker.folders):
        raise Interrupted
    return tracker.outcomes


class RayPool:
    """The tasks that are on their way."""

    def __init__(self, ray: ModuleType, tracker: JobTracker, threads: int, gpus: float, program: Program):
        self._ray = ray
        self._tracker = tracker
        self._threads = threads
        self._program = program
        self._code = program.fingerprint()
        # attempts are counted here, where those of the job's own process count too, and are seen
        self._task = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0, num_returns="streaming")(_run)
        self._waiting = deque((folder, 1) for folder in tracker.folders)
        self._sent: dict[ObjectRefGenerator, tuple[Path, int]] = {}
        self._begun: set[ObjectRefGenerator] = set()

    def work(self, interruptions: Callable[[], int]) -> None:
        """Send all jobs, and receive what comes, until nothing is left, or they are interrupted."""
        while (self._waiting or self._sent) and not interruptions():
            while self._waiting:
                self._send(*self._waiting.popleft())
            for task in self._ray.wait([*self._sent], timeout=1.0)[0] if self._sent else ():
                self._receive(task)

    def cancel(self) -> None:
        """Stop the tasks that are on their way, give them some seconds to end, and end those that do not."""
        self._waiting.clear()
        until = time.monotonic() + _CANCEL_SECONDS
        while self._sent and time.monotonic() < until:
            for task in self._sent:  # again where no task has ended: a worker that is handing over a message misses it
                self._ray.cancel(task)
            # the next message of a task that has not ended may never come
            ended = {task.completed(): task for task in self._sent}
            for reference in self._ray.wait([*ended], num_returns=len(ended), timeout=1.0)[0]:
                while ended[reference] in self._sent:
                    self._receive(ended[reference], stopping=True)
        for task, (folder, number) in self._sent.items():
            self._ray.cancel(task, force=True)
            if task in self._begun:
                self._tracker.stop(folder, number, Ending("died", 0.0, "did not end when it was cancelled"))
        self._sent.clear()

    def _send(self, folder: Path, number: int) -> None:
        try:
            content = (folder / manifest.FILE_NAME).read_bytes()
        except OSError as error:
            self._tracker.refuse(folder, number, error)
            return
        job = Job(content, folder.name, number, self._tracker.attempts, self._threads, self._program, self._code)
        self._sent[self._task.remote(job)] = (folder, number)

    def _receive(self, task: ObjectRefGenerator, stopping: bool = False) -> None:
        """Take the next message of a task: that it has begun, or what it delivers, or that it will not."""
        folder, number = self._sent[task]
        try:
            message = self._ray.get(next(task))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            message = Delivery(Ending("died", 0.0, _first_cause(error)), {})
        if task not in self._begun and not (stopping and message is not None):
            self._begun.add(task)
            self._tracker.start(folder, number)
        if message is None:
            return
        del self._sent[task]
        _write_delivery(folder, message.files)
        if not stopping:
            if self._tracker.end(folder, number, message.ending):
                self._waiting.append((folder, number + 1))
        elif task in self._begun:
            self._tracker.stop(folder, number, message.ending)


def _run(job: Job) -> Iterator[Delivery | None]:
    """What a node does: say that it has begun, run the job, deliver."""
    yield None
    here = job.program.fingerprint()
    if here != job.code:
        reason = f"node {socket.gethostname()} has dreamer {here}, and this machine {job.code}: install the same"
        yield Delivery(Ending("refused", 0.0, reason), {})
    else:
        with tempfile.TemporaryDirectory(prefix="dreamer-") as place:
            yield _run_in(Path(place) / job.name, job)


def _run_in(folder: Path, job: Job) -> Delivery:
    folder.mkdir()
    (folder / manifest.FILE_NAME).write_bytes(job.content)
    worker = ColdWorker(job.program, thread_variables(job.threads))
    attempt = Attempt(folder, job.number, job.attempts, worker)
    try:
        while (ending := attempt.poll()) is None:
            time.sleep(_LOOK_SECONDS)
    except BaseException:  # Ray cancels a task as Ctrl-C would
        attempt.kill()
        raise
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    if ending.kind != "done":
        names = [Path(LOG)]
    left = (*LEFT_BEHIND, manifest.FILE_NAME, lock.FILE_NAME)
    kept = [name for name in names if name.parts[0] not in left]
    return Delivery(ending, {name.as_posix(): (folder / name).read_bytes() for name in kept})


def _write_delivery(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write what a node delivered: the results last and in one piece, so that who finds them finds all."""
    for name, content in files.items():
        if name == LOG:
            with open(folder / LOG, "ab") as log:
                log.write((b"\n" if log.tell() else b"") + content)
    if FILE_NAME not in files:
        return
    for path in folder.iterdir():  # what an earlier attempt left here belongs to another run
        if path.name not in (manifest.FILE_NAME, LOG):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in files.items():
        if name not in (LOG, FILE_NAME):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    neighbour = folder / f".{FILE_NAME}.{os.getpid()}"
    neighbour.write_bytes(files[FILE_NAME])
    os.replace(neighbour, folder / FILE_NAME)


def _first_cause(error: Exception) -> str:
    """Why a task broke off, in one line: Ray's own errors begin with it, and those of the code end with it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["its task ended without a reason"]
    return lines[-1 if hasattr(error, "cause") else 0]


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise ConfigError("the Ray engine needs ray, which is not installed: pip install 'dreamer[ray]'") from error
    return ray


@contextmanager
def _connected(ray: ModuleType, address: str | None, threads: int, gpus: float) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "warning"}
    if address is None:
        # a machine with fewer cores than one job has threads runs one job at a time
        ray.init("local", num_cpus=max(cores(), threads), include_dashboard=False, **quiet)
    else:
        _check_reachable(address)
        try:
            ray.init(address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"address: no Ray cluster responds at {address!r}: {_first_cause(error)}") from error
    try:
        if address is None and gpus > ray.cluster_resources().get("GPU", 0.0):
            raise ConfigError(f"gpus: a job needs {gpus:g}, and Ray finds fewer on this machine")
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse at once what Ray would try to reach for many minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ConfigError(f"address: expected auto, or HOST:PORT of a Ray cluster, got {address!r}")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS)):
            pass
    except (OSError, OverflowError) as error:
        raise ConfigError(f"address: no Ray cluster responds at {address!r}: {error}") from error

"""Lives many cells on a Ray cluster; its nodes need dreamer and the data sets, but no common file system.

A task gets the content of a ``cell.json``, lives it in a process of its own in a temporary folder, and gives back the
files of the run folder, which are written here. This is the one file that imports ray, inside functions.
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

from dreamer.compare.grid import code
from dreamer.config.binding import ConfigError
from dreamer.jobs.job import LOG, Attempt, Command, cell_command
from dreamer.jobs.pool import cores, thread_variables
from dreamer.jobs.tracker import Ending, Event, Interrupted, JobTracker, Outcome
from dreamer.jobs.watchdog import parent_watchdog
from dreamer.report.results import FILE_NAME

if TYPE_CHECKING:
    from ray import ObjectRefGenerator

CELL = "cell.json"
LEFT_BEHIND = ("checkpoints",)
"""What is only needed to go on stays on the node."""
_LOOK_SECONDS = 0.05
_REACH_SECONDS = 5.0
_RECALL_SECONDS = 10.0


@dataclass(frozen=True)
class Job:
    """What a node needs to know to live a cell once.

    Attributes:
        cell: the content of ``cell.json``.
        name: of the run folder.
        number: which try this is, from 1.
        tries: how many there may be.
        threads: of the process that lives it.
        command: what lives the cell of a folder.
        code: the fingerprint of the code that asks.
    """

    cell: bytes
    name: str
    number: int
    tries: int
    threads: int
    command: Command
    code: str


@dataclass(frozen=True)
class Delivery:
    """What a node gives back.

    Attributes:
        ending: how the try ended.
        files: the content of every file by its path in the run folder; of a cell that is not done, the log alone.
    """

    ending: Ending
    files: Mapping[str, bytes]


def live_all_on_ray(
    folders: Sequence[Path],
    *,
    address: str | None = None,
    threads: int | None = None,
    gpus: float = 0.0,
    retries: int = 1,
    command: Command = cell_command,
    watch: Callable[[Event], None] | None = None,
) -> list[Outcome]:
    """Live cells on a Ray cluster, as many at once as its cores (and GPUs) allow.

    A cell that dies, with its process, its worker or its node, is begun anew on any node. Its run folder here is
    written when it is done; only its log grows with every try.

    Args:
        folders: the run folders of the cells here.
        address: of the cluster, ``HOST:PORT``, or ``auto`` for the one that runs on this machine; by default one is
            started here and ended afterwards. A connection that this process has already is used as it is.
        threads: of each cell, and the cores that it asks Ray for, at least 1; by default 1.
        gpus: GPUs that each cell asks Ray for; a part of one shares it.
        retries: how many more tries a cell gets that dies.
        command: what lives the cell of a folder, see :func:`dreamer.jobs.pool.live_all`.
        watch: is told everything that happens, in this thread.

    Returns:
        What became of each cell, in the order of the folders. That a cell failed is no error here.

    Raises:
        ConfigError: when ray is not installed, no cluster is at the address, or numbers make no sense.
        Interrupted: when it was stopped by hand; cells that were on their way begin anew next time.
    """
    ray = _import_ray()
    threads = 1 if threads is None else threads
    thread_variables(threads)
    account = JobTracker(folders, retries, watch)
    with _connected(ray, address, threads, gpus):
        fleet = RayPool(ray, account, threads, gpus, command)
        try:
            fleet.work()
        except KeyboardInterrupt:
            raise Interrupted from None
        finally:
            fleet.cancel()
    return account.outcomes


class RayPool:
    """The tasks that are on their way.

    Args:
        ray: the module, connected.
        account: of all cells.
        threads: cores that a task asks for.
        gpus: GPUs that a task asks for.
        command: what lives the cell of a folder.
    """

    def __init__(self, ray: ModuleType, account: JobTracker, threads: int, gpus: float, command: Command):
        self._ray = ray
        self._account = account
        self._threads = threads
        self._command = command
        self._code = code()
        # tries are counted here, where those of the cell's own process count too, and are seen
        self._task = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0, num_returns="streaming")(_live)
        self._waiting = deque((folder, 1) for folder in account.folders)
        self._sent: dict[ObjectRefGenerator, tuple[Path, int]] = {}
        self._begun: set[ObjectRefGenerator] = set()

    def work(self) -> None:
        """Hand out all cells, and take in what comes, until nothing is left."""
        while self._waiting or self._sent:
            while self._waiting:
                self._send(*self._waiting.popleft())
            for task in self._ray.wait([*self._sent], timeout=1.0)[0] if self._sent else ():
                self._hear(task)

    def cancel(self) -> None:
        """Stop what is on its way, give it some seconds to end, and end what does not."""
        self._waiting.clear()
        until = time.monotonic() + _RECALL_SECONDS
        ready: Sequence[ObjectRefGenerator] = ()
        while self._sent and time.monotonic() < until:
            if not ready:  # asked again where nobody answers: a worker that is handing over a word misses it
                for task in self._sent:
                    self._ray.cancel(task)
            ready = self._ray.wait([*self._sent], timeout=1.0)[0]
            for task in ready:
                self._hear(task, stopping=True)
        for task, (folder, number) in self._sent.items():
            self._ray.cancel(task, force=True)
            if task in self._begun:
                self._account.stop(folder, number, Ending("died", 0.0, "did not end when it was asked to"))
        self._sent.clear()

    def _send(self, folder: Path, number: int) -> None:
        try:
            cell = (folder / CELL).read_bytes()
        except OSError as error:
            self._account.start(folder, number)
            self._account.end(folder, number, Ending("refused", 0.0, f"could not be started: {error}"))
            return
        job = Job(cell, folder.name, number, self._account.tries, self._threads, self._command, self._code)
        self._sent[self._task.remote(job)] = (folder, number)

    def _hear(self, task: ObjectRefGenerator, stopping: bool = False) -> None:
        """Take in the next word of a task: that it has begun, or what it delivers, or that it will not."""
        folder, number = self._sent[task]
        try:
            word = self._ray.get(next(task))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            word = Delivery(Ending("died", 0.0, _first_cause(error)), {})
        if task not in self._begun and not (stopping and word is not None):
            self._begun.add(task)
            self._account.start(folder, number)
        if word is None:
            return
        del self._sent[task]
        _take_in(folder, word.files)
        if not stopping:
            if self._account.end(folder, number, word.ending):
                self._waiting.append((folder, number + 1))
        elif task in self._begun:
            self._account.stop(folder, number, word.ending)


def _live(job: Job) -> Iterator[Delivery | None]:
    """What a node does: say that it has begun, live the cell, deliver."""
    yield None
    here = code()
    if here != job.code:
        reason = f"node {socket.gethostname()} has the code {here}, and it is {job.code} that asks: install the same"
        yield Delivery(Ending("refused", 0.0, reason), {})
    else:
        with tempfile.TemporaryDirectory(prefix="dreamer-") as house:
            yield _live_in(Path(house) / job.name, job)


def _live_in(folder: Path, job: Job) -> Delivery:
    folder.mkdir()
    (folder / CELL).write_bytes(job.cell)
    with parent_watchdog() as line:
        attempt = Attempt(folder, job.number, job.tries, line, thread_variables(job.threads), job.command)
        try:
            while (ending := attempt.poll()) is None:
                time.sleep(_LOOK_SECONDS)
        except BaseException:  # Ray cancels a task as Ctrl-C would
            attempt.kill()
            raise
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    if ending.kind != "done":
        names = [Path(LOG)]
    kept = [name for name in names if name.parts[0] not in (*LEFT_BEHIND, CELL)]
    return Delivery(ending, {name.as_posix(): (folder / name).read_bytes() for name in kept})


def _take_in(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write what a node delivered: the results last and in one piece, so that who finds them finds all."""
    for name, content in files.items():
        if name == LOG:
            with open(folder / LOG, "ab") as log:
                log.write((b"\n" if log.tell() else b"") + content)
    if FILE_NAME not in files:
        return
    for path in folder.iterdir():  # what an earlier try left here belongs to another life
        if path.name not in (CELL, LOG):
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
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["its task ended without a word"]
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
        # a machine with fewer cores than one cell has threads lives one cell at a time
        ray.init("local", num_cpus=max(cores(), threads), include_dashboard=False, **quiet)
    else:
        _reach(address)
        try:
            ray.init(address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"address: no Ray cluster answers at {address!r}: {_first_cause(error)}") from error
    try:
        if address is None and gpus > ray.cluster_resources().get("GPU", 0.0):
            raise ConfigError(f"gpus: a cell asks for {gpus:g}, and Ray finds fewer on this machine")
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Refuse at once what Ray would try to reach for many minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ConfigError(f"address: expected auto, or HOST:PORT of a Ray cluster, got {address!r}")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS)):
            pass
    except (OSError, OverflowError) as error:
        raise ConfigError(f"address: no Ray cluster answers at {address!r}: {error}") from error

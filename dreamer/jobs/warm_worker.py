"""Starts the processes of jobs as forks of one that has imported everything: the imports are paid for once.

``python -m dreamer.jobs.warm_worker MODULE`` imports the module of a program and waits. For each line on its standard
input, the folder of a job and the path of its log, it forks; the fork runs the module as ``python -m MODULE FOLDER``
would. It writes the number of the forked process, and then its exit code, each on a line.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from dreamer.jobs.watchdog import VARIABLE
from dreamer.jobs.worker import Process, signal_group, variables

if TYPE_CHECKING:
    from dreamer.jobs.manifest import Program


def can_fork() -> bool:
    """Whether processes may be forked here after all imports.

    Not where there are GPUs: what looks for them may start their driver, which no fork can use. Nor on macOS, whose own
    libraries start threads.
    """
    return sys.platform == "linux" and not any(Path(f"/dev/{name}").exists() for name in ("nvidiactl", "kfd", "dxg"))


class WarmWorker:
    """Keeps a process in which everything is imported; each job is a fork of it.

    Args:
        environment: variables that the jobs get beside those of this process.
    """

    def __init__(self, program: Program, environment: Mapping[str, str]):
        self._program = program
        self._environment = environment
        self._server: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path, log: BinaryIO) -> Process:
        """Fork; the first job waits for the imports, and its log gets what they print."""
        if self._server is None or self._server.poll() is not None:
            self.close()
            self._server = self._begin(log)
        return WarmProcess(self._server, folder, Path(log.name))

    def close(self) -> None:
        """End the process that forks."""
        if self._server is not None:
            assert self._server.stdin is not None and self._server.stdout is not None
            self._server.stdin.close()
            self._server.wait()
            self._server.stdout.close()

    def _begin(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, self._program.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=variables(self._environment),
            start_new_session=True,
        )
        assert server.stdout is not None
        os.set_blocking(server.stdout.fileno(), False)
        return server


class WarmProcess:
    """A fork that runs one job."""

    def __init__(self, server: subprocess.Popen[bytes], folder: Path, log: Path):
        self._server = server
        self._lines = b""
        self._write(json.dumps([str(folder.absolute()), str(log.absolute())]).encode() + b"\n")

    def poll(self) -> int | None:
        """The exit code, or None while it runs; that of the process that forks, when that one is gone."""
        lines = self._read()
        if len(lines) > 1:
            return int(lines[1])
        code = self._server.poll()
        if code is None:
            return None
        lines = self._read()  # it may have been the last that it did
        return int(lines[1]) if len(lines) > 1 else code or 1

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the fork and what it has started; before there is one, to the process that is to fork."""
        forked = self._read()
        signal_group(int(forked[0]) if forked else self._server.pid, number)

    def kill(self) -> None:
        """End the fork, and the process that forks: a new one will take its place."""
        self._server.kill()  # first, or it would fork in between
        self._server.wait()
        if forked := self._read():
            signal_group(int(forked[0]), signal.SIGKILL)

    def close(self) -> None:
        """End what the fork has left running."""
        if forked := self._read():
            signal_group(int(forked[0]), signal.SIGKILL)

    def _write(self, line: bytes) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(line)
        self._server.stdin.flush()

    def _read(self) -> list[bytes]:
        """The whole lines that have come so far."""
        assert self._server.stdout is not None
        self._lines += self._server.stdout.read() or b""
        return self._lines.split(b"\n")[:-1]


def main(module: str) -> None:
    """Import a module and fork for each line; in a fork, run the module."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever imports print belongs to the log
    importlib.import_module(module)
    gc.freeze()  # a collection in a fork would touch, and so copy, all that is imported
    threads = len(os.listdir("/proc/self/task"))
    while line := sys.stdin.readline():
        folder, log = json.loads(line)
        forked = os.fork()
        if forked == 0:
            replies.close()
            _run(module, folder, log, fresh=threads > 1)
        _lead(forked)
        print(forked, file=replies)
        print(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]), file=replies)


def _run(module: str, folder: str, log: str, fresh: bool) -> NoReturn:
    """Run a job, and end as a process of its own does; threads that are lost need a fresh one."""
    _lead(os.getpid())
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ[VARIABLE] = "1"
    if fresh:
        os.execv(sys.executable, [sys.executable, "-m", module, folder])
    sys.argv = [module, folder]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # Python's own random numbers begin anew by themselves
    sys.modules.pop(module, None)  # it runs as __main__, and runpy warns of a second copy
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # as multiprocessing ends its forks; to take apart what all of them share would take longer than some jobs
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _lead(process: int) -> None:
    """Make a process the leader of a group; both sides do it, so that neither is too late."""
    with suppress(ProcessLookupError, PermissionError):  # it has ended, or has done so itself
        os.setpgid(process, process)


if __name__ == "__main__":
    main(sys.argv[1])

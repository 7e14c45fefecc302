"""One process at a time in a folder."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from dreamer.core.errors import ConfigError
from dreamer.core.files import UNFINISHED

FILE_NAME = ".lock"
HOLDER = ".lock-holder"
"""Says who holds the lock: the lock's own file is emptied by whoever tries it."""


class InUse(ConfigError):
    """Another process is at work in the folder."""


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Keep a folder to this process, on this machine and on all that share its file system.

    The system gives the lock back when its holder is gone, whatever ended it, so a file that was left behind locks
    nobody out. What it had not written to its end is removed.

    Args:
        folder: is made when it is not there.
        patience: seconds to wait for another process.

    Raises:
        InUse: when another process is at work in the folder; says which.
        ConfigError: when the folder cannot be written to.
    """
    lock = FileLock(folder / FILE_NAME)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
        now = datetime.now().astimezone()
        holder = f"process {os.getpid()} on {socket.gethostname()} since {now:%Y-%m-%d %H:%M:%S %Z}"
        (folder / HOLDER).write_text(f"{holder}\n", encoding="utf-8")
        _tidy(folder)
    except Timeout:
        raise InUse(f"{folder} is in use by {_holder(folder)}: wait for it, or stop it") from None
    except NotImplementedError:
        warnings.warn(f"the file system of {folder} knows no locks: run one process at a time there", stacklevel=3)
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _tidy(folder: Path) -> None:
    """Remove what a killed holder has left half written; folders below that have locks of their own are theirs."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not Path(place, name, FILE_NAME).exists()]
        for name in files:
            if name.endswith(UNFINISHED):
                Path(place, name).unlink(missing_ok=True)


def _holder(folder: Path) -> str:
    try:
        return (folder / HOLDER).read_text(encoding="utf-8").strip()[:200] or "another process"
    except (OSError, ValueError):
        return "another process"

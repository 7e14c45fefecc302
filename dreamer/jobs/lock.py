"""One process at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dreamer.config.binding import ConfigError

FILE_NAME = ".lock"
HOLDER = ".lock-holder"
"""Says who holds the lock: the lock's own file is emptied by whoever tries it."""


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Keep a folder to this process.

    The system gives the lock back when its holder is gone, whatever ended it, so a file that was left behind locks
    nobody out.

    Raises:
        ConfigError: when another process is at work in the folder, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / FILE_NAME)
        lock.acquire(timeout=patience)
        (folder / HOLDER).write_text(f"{os.getpid()}\n", encoding="utf-8")
    except Timeout:
        raise ConfigError(f"{folder} is in use by {_holder(folder)}: wait for it, or stop it") from None
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        return f"process {int((folder / HOLDER).read_text(encoding='utf-8'))}"
    except (OSError, ValueError):
        return "another process"

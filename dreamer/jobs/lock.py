"""One engine at a time in the folder of a comparison."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamer.config.binding import ConfigError

FILE_NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep the folder of a comparison to oneself.

    The system gives the lock back when its holder is gone, however that went, so a file that was left behind locks
    nobody out.

    Args:
        folder: is made when it is not there.

    Raises:
        ConfigError: when another process lives this comparison at this moment, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / FILE_NAME, "a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise ConfigError(
                f"what is in {folder} is being lived by {f'process {holder}' if holder else 'another process'}: "
                "wait for it, or stop it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield

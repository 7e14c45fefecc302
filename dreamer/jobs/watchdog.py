"""No orphans: a process that lives a cell ends when the one that started it is gone, however that one went.

The parent holds the only writing end of a pipe and never writes; a child waits for something to read. When the parent
is gone, be it by SIGKILL, the system closes the pipe and the child's wait is over.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "DREAMER_LIFELINE"
"""Names the file descriptor of the reading end to a child."""


@contextmanager
def parent_watchdog() -> Iterator[int]:
    """Hold a parent_watchdog for children.

    Yields:
        The file descriptor that they inherit; :data:`VARIABLE` has to name it in their environment.
    """
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(writing)
        os.close(reading)


def die_with_parent() -> None:
    """End this process, and what it started in its process group, when the parent is gone; does nothing without one."""
    named = os.environ.pop(VARIABLE, None)
    if named is None:
        return
    reading = int(named)
    os.set_inheritable(reading, False)
    threading.Thread(target=_wait, args=(reading,), name="parent_watchdog", daemon=True).start()


def _wait(reading: int) -> None:
    os.read(reading, 1)
    if os.getpgrp() == os.getpid():  # the group is ours, so nobody else is in it
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)

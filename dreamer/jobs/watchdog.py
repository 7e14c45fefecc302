"""No orphans: the process of a job ends when the one that started it is gone, whatever ended that one.

The parent holds the only writing end of the job's standard input and never writes; the job waits for something to read.
When the parent is gone, be it by SIGKILL, the system closes the pipe and the wait is over.
"""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "DREAMER_WATCHDOG"
"""Is set in the environment of a process whose standard input its parent holds."""


def die_with_parent() -> None:
    """End this process, and what it started in its process group, when the parent is gone.

    Does nothing in a process that was not started as a job, such as one that was typed.
    """
    if os.environ.pop(VARIABLE, None) is None:
        return
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # whoever reads the standard input finds it empty
    os.close(nothing)
    threading.Thread(target=_wait, args=(pipe,), name="parent_watchdog", daemon=True).start()


def _wait(pipe: int) -> None:
    os.read(pipe, 1)
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():  # the group is ours, so nobody else is in it
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)

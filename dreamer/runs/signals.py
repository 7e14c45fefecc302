"""What a run does when it is asked to stop: it saves after the step, and ends.

Ctrl-C (SIGINT) comes from a person; SIGTERM from Slurm, Kubernetes or ``timeout``, which kill after a time of grace;
SIGUSR1 from Slurm before the time limit of a job, where it was asked for (``--signal=USR1@120``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytorch_lightning as pl


class StopSignals(pl.Callback):
    """Handles the signals that stop a run while it is entered as a context.

    A second Ctrl-C stops at once, with the checkpoint before; other signals may come again.

    Args:
        stop: is called at the first signal.

    Attributes:
        received: the first signal, None while there was none.
    """

    def __init__(self, stop: Callable[[], None]):
        self.received: signal.Signals | None = None
        self._stop = stop
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in stopping()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take back the signals for which Lightning has put handlers of its own, which save nothing here."""
        for number in self._before:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number)
        self._stop()


def stopping() -> tuple[signal.Signals, ...]:
    """The signals that stop a run; SIGUSR1 where Slurm is found."""
    slurm = (signal.SIGUSR1,) if job_of_slurm() and hasattr(signal, "SIGUSR1") else ()
    return (signal.SIGINT, signal.SIGTERM, *slurm)


def job_of_slurm() -> str | None:
    """The number of the Slurm job that this process belongs to, None outside Slurm."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def requeue(job: str) -> bool:
    """Put a Slurm job back into its queue; False when Slurm refuses or is not found."""
    try:
        return subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0
    except OSError:
        return False

"""Callbacks that watch a score, such as EarlyStopping, in a run that is evaluated after some stages only."""

from __future__ import annotations

from collections.abc import Iterator

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities import rank_zero_warn

from dreamer.problems import Problem
from dreamer.streams.base import Stream


def monitored(problem: Problem) -> str:
    """The name of the score on held-out training data, the one that callbacks may monitor."""
    return f"val/{problem.key}"


def check_monitors(trainer: pl.Trainer, problem: Problem, stream: Stream) -> None:
    """Raise a ValueError when a callback monitors held-out data that a stream has not, or a test score."""
    key = monitored(problem)
    held = any(experience.validation is not None for experience in stream.experiences)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # a Lightning connector sets it
        monitor = getattr(callback, "monitor", None)
        name = type(callback).__name__
        if monitor == key and not held:
            raise ValueError(
                f"{name} monitors {key}, but {stream.name} has no held-out data: expected a stream with "
                "validation above 0"
            )
        if isinstance(monitor, str) and monitor.startswith(("test/", "stream/")):
            raise ValueError(f"{name} monitors {monitor}, a test score, which steers nothing: expected {key}")


def count_evaluations(trainer: pl.Trainer, monitor: str, measured: bool) -> None:
    """Before EarlyStopping looks at the end of a stage, let its patience count evaluations and not stages.

    Args:
        measured: whether the stage was evaluated; otherwise what it sees is the last score again.
    """
    for callback in _stoppers(trainer):
        if callback.monitor == monitor and measured:
            callback.wait_count = max(callback.wait_count, 0)
        elif callback.monitor == monitor:
            # a score that has not improved will count as one more; without any patience one is too many
            callback.wait_count = callback.wait_count - 1 if callback.patience else -2


def warn_of_early_stop(trainer: pl.Trainer, stage: int, stages: int) -> None:
    """Say when EarlyStopping has ended a run before its plan.

    Args:
        stage: that would come next.
        stages: of the plan.
    """
    stopper = next(iter(_stoppers(trainer)), None)
    if stopper is not None and trainer.should_stop and stage < stages and stopper.wait_count >= stopper.patience:
        rank_zero_warn(
            f"EarlyStopping has ended the run after {stage} of {stages} stages, because {stopper.monitor} did not "
            f"improve for {stopper.patience} evaluations: it is the mean over the experiences so far, and each new one "
            "can lower it; the results say complete: false"
        )


def _stoppers(trainer: pl.Trainer) -> Iterator[EarlyStopping]:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # a Lightning connector sets it
        if isinstance(callback, EarlyStopping):
            yield callback

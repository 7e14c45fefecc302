"""The one checkpoint from which a run resumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from dreamer.core.limits import at_least

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule


class RunCheckpoint(Checkpoint):
    """Keeps ``last.ckpt`` current: at the end of every stage, every so many steps within one, and on a stop.

    The file is replaced in one move, so a process killed while it writes leaves the previous one whole.

    Args:
        directory: where ``last.ckpt`` lies.
        every_n_steps: optimiser steps between two checkpoints within a stage, at least 1.

    Raises:
        ValueError: when ``every_n_steps`` is below 1.
    """

    def __init__(self, directory: str | Path, every_n_steps: int = 500):
        at_least(1, every_n_steps=every_n_steps)
        self.path = Path(directory) / "last.ckpt"
        self.every_n_steps = every_n_steps
        self._saved_at = 0
        self._stop = False

    def stop(self) -> None:
        """Save after the current batch, then end the fit; may be called from a signal handler."""
        self._stop = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count steps."""
        self._saved_at = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is due."""
        # a signal may reach one process a step before another, and all have to save at the same step
        stop = trainer.strategy.reduce_boolean_decision(self._stop, all=False)
        if stop:
            trainer.should_stop = True
        if stop or trainer.global_step - self._saved_at >= self.every_n_steps:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Save a stage that is closed; one that was stopped half-way has been saved at its last batch."""
        if pl_module.ledger.step == 0:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint now."""
        writing = self.path.with_suffix(".writing")
        trainer.save_checkpoint(writing, weights_only=False)
        if trainer.is_global_zero:
            os.replace(writing, self.path)
        self._saved_at = trainer.global_step

"""The checkpoint from which a run resumes, and the one before it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from dreamer.core.arguments import checked
from dreamer.core.files import UNFINISHED
from dreamer.core.limits import at_least
from dreamer.core.sealed import Damaged, check_sealed, put_in_place, read_sealed, write_sealed

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule


def _as_stored(storage: Any, location: str) -> Any:
    """What is loaded stays on the CPU, where it is deserialised."""
    return storage


class SealedIO(TorchCheckpointIO):
    """Lightning's files of a Trainer, with a checksum at their end (see :mod:`dreamer.core.sealed`).

    Checkpoints are written where they are going to lie, not through the system's temporary folder, and loaded without
    running what is in them.

    Args:
        directory: whose files have to be whole; others, which may be anybody's, are loaded as they are.
    """

    def __init__(self, directory: Path):
        self.directory = directory.resolve()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_sealed(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = _as_stored, weights_only: Any = True) -> dict[str, Any]:
        if "://" in str(path) or Path(path).resolve().parent != self.directory:
            return super().load_checkpoint(path, map_location=map_location, weights_only=True)
        return read_sealed(Path(path), map_location)


class RunCheckpoint(Checkpoint):
    """Keeps ``last.ckpt`` current: at the end of every stage, every so many steps within one, and on a stop.

    The file is replaced in one move, so a process killed while it writes leaves the one before whole; that one stays as
    ``previous.ckpt``. Both carry a checksum, and are looked at before a run is resumed from them.

    Args:
        directory: where the checkpoints lie.
        every_n_steps: optimiser steps between two checkpoints within a stage, at least 1.

    Raises:
        ValueError: when ``every_n_steps`` is below 1.
    """

    @checked
    def __init__(self, directory: str | Path, every_n_steps: int = 500):
        at_least(1, every_n_steps=every_n_steps)
        self.path = Path(directory) / "last.ckpt"
        self.previous = self.path.with_name("previous.ckpt")
        self.every_n_steps = every_n_steps
        self._saved_at = 0
        self._closed: int | None = None
        self._stop = False

    def latest(self) -> Path | None:
        """The checkpoint to resume from, whole; None where there is none yet.

        A process killed between two moves leaves the one before alone.

        Raises:
            Damaged: when it is not whole; says whether the one before is.
        """
        found = next((path for path in (self.path, self.previous) if path.exists()), None)
        if found is None:
            return None
        try:
            check_sealed(found)
        except Damaged as error:
            raise Damaged(f"{error}; {self._instead(found)}") from None
        return found

    def before(self) -> Path:
        """The checkpoint before the last one, whole.

        Raises:
            Damaged: when there is none, or it is not whole either.
        """
        if not self.previous.exists():
            raise Damaged(f"there is no checkpoint before the last one: expected {self.previous}")
        check_sealed(self.previous)
        return self.previous

    def fall_back(self) -> None:
        """Let the checkpoint before the last one take its place."""
        put_in_place(self.previous, self.path)

    def _instead(self, damaged: Path) -> str:
        try:
            whole = damaged != self.previous and self.previous.exists()
            if whole:
                check_sealed(self.previous)
        except Damaged:
            whole = False
        return "the one before is whole: continue from it with --previous" if whole else "there is no other one"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let the Trainer write and read sealed files, unless it has a way of its own."""
        if type(trainer.strategy.checkpoint_io).__name__ == "TorchCheckpointIO":
            trainer.strategy.checkpoint_io = SealedIO(self.path.parent)

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

    def on_fit_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Save the end of the run, where that has not been done."""
        self.close(trainer, pl_module)

    def close(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:
        """Save the end of a run that was killed in its last evaluation: there was no stage left to save after."""
        if pl_module.ledger.step == 0 and pl_module.ledger.stage != self._closed:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint now."""
        writing = self.path.with_suffix(UNFINISHED)
        trainer.save_checkpoint(writing, weights_only=False)
        if trainer.is_global_zero:
            if self.path.exists():
                os.replace(self.path, self.previous)
            put_in_place(writing, self.path)
        ledger = getattr(trainer.lightning_module, "ledger", None)
        self._closed = ledger.stage if ledger is not None and ledger.step == 0 else None
        self._saved_at = trainer.global_step

"""Runs within a study: whole trainings of a module, of which nothing is kept or printed."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl

from dreamer.streams.base import Stream
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule


def train(
    module: WakeSleepModule, stream: Stream, callbacks: Sequence[pl.Callback] = (), evaluations: bool = True
) -> None:
    """Train a module on a stream to the end of its plan, on the CPU.

    Args:
        evaluations: whether the module evaluates itself after its stages; not where an experiment does.
    """
    trainer = pl.Trainer(
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_test_batches=None if evaluations else 0,
        callbacks=[*callbacks],
    )
    trainer.fit(module, datamodule=StreamDataModule(stream))

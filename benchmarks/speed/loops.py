"""Loops over optimiser steps: ours through a Trainer, and bare ones that do the same arithmetic."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import bench
from benchmarks.speed.pair import Rounds, Spent, Watch
from dreamer.callbacks.progress import RunProgress
from dreamer.loggers.csv import ResumableCSVLogger
from dreamer.streams.base import Stream, TensorSamples
from dreamer.training.module import WakeSleepModule

SKIPPED = 8
"""Steps at the start of every loop that are not counted: memory is had from the system in them."""
TEMPERATURE = 2.0
"""Of distillation, as in :class:`dreamer.problems.Classification`."""
_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"


class Laps(pl.Callback):
    """Times the steps of a kind of stage, but the first ones."""

    def __init__(self, kind: str, skipped: int = SKIPPED):
        self.kind = kind
        self.skipped = skipped
        self.spent: Spent | None = None
        self._watch = Watch()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == self.skipped:
            self._watch.restart()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        stage = pl_module.hypnogram[pl_module.ledger.stage]
        if stage.kind == self.kind:
            self.spent = self._watch.spent(stage.steps - self.skipped)


class Turns(pl.Callback):
    """Lets a run and a bare loop take turns of a few steps within a kind of stage, and times both.

    So both have the machine as it is within the same second. The first turn is not counted.

    Args:
        kind: of the stage.
        bare: makes the bare loop, each item of which is a step that is done, when the stage begins.
        each: steps of a turn.
    """

    def __init__(self, kind: str, bare: Callable[[WakeSleepModule], Iterator[None]], each: int):
        self.kind = kind
        self.bare = bare
        self.each = each
        self.rounds: Rounds = []
        self._loop: Iterator[None] = iter(())
        self._watch = Watch()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        self._loop = self.bare(pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        stage = pl_module.hypnogram[trainer.current_epoch]
        if stage.kind != self.kind or (batch_idx + 1) % self.each:
            return
        ours = self._watch.spent(self.each)
        with torch.enable_grad(), as_without_lightning():
            watch = Watch()
            for _ in range(self.each):
                next(self._loop)
            reference = watch.spent(self.each)
        if batch_idx >= self.each:
            self.rounds.append({"ours": list(ours), "reference": list(reference)})
        self._watch.restart()


def ours(module: WakeSleepModule, stream: Stream, kind: str = "wake", skipped: int = SKIPPED, **options: Any) -> Spent:
    """What a step of a kind of stage takes in a run with display and csv logger."""
    laps = Laps(kind, skipped)
    fit(module, stream, laps, **options)
    assert laps.spent is not None
    return laps.spent


def fit(module: WakeSleepModule, stream: Stream, *callbacks: pl.Callback, **options: Any) -> None:
    """A run as ``dreamer run`` makes it, but for the run folder."""
    with tempfile.TemporaryDirectory() as folder, bench.quiet():
        # last, so that a clock of steps does not count what is drawn at a stage's end
        shown = [*callbacks, RunProgress(file=bench.Terminal())]
        options = {"limit_test_batches": 0, **options}
        bench.fit(module, stream, logger=ResumableCSVLogger(Path(folder)), callbacks=shown, **options)


# ---------------------------------------------------------------- bare loops


class Learner(NamedTuple):
    """A network and its optimiser."""

    network: nn.Module
    optimizer: torch.optim.Optimizer

    def step(self, loss: Callable[[], Tensor]) -> None:
        """One step of training."""
        self.optimizer.zero_grad()
        loss().backward()
        self.optimizer.step()


def wake_loop(learner: Learner, samples: TensorSamples, batch: int) -> Iterator[None]:
    """Steps over shuffled batches, without end."""
    network = learner.network.train()
    while True:
        for index in torch.randperm(len(samples)).split(batch):
            x, y = _scaled(samples, index), samples.y.index_select(0, index)
            learner.step(functools.partial(_wake_loss, network, x, y))
            yield


def sleep_loop(
    learner: Learner,
    teacher: nn.Module,
    draw: Callable[[int], tuple[Tensor, Tensor, Tensor]],
    batch: int,
    at_once: int = 16,
) -> Iterator[None]:
    """Steps over replayed batches, with a teacher's outputs, both made for many steps at once; without end.

    Args:
        draw: gives so many samples as they are shown to the learner, as they are shown to the teacher, and their
            labels, or distributions over them.
    """
    network = learner.network.train()
    while True:
        with torch.no_grad():
            x, clean, y = draw(batch * at_once)
            taught = teacher(clean)
        for first in range(0, at_once * batch, batch):
            part = slice(first, first + batch)
            learner.step(functools.partial(_sleep_loss, network, x[part], y[part], taught[part]))
            yield


def _scaled(samples: TensorSamples, index: Tensor) -> Tensor:
    x = samples.x.index_select(0, index)
    return x if samples.scale is None else x * samples.scale


def _wake_loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(network(x).flatten(0, -2), y.flatten())


def _sleep_loss(network: nn.Module, x: Tensor, y: Tensor, taught: Tensor) -> Tensor:
    logits = network(x)
    student = functional.log_softmax(logits / TEMPERATURE, dim=1)
    wanted = functional.softmax(taught / TEMPERATURE, dim=1)
    soft = TEMPERATURE**2 * functional.kl_div(student, wanted, reduction="batchmean")
    return functional.cross_entropy(logits, y) + soft


@contextmanager
def as_without_lightning() -> Iterator[None]:
    """Let torch be as it is where nobody imports Lightning, which makes every step of an optimiser look for a GPU."""
    kept = os.environ.pop(_NVML, None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ[_NVML] = kept

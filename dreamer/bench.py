"""What a life costs beyond its arithmetic: our loop against a bare one, and late experiences against early ones.

Rounds are paired and taken in turn, because a machine's speed drifts; the ratio of each pair is what counts.
"""

from __future__ import annotations

import io
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.callbacks.metrics_file import PartLogger
from dreamer.callbacks.progress import LifeProgress
from dreamer.data import StreamDataModule
from dreamer.generators import ClassConditionalVAE
from dreamer.memory import ClassBalanced
from dreamer.module import WakeSleepModule
from dreamer.networks import MLP
from dreamer.perturbations import Affine, LatentMixing
from dreamer.stages import NREM, REM, Wake
from dreamer.streams import Stream, digits
from dreamer.streams.base import TensorSamples, make_stream

_BATCH = 128


class Round(NamedTuple):
    """One paired measurement, in steps per second.

    Attributes:
        bare: of a PyTorch loop.
        ours: of a wake stage, with progress display and csv logger.
    """

    bare: float
    ours: float

    @property
    def ratio(self) -> float:
        """Our steps per second for each one of the bare loop."""
        return self.ours / self.bare


def wake(rounds: int = 5, steps: int = 500) -> list[Round]:
    """Measure the wake loop against a bare PyTorch loop that does the same arithmetic on the same data.

    The 784-400-400-10 network with Adam and batches of 128, on scikit-learn's digits enlarged to 28 x 28 pixels.

    Args:
        rounds: pairs of measurements, after one that is not counted.
        steps: optimiser steps of each.
    """
    stream = _large_digits()
    measured = []
    with _quiet():
        for number in range(rounds + 1):
            pair = Round(_bare_loop(stream, steps), _our_loop(stream, steps))
            if number:
                measured.append(pair)
    return measured


def stream(experiences: int = 20, rounds: int = 3) -> dict[str, list[list[float]]]:
    """Measure seconds per step as a stream goes on.

    A data-free life, and one with a memory, on digits of 28 x 28 pixels that are permuted anew in every experience,
    with the 784-400-400-10 network.

    Args:
        experiences: E, at least 3.
        rounds: lives of each kind.

    Returns:
        For ``"<recipe> <kind>"`` (such as ``"generator rem"``) one list per round of the seconds per step of every
        experience.
    """
    met = _permuted_digits(experiences)
    measured: dict[str, list[list[float]]] = {}
    with _quiet():
        for _ in range(rounds):
            for recipe in ("memory", "generator"):
                for kind, seconds in _seconds_per_step(met, recipe).items():
                    measured.setdefault(f"{recipe} {kind}", []).append(seconds)
    return measured


def late_over_early(seconds: list[list[float]]) -> float:
    """Median over rounds of the seconds per step of the last experience over those of the second."""
    return statistics.median(per_experience[-1] / per_experience[1] for per_experience in seconds)


def _bare_loop(stream: Stream, steps: int) -> float:
    samples = stream.experiences[0].train
    assert isinstance(samples, TensorSamples)
    network, optimizer = _learner(stream)
    began, done = time.perf_counter(), 0
    while done < steps:
        for index in torch.randperm(len(samples)).split(_BATCH)[: steps - done]:
            x, y = samples.x.index_select(0, index), samples.y.index_select(0, index)
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
            done += 1
    return steps / (time.perf_counter() - began)


def _our_loop(stream: Stream, steps: int) -> float:
    network, _ = _learner(stream)
    module = WakeSleepModule(network, Wake(steps=steps, batch_size=_BATCH))
    with tempfile.TemporaryDirectory() as folder:
        _live(module, stream, logger=PartLogger(Path(folder)), callbacks=[LifeProgress(file=_Terminal())])
    return steps / module.ledger.seconds["wake"]


def _learner(stream: Stream) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = MLP(stream.sample_shape, stream.num_classes)
    return network, torch.optim.Adam(network.parameters(), lr=1e-3)


def _seconds_per_step(stream: Stream, recipe: str) -> dict[str, list[float]]:
    shape, k = stream.sample_shape, stream.num_classes
    bends = (LatentMixing(), Affine()) if recipe == "generator" else (Affine(),)
    night = [NREM(32, _BATCH), REM(32, _BATCH, perturbations=bends)]
    parts: dict[str, Any] = {"generator": ClassConditionalVAE(shape, k)}
    if recipe == "memory":
        parts = {"memory": ClassBalanced(200)}
    module = WakeSleepModule(MLP(shape, k), Wake(steps=32, batch_size=_BATCH, replay=_BATCH), night, **parts)
    clock = _Clock()
    _live(module, stream, logger=False, callbacks=[clock])
    return clock.per_step


class _Clock(pl.Callback):
    """Seconds per step of every stage, without dusk and examination, which do not belong to steps."""

    def __init__(self) -> None:
        self.per_step: dict[str, list[float]] = {}
        self._before = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        self._before = sum(pl_module.ledger.seconds.values())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        # callbacks are told before the module closes the stage
        stage = pl_module.hypnogram[pl_module.ledger.stage]
        lived = sum(pl_module.ledger.seconds.values()) - self._before
        self.per_step.setdefault(stage.kind, []).append(lived / stage.steps)


def _live(module: WakeSleepModule, stream: Stream, **options: Any) -> None:
    trainer = pl.Trainer(
        max_epochs=-1, accelerator="cpu", enable_checkpointing=False, enable_model_summary=False,
        enable_progress_bar=bool(options["logger"]), **options,
    )  # fmt: skip
    trainer.fit(module, datamodule=StreamDataModule(stream))


def _large_digits() -> Stream:
    small = digits(experiences=1, validation=0).experiences[0]
    return make_stream("large digits", [(_enlarged(small.train), _enlarged(small.test))], validation=0)


def _enlarged(samples: Any) -> TensorSamples:
    x = functional.interpolate(samples.x, (28, 28), mode="bilinear", align_corners=False)
    return TensorSamples(x, samples.y)


def _permuted_digits(experiences: int) -> Stream:
    whole = _large_digits().experiences[0]
    rng = torch.Generator().manual_seed(0)
    orders = [torch.randperm(28 * 28, generator=rng) for _ in range(experiences)]
    shares = [(_permuted(whole.train, order), _permuted(whole.test, order)) for order in orders]
    return make_stream("permuted digits", shares, validation=0, scenario="domain")


def _permuted(samples: Any, order: Tensor) -> TensorSamples:
    return TensorSamples(samples.x.flatten(1)[:, order].view_as(samples.x), samples.y)


class _Terminal(io.StringIO):
    """A terminal that nobody looks at: the display draws as if somebody did."""

    def isatty(self) -> bool:
        return True


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)

"""What a run costs beyond its arithmetic: our loop against a bare one, and late experiences against early ones.

Called as ``dreamer bench wake`` and ``dreamer bench stream``.
"""

from __future__ import annotations

import io
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer import config
from dreamer.callbacks.progress import RunProgress
from dreamer.core.denormals import flushed_denormals
from dreamer.loggers.csv import ResumableCSVLogger
from dreamer.networks import MLP
from dreamer.runs.run_config import RunConfig, run_config
from dreamer.stages import Wake
from dreamer.streams import Stream, digits
from dreamer.streams.base import TensorSamples, make_stream
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule

RECIPES = ("er", "derpp", "lwf", "dgr", "bir", "dreams")
"""Recipes of every kind: memory, stored logits, a teacher alone, rehearsed generators, a growing one with nights."""

_BATCH = 128
_EARLY = 5


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

    The 784-400-400-10 network with Adam and batches of 128, on scikit-learn's digits enlarged to 28 x 28 pixels. Rounds
    are paired and taken in turn, because a machine's speed drifts; the ratio of each pair is what counts.

    Args:
        rounds: pairs of measurements, after one that is not counted.
        steps: optimiser steps of each.
    """
    stream = _large_digits()
    measured = []
    with quiet():
        for number in range(rounds + 1):
            pair = Round(_bare_loop(stream, steps), _our_loop(stream, steps))
            if number:
                measured.append(pair)
    return measured


class Cost(NamedTuple):
    """The cost of a run as it goes on.

    Attributes:
        recipe: its name.
        seconds: per kind of stage one list per round: CPU seconds per step in every experience.
        nbytes: bytes held after every experience: network, memory, generator, teachers, plasticity.
        grows: what grows in it because the method is defined so; empty where nothing does.
    """

    recipe: str
    seconds: dict[str, list[list[float]]]
    nbytes: list[int]
    grows: str

    def early(self, kind: str) -> float:
        """Seconds per step around the fifth experience: the median of the third to the seventh in all rounds."""
        return self._median(kind, slice(_EARLY - 3, _EARLY + 2))

    def late(self, kind: str) -> float:
        """The same of the last five."""
        return self._median(kind, slice(-5, None))

    def _median(self, kind: str, experiences: slice) -> float:
        return statistics.median(second for run in self.seconds[kind] for second in run[experiences])


def stream(
    recipes: Sequence[str] = RECIPES,
    words: Sequence[str] = (),
    experiences: int = 100,
    steps: int = 32,
    rounds: int = 3,
) -> Iterator[Cost]:
    """Measure whether steps cost more as a stream goes on.

    Every experience brings one new class of made-up images of 8 x 8 pixels; a recipe is laid over the configuration of
    the embedded digits, so learner and generator are as small as there, and whatever grows beside them shows.

    Args:
        recipes: names of configurations.
        words: ``key=value`` words for all of them.
        experiences: E and K, at least 8.
        steps: of every stage. Dreams are made for many steps at once, so the first half of a stage, with what it only
            does once, is not counted, and the second is counted as a whole: a multiple of 32 has whole such blocks.
        rounds: runs of each recipe.

    Raises:
        ConfigError: when there is no such recipe.
        ValueError: when there are fewer than 8 experiences, or 2 steps.
    """
    if experiences < 8 or steps < 2:
        raise ValueError(f"expected at least 8 experiences and 2 steps, got {experiences} and {steps}")
    configs = {recipe: run_config(config.read("digits", recipe, *words)) for recipe in recipes}
    return _costs(configs, experiences, steps, rounds)


def _costs(configs: Mapping[str, RunConfig], experiences: int, steps: int, rounds: int) -> Iterator[Cost]:
    made = spots(experiences)
    for recipe, checked in configs.items():
        measured = []
        for _ in range(rounds):
            torch.manual_seed(0)
            module = checked.build_module(made)
            for stage in (module.wake, *module.night):
                stage.steps = steps
            clock = Clock(steps // 2)
            with quiet():
                # evaluations belong to no step
                fit(module, made, logger=False, callbacks=[clock], limit_test_batches=0)
            measured.append(clock.per_step)
        kinds = {kind: [run[kind] for run in measured] for kind in measured[0]}
        yield Cost(recipe, kinds, [*clock.nbytes, sum(module.bytes().values())], _growing(module))


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
        fit(module, stream, logger=ResumableCSVLogger(Path(folder)), callbacks=[RunProgress(file=Terminal())])
    return steps / module.ledger.seconds["wake"]


def _learner(stream: Stream) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = MLP(stream.sample_shape, stream.num_classes)
    return network, torch.optim.Adam(network.parameters(), lr=1e-3)


def _growing(module: WakeSleepModule) -> str:
    grows = [] if module.wake.data == "experience" else [f"{module.wake.data} data"]
    if module.generator is not None and module.generator.continual == "grow":
        grows.append("generator")
    return ", ".join(grows)


class Clock(pl.Callback):
    """What a step costs in every experience, by kind of stage, and the bytes at its end.

    CPU time, because it does not count what other processes do meanwhile; and since these and the machine's own pace
    change it all the same, it is measured against a fixed piece of work right before and after.

    Args:
        skipped: steps at the start of a stage that are not counted.
    """

    def __init__(self, skipped: int):
        self.skipped = skipped
        self.nbytes: list[int] = []
        self._paces: list[float] = []
        self._relative: dict[str, dict[int, list[float]]] = {}
        self._work = _Work()
        self._began = 0.0

    @property
    def per_step(self) -> dict[str, list[float]]:
        """CPU seconds per step, at the fastest pace that the machine had."""
        best = min(self._paces)
        return {
            kind: [best * statistics.mean(costs) for costs in by_experience.values()]
            for kind, by_experience in self._relative.items()
        }

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        stage = pl_module.hypnogram[trainer.current_epoch]
        if stage.opens and stage.experience > 0:
            self.nbytes.append(sum(pl_module.bytes().values()))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *step: Any) -> None:
        done = step[-1] + 1
        if done == self.skipped:
            self._paces.append(self._work.pace())
            self._began = time.process_time()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        spent = time.process_time() - self._began
        self._paces.append(self._work.pace())
        # callbacks are called before the module closes the stage
        stage = pl_module.hypnogram[pl_module.ledger.stage]
        relative = spent / (stage.steps - self.skipped) / statistics.mean(self._paces[-2:])
        self._relative.setdefault(stage.kind, {}).setdefault(stage.experience, []).append(relative)


class _Work:
    """A few steps of a small learner on its own: always the same arithmetic."""

    def __init__(self) -> None:
        self.network = MLP((64,), 100, (200, 200))
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.x, self.y = torch.rand(64, 64), torch.arange(64)

    def pace(self, steps: int = 8) -> float:
        """CPU seconds that it takes now."""
        began = time.process_time()
        with torch.enable_grad():
            for _ in range(steps):
                self.optimizer.zero_grad()
                functional.cross_entropy(self.network(self.x), self.y).backward()
                self.optimizer.step()
        return time.process_time() - began


def fit(module: WakeSleepModule, stream: Stream, **options: Any) -> None:
    """Train a module on a stream as ``dreamer run`` does; the display is on where there is a logger.

    Args:
        options: of the Trainer.
    """
    trainer = pl.Trainer(
        max_epochs=-1, accelerator="cpu", enable_checkpointing=False, enable_model_summary=False,
        enable_progress_bar=bool(options["logger"]), **options,
    )  # fmt: skip
    with flushed_denormals():
        trainer.fit(module, datamodule=StreamDataModule(stream))


def _large_digits() -> Stream:
    small = digits(experiences=1, validation=0).experiences[0]
    return make_stream("large digits", [(_enlarged(small.train), _enlarged(small.test))], validation=0)


def _enlarged(samples: Any) -> TensorSamples:
    x = functional.interpolate(samples.x, (28, 28), mode="bilinear", align_corners=False)
    return TensorSamples(x, samples.y)


def spots(experiences: int, per_class: int = 4096) -> Stream:
    """One new class an experience: a pattern of its own in noise. So many samples that no stage sees one twice."""
    rng = torch.Generator().manual_seed(0)

    def samples(label: int, pattern: Tensor, count: int) -> TensorSamples:
        noise = torch.randint(128, (count, 1, 8, 8), generator=rng, dtype=torch.uint8)
        return TensorSamples(pattern + noise, torch.full((count,), label), scale=1 / 255)

    patterns = torch.randint(128, (experiences, 1, 8, 8), generator=rng, dtype=torch.uint8)
    pairs = [(samples(k, pattern, per_class), samples(k, pattern, 1)) for k, pattern in enumerate(patterns)]
    return make_stream("made-up classes", pairs, validation=0)


class Terminal(io.StringIO):
    """A terminal that nobody looks at: the display draws as if somebody did."""

    def isatty(self) -> bool:
        return True


@contextmanager
def quiet() -> Iterator[None]:
    """Without the remarks of Lightning."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)

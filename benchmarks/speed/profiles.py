"""Where the microseconds of a step go, in each of the three ways to have nights."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from torch import nn

from benchmarks import bench
from benchmarks.speed.loops import as_without_lightning, fit, wake_loop
from benchmarks.speed.pair import Watch
from benchmarks.speed.runs import avalanche_benchmark
from benchmarks.speed.steps import Loader, Plain, learner, mlp, pictures, training_samples
from dreamer import SleepCallback
from dreamer.memory import ClassBalanced
from dreamer.stages import NREM, Wake
from dreamer.training.module import WakeSleepModule

ROOMS = {
    "/torch/": "torch",
    "/pytorch_lightning/": "Lightning",
    "/lightning_": "Lightning",
    "/avalanche/": "Avalanche",
    "/rich/": "display",
    "/dreamer/callbacks/progress": "display",
    "/dreamer/": "dreamer",
}
"""Whose code it is, by what is in the path of a file; of several the first."""
_EVERY = 0.001
_STEPS = 300
_BATCH = 128


class Sampler:
    """Looks every millisecond of CPU time where the program is.

    Attributes:
        seen: how often it was in whose code: that of the innermost function that is in :data:`ROOMS`.
        seconds: CPU seconds of a step.
    """

    def __init__(self) -> None:
        self.seen = Counter[str]()
        self.seconds = 0.0
        self._watch = Watch()

    def start(self) -> None:
        """Begin to look."""
        self._before = signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
        self._watch.restart()

    def stop(self, steps: int) -> None:
        """Look no more; so many steps were made."""
        if self.seconds:
            return
        self.seconds = self._watch.spent(steps).cpu
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)

    def _look(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            path = frame.f_code.co_filename.replace("\\", "/")
            owner = next((name for part, name in ROOMS.items() if part in path), None)
            if owner is not None:
                self.seen[owner] += 1
                return
            frame = frame.f_back
        self.seen["the rest"] += 1


class _Span(pl.Callback):
    """Lets a sampler look at the steps of a Trainer, but the first."""

    def __init__(self, sampler: Sampler):
        self.sampler = sampler

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.sampler.start()
        elif batch_idx + 1 == _STEPS:
            self.sampler.stop(_STEPS - 1)


def profiles() -> dict[str, dict[str, float]]:
    """CPU microseconds of a wake step whose samples are offered to a memory, by whose code it is, for each shell."""
    shells: dict[str, Callable[[Sampler], None]] = {
        "a bare loop": _bare,
        "`WakeSleepModule`": _module,
        "`SleepCallback`": _callback,
        "`DreamPlugin`": _plugin,
    }
    return {name: _profile(shell) for name, shell in shells.items()}


def _profile(shell: Callable[[Sampler], None]) -> dict[str, float]:
    sampler = Sampler()
    shell(sampler)
    total = sum(sampler.seen.values())
    return {name: 1e6 * sampler.seconds * count / total for name, count in sampler.seen.most_common()}


def _bare(sampler: Sampler) -> None:
    stream = pictures()
    loop = wake_loop(learner(mlp, stream), training_samples(stream), _BATCH)
    with as_without_lightning():
        next(loop)
        sampler.start()
        for _ in range(_STEPS):
            next(loop)
        sampler.stop(_STEPS)


def _module(sampler: Sampler) -> None:
    stream = pictures()
    wake = Wake(steps=_STEPS, batch_size=_BATCH)
    fit(WakeSleepModule(learner(mlp, stream).network, wake, [], memory=ClassBalanced(500)), stream, _Span(sampler))


def _callback(sampler: Sampler) -> None:
    stream = pictures()
    sleep = SleepCallback(stages=[NREM(1, batch_size=_BATCH)], memory=ClassBalanced(500), verbose=False)
    with bench.quiet():
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", enable_checkpointing=False, enable_model_summary=False, logger=False,
            enable_progress_bar=False, callbacks=[sleep, _Span(sampler)],
        )  # fmt: skip
        trainer.fit(Plain(learner(mlp, stream).network), Loader(training_samples(stream), _BATCH, _STEPS))


def _plugin(sampler: Sampler) -> None:
    from dreamer.interop.avalanche.benchmarks import quiet
    from dreamer.interop.avalanche.plugin import DreamPlugin

    with quiet():
        from avalanche.core import SupervisedPlugin
        from avalanche.training.supervised import Naive

    class Span(SupervisedPlugin):
        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.clock.train_exp_iterations == 0:
                sampler.start()

        def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            sampler.stop(strategy.clock.train_exp_iterations - 1)

    network, optimizer = learner(mlp, pictures())
    with quiet():
        strategy = Naive(
            model=network, optimizer=optimizer, criterion=nn.CrossEntropyLoss(), train_mb_size=_BATCH, train_epochs=2,
            evaluator=None, plugins=[Span(), DreamPlugin(ClassBalanced(500), night=[NREM(1, batch_size=_BATCH)])],
        )  # fmt: skip
        strategy.train(avalanche_benchmark().train_stream[0])

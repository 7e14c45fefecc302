"""A pytest plugin: puts our callback or plugin where the tests of somebody else make their Trainers and strategies.

``DREAMER_UPSTREAM`` says what: ``plain`` nothing, ``quiet`` nights that never come, ``nights`` short ones. What every
fit leaves (steps, epochs, logged values, a sum of the weights) is written to ``DREAMER_UPSTREAM_LOG`` beside the
outcome of each test.
"""

from __future__ import annotations

import functools
import json
import math
import os
import random
import re
import signal
from collections.abc import Generator, Iterator
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

MODE = os.environ.get("DREAMER_UPSTREAM", "plain")
SECONDS = 60
"""What a test may take of a processor, so that a busy machine changes nothing."""
PATIENCE = 3600
"""What it may take on the clock: one that waits for ever takes nothing of a processor."""

_found: dict[str, dict[str, Any]] = {}
_fits: list[Any] = []


def pytest_configure(config: pytest.Config) -> None:
    """Patch the framework whose tests run; the other is not imported. Some tests draw their data when collected."""
    _seed()
    if os.environ["DREAMER_UPSTREAM_SUITE"] == "lightning":
        _into_lightning()
    else:
        _into_avalanche()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The same random numbers in every run."""
    _seed()
    _fits.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """End a test that hangs."""

    def give_up(number: int, _: Any) -> None:
        seconds = SECONDS if number == signal.SIGPROF else PATIENCE
        raise TimeoutError(f"longer than {seconds} seconds")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, PATIENCE)}
    before = {number: signal.signal(number, give_up) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        return (yield)
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst outcome of a test, and why."""
    known = _found.setdefault(report.nodeid, {"outcome": "passed", "why": "", "fits": []})
    if report.outcome != "passed" and known["outcome"] == "passed":
        known["outcome"] = "skipped" if report.outcome == "skipped" else "failed"
        lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
        said = " ".join(line[1:].strip() for line in lines[:2])
        known["why"] = re.sub(r" at 0x[0-9a-f]+| id='\d+'", "", said)[:300]
        known["text"] = report.longreprtext[-4000:]
    if report.when == "call":
        known["fits"], known["seconds"] = list(_fits), round(report.duration, 2)


def pytest_sessionfinish() -> None:
    """Write what was found."""
    with open(os.environ["DREAMER_UPSTREAM_LOG"], "w", encoding="utf-8") as file:
        json.dump(_found, file, indent=1)


def _seed() -> None:
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


def _number(value: Any) -> float | None:
    value = (
        float(value) if isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1) else None
    )
    return None if value is None or not math.isfinite(value) else round(value, 5)


def _weights(module: nn.Module) -> float | None:
    return _number(sum(float(part.detach().double().sum()) for part in module.parameters()))


# ---------------------------------------------------------------- Lightning


def _tensors(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch, in order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, dict):
        for part in batch.values():
            yield from _tensors(part)
    elif isinstance(batch, list | tuple):
        for part in batch:
            yield from _tensors(part)


def _first_tensor(batch: Any) -> Tensor:
    """What a batch of any test has as samples."""
    for found in _tensors(batch):
        return found
    raise ValueError(f"expected a tensor in the batch, got {batch!r:.80}")


def _into_lightning() -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.trainer.connectors.callback_connector import _CallbackConnector

    connect, fit = _CallbackConnector.on_trainer_init, pl.Trainer.fit

    @functools.wraps(connect)
    def with_callback(self: Any, callbacks: Any, *args: Any, **kwargs: Any) -> None:
        if MODE != "plain":
            from dreamer import NREM, SleepCallback
            from dreamer.callbacks.sleep.schedule import NEVER

            given = [] if callbacks is None else callbacks if isinstance(callbacks, list) else [callbacks]
            sleep = SleepCallback(
                [NREM(2, batch_size=2)],
                schedule=1 if MODE == "nights" else NEVER,
                inputs=_first_tensor,
                targets=None,
            )
            callbacks = [*given, sleep]
        connect(self, callbacks, *args, **kwargs)

    @functools.wraps(fit)
    def recorded(self: Any, model: Any = None, *args: Any, **kwargs: Any) -> None:
        try:
            fit(self, model, *args, **kwargs)
        finally:
            logged = {name: _number(value) for name, value in sorted(self.callback_metrics.items())}
            logged = {name: value for name, value in logged.items() if not name.startswith("sleep/")}
            _fits.append([self.global_step, self.current_epoch, logged, _weights(self.lightning_module)])

    _CallbackConnector.on_trainer_init = with_callback
    pl.Trainer.fit = recorded


# ---------------------------------------------------------------- Avalanche


def _into_avalanche() -> None:
    from avalanche.training.templates import SupervisedTemplate

    make, train = SupervisedTemplate.__init__, SupervisedTemplate.train

    @functools.wraps(make)
    def with_plugin(self: Any, *args: Any, **kwargs: Any) -> None:
        if MODE != "plain":
            from dreamer import NREM
            from dreamer.interop.avalanche.plugin import DreamPlugin
            from dreamer.memory import Reservoir

            nights = MODE == "nights"
            plugin = DreamPlugin(Reservoir(20), wake_replay=2 * nights, night=[NREM(2, batch_size=4)] * nights)
            kwargs["plugins"] = [*(kwargs.get("plugins") or []), plugin]
        make(self, *args, **kwargs)

    @functools.wraps(train)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return train(self, *args, **kwargs)
        finally:
            _fits.append([self.clock.train_iterations, self.clock.train_exp_counter, {}, _weights(self.model)])

    template: Any = SupervisedTemplate
    template.__init__ = with_plugin
    template.train = recorded

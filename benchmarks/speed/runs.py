"""Whole runs: against Avalanche, from the shell, by the length of the stream, in memory."""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks import bench
from benchmarks.speed.loops import as_without_lightning, fit
from benchmarks.speed.pair import Case, Goal, Spent, Watch
from benchmarks.speed.steps import learner, mlp
from dreamer import config
from dreamer.generators import VAE
from dreamer.memory import ClassBalanced
from dreamer.objectives import HardTargets
from dreamer.runs.run_config import run_config
from dreamer.stages import Wake
from dreamer.streams.base import Stream, TensorSamples, make_stream
from dreamer.training.module import WakeSleepModule

_BATCH = 128
_LENGTHS = (5, 20, 100)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
ROOT = Path(__file__).parents[2]


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _avalanche_cases()
    yield from _length_cases()
    yield Case("start", "`dreamer run digits fine_tune --quiet`, from the shell to the result", "run",
               "importing torch and Lightning, and a bare loop", _our_digits, _bare_digits,
               Goal(1 / 1.3, "at most 1.3 times as long"), rounds=3, warm_up=False)  # fmt: skip
    yield Case("peak", "most memory of a process, MLP on 40,000 pictures (31 MB)", "MB",
               "the data and 1.5 times a bare loop's", functools.partial(_peak, "ours"),
               functools.partial(_peak, "bare"), Goal(1, "at most as much"), rounds=2, warm_up=False)  # fmt: skip


# ---------------------------------------------------------------- Avalanche


def _avalanche_cases() -> Iterator[Case]:
    rows: tuple[tuple[str, str, Goal | None], ...] = (
        ("Naive", "fine-tuning", Goal(2, "at least twice as fast")),
        ("Replay", "replay of 128 from a memory of 500", Goal(1.5, "at least 1.5 times as fast")),
        ("GenerativeReplay", "replay of 128 from a generator (a VAE of each project's own)", None),
    )
    for name, what, goal in rows:
        yield Case(f"avalanche_{name.lower()}", f"a run of 5 experiences with evaluations, {what}", "run",
                   f"Avalanche's `{name}`", functools.partial(_our_run, name),
                   functools.partial(_their_run, name), goal, rounds=3 if goal is None else 5)  # fmt: skip


@functools.cache
def _split(per_class: int = 1280, tests: int = 200) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ten classes of patterns in noise: training and test data."""
    rng = torch.Generator().manual_seed(0)
    patterns = torch.rand(10, 1, 28, 28, generator=rng) * 0.5
    y, test_y = torch.arange(10).repeat_interleave(per_class), torch.arange(10).repeat_interleave(tests)
    x, test_x = (patterns[own] + 0.5 * torch.rand(len(own), 1, 28, 28, generator=rng) for own in (y, test_y))
    return x, y, test_x, test_y


@functools.cache
def _stream() -> Stream:
    x, y, test_x, test_y = _split()
    pairs = [
        (TensorSamples(x[y // 2 == number], y[y // 2 == number]),
         TensorSamples(test_x[test_y // 2 == number], test_y[test_y // 2 == number]))
        for number in range(5)
    ]  # fmt: skip
    return make_stream("split", pairs, validation=0)


def _our_run(name: str) -> Spent:
    stream = _stream()
    replay: dict[str, Any] = {"replay": 128, "replay_weight": "equal"} if name != "Naive" else {}
    parts: dict[str, Any] = {}
    if name == "Replay":
        # labels alone, as there
        parts["memory"], replay["replay_objectives"] = ClassBalanced(500), [HardTargets()]
    if name == "GenerativeReplay":
        parts["generator"] = VAE(stream.sample_shape, stream.num_classes, continual="rehearse")
    module = WakeSleepModule(learner(mlp, stream).network, Wake(batch_size=_BATCH, **replay), [], **parts)
    watch = Watch()
    fit(module, stream, limit_test_batches=1.0)
    return watch.spent()


@functools.cache
def avalanche_benchmark() -> Any:
    """Five experiences of two classes, for Avalanche's strategies."""
    from dreamer.interop.avalanche.benchmarks import quiet

    with quiet():
        from avalanche.benchmarks import nc_benchmark

    def dataset(x: Tensor, y: Tensor) -> TensorDataset:
        data: Any = TensorDataset(x, y)
        data.targets = y.tolist()
        return data

    x, y, test_x, test_y = _split()
    order = list(range(10))
    return nc_benchmark(dataset(x, y), dataset(test_x, test_y), 5, task_labels=False, fixed_class_order=order)


def _their_run(name: str) -> Spent:
    from dreamer.interop.avalanche.benchmarks import quiet

    benchmark = avalanche_benchmark()
    with quiet():
        from avalanche.evaluation.metrics import accuracy_metrics
        from avalanche.training import supervised
        from avalanche.training.plugins import EvaluationPlugin
    network, optimizer = learner(mlp, _stream())
    more: dict[str, Any] = {"mem_size": 500} if name == "Replay" else {}
    with quiet():
        strategy = getattr(supervised, name)(
            model=network, optimizer=optimizer, criterion=nn.CrossEntropyLoss(), train_mb_size=_BATCH, train_epochs=1,
            eval_mb_size=1000, evaluator=EvaluationPlugin(accuracy_metrics(experience=True), loggers=[]), **more,
        )  # fmt: skip
        watch = Watch()
        with as_without_lightning():
            for experience in benchmark.train_stream:
                strategy.train(experience)
                strategy.eval(benchmark.test_stream)
        return watch.spent()


# ---------------------------------------------------------------- the length of the stream


def _length_cases() -> Iterator[Case]:
    goal = Goal(1 / 1.03, "at most 3 % more")
    nights = _Course("memories")
    for recipe, kind, course in (
        ("er", "wake", _Course("er")),
        ("memories", "nrem", nights),
        ("memories", "rem", nights),
    ):
        yield Case(f"late_{kind}", f"a step of {kind} in experiences 91 to 100 (recipe `{recipe}`)", "step",
                   "the same run's in experiences 3 to 12", functools.partial(course.half, kind, "late"),
                   functools.partial(course.half, kind, "early"), goal, rounds=3, warm_up=False)  # fmt: skip
    for length in _LENGTHS[1:]:
        yield Case(f"runs_{length}", f"a run of {length} experiences of 16 steps (recipe `er`)", "step",
                   f"a run of {_LENGTHS[0]}", functools.partial(_run_of, length),
                   functools.partial(_run_of, _LENGTHS[0]), rounds=3, warm_up=False)  # fmt: skip


class _Course:
    """Early and late steps of the same run; whichever is wanted first makes it."""

    def __init__(self, recipe: str):
        self.recipe = recipe
        self._pending: list[tuple[str, str, Spent]] = []

    def half(self, kind: str, which: str) -> Spent:
        """What a step of a kind of stage takes, early or late in the run."""
        while True:
            for found in self._pending:
                if found[:2] == (kind, which):
                    self._pending.remove(found)
                    return found[2]
            self._run()

    def _run(self) -> None:
        stream, clock = _spots(_LENGTHS[-1]), bench.Clock(skipped=8)
        module = run_config(config.read("digits", self.recipe)).build_module(stream)
        for stage in (module.wake, *module.night):
            stage.steps = 32
        fit(module, stream, clock)
        for kind, seconds in clock.per_step.items():
            for which, some in (("early", slice(2, 12)), ("late", slice(-10, None))):
                # CPU seconds at the machine's best pace; there are no others
                self._pending.append((kind, which, Spent(*[statistics.median(seconds[some])] * 2)))


@functools.cache
def _spots(experiences: int) -> Stream:
    return bench.spots(experiences, per_class=512)


def _run_of(experiences: int) -> Spent:
    stream = _spots(experiences)
    module = run_config(config.read("digits", "er", "wake.steps=16")).build_module(stream)
    watch = Watch()
    fit(module, stream)
    return watch.spent(16 * experiences)


# ---------------------------------------------------------------- processes


def _our_digits() -> Spent:
    with tempfile.TemporaryDirectory() as folder:
        words = ["run", "digits", "fine_tune", "--quiet", f"out={folder}/run"]
        return _process("dreamer", words)[0]


def _bare_digits() -> Spent:
    return _process("benchmarks.speed.child", ["digits"])[0]


def _peak(which: str) -> Spent:
    """Most memory of a process in MB; of the bare one, what is allowed by it."""
    megabytes = _process("benchmarks.speed.child", [which])[1] / 1e6
    allowed = 31.4 + 1.5 * megabytes if which == "bare" else megabytes
    return Spent(allowed, allowed)


def _process(module: str, words: Sequence[str]) -> tuple[Spent, int]:
    """What a process takes, and the most bytes that it held."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *words],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{module} {' '.join(words)} ended with {child.returncode}")
    # Linux counts in units of 1024 bytes
    spent = Spent(usage.ru_utime + usage.ru_stime, time.perf_counter() - began)
    return spent, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

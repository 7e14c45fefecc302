"""A run that is killed anywhere and resumed ends as if it had not been: bit-equal matrices and weights."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.generators import VAE
from dreamer.memory import Reservoir
from dreamer.networks import MLP
from dreamer.objectives import CrossEntropy, LogitMatching
from dreamer.perturbations import Adversarial
from dreamer.plasticity import Downscaling, MovingAverage, SynapticIntelligence
from dreamer.schedules import SleepPressure
from dreamer.stages import NREM, REM, Wake
from dreamer.streams.base import Stream
from dreamer.training import evaluation
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the project catches it."""


class KillAt(pl.Callback):
    """Dies at the n-th call of a hook."""

    def __init__(self, hook: str, call: int):
        self.left = call
        setattr(self, hook, self._count)

    def _count(self, *args: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


def every_step(directory: Path) -> pl.Callback:
    return ModelCheckpoint(directory, every_n_train_steps=1, save_last=True, save_top_k=0)


def every_third_step_and_stage(directory: Path) -> pl.Callback:
    return RunCheckpoint(directory, every_n_steps=3)


def undisturbed() -> tuple[WakeSleepModule, pl.Trainer]:
    stream = tiny_stream()
    module = tiny_module(stream)
    return module, train(module, stream)


@pytest.fixture(scope="module")
def reference() -> WakeSleepModule:
    return undisturbed()[0]


def rows(module: WakeSleepModule) -> list[dict[str, Any]]:
    return module.results()["accuracy_matrix"]["rows"]


def assert_same_run(module: WakeSleepModule, reference: WakeSleepModule) -> None:
    assert rows(module) == rows(reference)
    ours, theirs = module.state_dict(), reference.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name
    ours, theirs = module.results(), reference.results()
    assert ours["complete"] and theirs["complete"]
    assert ours["cost"]["samples"] == theirs["cost"]["samples"]
    assert ours["cost"]["optimizer_steps"] == theirs["cost"]["optimizer_steps"]


def killed_and_resumed(
    directory: Path, checkpoint: Callable[[Path], pl.Callback], hook: str, call: int, **options: Any
) -> WakeSleepModule:
    stream = tiny_stream()
    with pytest.raises(Killed):
        train(tiny_module(stream), stream, callbacks=[checkpoint(directory), KillAt(hook, call)], **options)
    last = directory / "last.ckpt"
    module = tiny_module(stream)
    train(module, stream, str(last) if last.exists() else None, callbacks=[checkpoint(directory)], **options)
    return module


def total_steps() -> int:
    stream = tiny_stream()
    return sum(tiny_module(stream).plan(stream).steps().values())


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of every step of one run."""
    folder = tmp_path_factory.mktemp("checkpoints")
    saves = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    train(tiny_module(tiny_stream()), tiny_stream(), callbacks=[saves])
    return folder


@pytest.mark.parametrize("step", range(1, total_steps() + 1))
def test_resumes_bit_equal_from_a_checkpoint_at_every_step(
    step: int, checkpoints: Path, reference: WakeSleepModule
) -> None:
    module = tiny_module(tiny_stream())
    saves = ModelCheckpoint(checkpoints, every_n_train_steps=1, save_top_k=0)
    train(module, tiny_stream(), str(checkpoints / f"step={step}.ckpt"), callbacks=[saves])
    assert_same_run(module, reference)


@pytest.mark.parametrize("call", [0, 1, 5, 12, 21])
def test_killed_at_a_step_it_resumes_bit_equal(call: int, tmp_path: Path, reference: WakeSleepModule) -> None:
    module = killed_and_resumed(tmp_path, every_step, "on_train_batch_start", call)
    assert_same_run(module, reference)


def adversarial_module(stream: Stream) -> WakeSleepModule:
    """What is replayed follows the learner, awake and asleep, though three steps might be drawn at once."""
    against: Any = {"perturbations": (Adversarial(),), "steps_per_dream": 3}
    wake = Wake(
        steps=4, batch_size=9, replay=8, source="generator", replay_perturbations=(Adversarial(),), steps_per_dream=3
    )
    return tiny_module(stream, wake=wake, night=[REM(4, 8, source="generator", **against)])


@pytest.mark.parametrize("step", range(4, 16))
def test_resumes_bit_equal_where_dreams_are_perturbed_against_the_learner(step: int, tmp_path: Path) -> None:
    stream = tiny_stream()
    saves = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    reference, module = adversarial_module(stream), adversarial_module(stream)
    train(reference, stream, callbacks=[saves])
    saves = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=0)
    train(module, stream, str(tmp_path / f"step={step}.ckpt"), callbacks=[saves])
    assert_same_run(module, reference)


@pytest.mark.parametrize(
    "hook", ["on_train_batch_start", "on_train_batch_end", "on_train_epoch_start", "on_train_epoch_end"]
)
@pytest.mark.parametrize("call", [0, 2, 5, 8])
def test_resumes_bit_equal_from_sparse_checkpoints(
    hook: str, call: int, tmp_path: Path, reference: WakeSleepModule
) -> None:
    module = killed_and_resumed(tmp_path, every_third_step_and_stage, hook, call)
    assert_same_run(module, reference)


@pytest.mark.parametrize("checkpoint", [every_step, every_third_step_and_stage])
@pytest.mark.parametrize("number", [0, 1, 2, 5, 6])
def test_an_evaluation_that_was_killed_is_not_skipped(
    number: int,
    checkpoint: Callable[[Path], pl.Callback],
    tmp_path: Path,
    reference: WakeSleepModule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accuracy = evaluation.score
    calls = 0

    def dying(*args: Any) -> float | None:
        nonlocal calls
        calls += 1
        if calls > 6 * number + 2:
            raise Killed
        return accuracy(*args)

    stream = tiny_stream()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(evaluation, "score", dying)
        train(tiny_module(stream), stream, callbacks=[checkpoint(tmp_path)])
    module = tiny_module(stream)
    last = tmp_path / "last.ckpt"
    train(module, stream, str(last) if last.exists() else None, callbacks=[checkpoint(tmp_path)])
    assert_same_run(module, reference)


@pytest.mark.parametrize("steps", [1, 7, 8, 10, 13, 14, 20])
def test_a_run_cut_by_max_steps_resumes(steps: int, tmp_path: Path, reference: WakeSleepModule) -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    train(module, stream, callbacks=[every_step(tmp_path)], max_steps=steps)
    assert module.global_step == steps
    assert not module.results()["complete"]
    module = tiny_module(stream)
    train(module, stream, str(tmp_path / "last.ckpt"), callbacks=[every_step(tmp_path)])
    assert_same_run(module, reference)


@pytest.mark.parametrize("call", [3, 8, 11])
def test_resumes_with_max_steps_and_accumulation(call: int, tmp_path: Path) -> None:
    stream = tiny_stream()
    options: dict[str, Any] = {"max_steps": 15, "accumulate_grad_batches": 2}
    undisturbed = tiny_module(stream)
    train(undisturbed, stream, **options)
    module = killed_and_resumed(tmp_path, every_step, "on_train_batch_start", call, **options)
    assert rows(module) == rows(undisturbed)
    ours, theirs = module.state_dict(), undisturbed.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def logged(directory: Path, killed_at: int | None) -> list[dict[str, str]]:
    """What the csv logger holds after a run that was killed once or never."""
    stream = tiny_stream()
    lines: list[dict[str, str]] = []
    for part in range(1 if killed_at is None else 2):
        kill = [KillAt("on_train_batch_start", killed_at)] if killed_at is not None and part == 0 else []
        last = directory / "last.ckpt"
        logger = CSVLogger(directory, name=str(part), version="", flush_logs_every_n_steps=1)
        callbacks = [every_step(directory), *kill]
        with contextlib.suppress(Killed):
            train(tiny_module(stream), stream, str(last) if last.exists() else None, logger=logger, callbacks=callbacks)
        with (directory / str(part) / "metrics.csv").open() as file:
            lines += [{key: value for key, value in line.items() if value} for line in csv.DictReader(file)]
    return lines


def test_a_resumed_run_logs_the_same_steps(tmp_path: Path) -> None:
    whole = logged(tmp_path / "whole", None)
    assert len(whole) > 30
    assert whole == logged(tmp_path / "parts", 11)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    stream = tiny_stream()
    train(tiny_module(stream), stream, callbacks=[every_step(tmp_path)], max_steps=3)
    with pytest.raises(ValueError, match="another run"):
        train(tiny_module(stream, seed=1), stream, str(tmp_path / "last.ckpt"))


def watchful_module(stream: Stream) -> WakeSleepModule:
    """Everything that keeps a state: open nights, weights that are followed, stored logits, a rehearsing generator."""
    torch.manual_seed(0)
    return WakeSleepModule(
        MLP(stream.sample_shape, stream.num_classes, (8,)),
        wake=Wake(
            epochs=2, batch_size=9, replay=6, source="memory", replay_objectives=(LogitMatching(), CrossEntropy())
        ),
        night=[
            NREM(2, 8, source="generator", anneal=0.1),
            REM(2, 8, source="memory", teacher="average", from_scratch=False),
        ],
        memory=Reservoir(10, logits=True),
        generator=VAE(stream.sample_shape, stream.num_classes, 3, (8,)),
        plasticity=[Downscaling(), SynapticIntelligence(), MovingAverage(rate=0.5)],
        schedule=SleepPressure(capacity=6.0, check_every=1, least=1, most=None),
        evaluated="average",
    )


@pytest.fixture(scope="module")
def watchful() -> WakeSleepModule:
    stream = tiny_stream()
    module = watchful_module(stream)
    train(module, stream)
    return module


def test_the_data_driven_run_takes_some_open_nights_and_drops_others(watchful: WakeSleepModule) -> None:
    stream = tiny_stream()
    most = watchful_module(stream).plan(stream).nights
    assert 1 < watchful.hypnogram.nights < most
    assert not any(stage.tentative for stage in watchful.hypnogram)


@pytest.mark.parametrize("call", range(0, 24, 3))
def test_a_data_driven_run_resumes_bit_equal(call: int, tmp_path: Path, watchful: WakeSleepModule) -> None:
    stream = tiny_stream()
    with pytest.raises(Killed):
        train(watchful_module(stream), stream, callbacks=[every_step(tmp_path), KillAt("on_train_batch_start", call)])
    module = watchful_module(stream)
    last = tmp_path / "last.ckpt"
    train(module, stream, str(last) if last.exists() else None, callbacks=[every_step(tmp_path)])
    assert_same_run(module, watchful)

"""The direct loop: the same run as through Lightning's own, and Lightning's own where somebody listens."""

from __future__ import annotations

import os
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from dreamer.loggers.csv import ResumableCSVLogger
from dreamer.training import direct
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train


class Ways(pl.Callback):
    """Notes, stage by stage, whether the loop goes the direct way."""

    def __init__(self) -> None:
        self.alone: list[bool] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.alone.append(trainer.fit_loop.epoch_loop._alone)  # type: ignore[attr-defined]


class Gradients(pl.Callback):
    """Looks at gradients before they are zeroed and when they are there."""

    def __init__(self) -> None:
        self.seen = 0
        self.left = 0

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.left += any(p.grad is not None for group in optimizer.param_groups for p in group["params"])

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        self.seen += 1


def outcome(tmp_path: Any, **options: Any) -> tuple[WakeSleepModule, pl.Trainer, str]:
    stream = tiny_stream()
    module = tiny_module(stream)
    trainer = train(module, stream, logger=ResumableCSVLogger(tmp_path), **options)
    return module, trainer, next(tmp_path.glob("logs/*/metrics.csv")).read_text()


def test_both_ways_end_with_the_same_weights_rows_logs_and_counters(tmp_path, monkeypatch):
    ways = Ways(), Ways()
    one, first, logged = outcome(tmp_path / "direct", callbacks=[ways[0]])
    monkeypatch.setattr(direct, "nobody_listens", lambda trainer: False)
    two, second, own = outcome(tmp_path / "own", callbacks=[ways[1]])
    assert all(ways[0].alone) and not any(ways[1].alone) and len(ways[0].alone) == 9
    assert logged == own and "wake/loss" in logged
    assert one.ledger.rows == two.ledger.rows and first.global_step == second.global_step
    weights = two.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())
    assert first.fit_loop.state_dict() == second.fit_loop.state_dict()


def test_a_callback_that_looks_at_gradients_finds_them(tmp_path):
    ways, gradients = Ways(), Gradients()
    _, trainer, _ = outcome(tmp_path, callbacks=[ways, gradients])
    assert not any(ways.alone)
    assert gradients.seen == trainer.global_step and gradients.left == trainer.global_step - 1


@pytest.mark.parametrize(
    "options",
    [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.5}, {"profiler": "simple"}, {"precision": "bf16-mixed"}],
    ids=str,
)
def test_what_lightning_does_within_a_step_is_left_to_it(tmp_path, options):
    ways = Ways()
    outcome(tmp_path, callbacks=[ways], **options)
    assert not any(ways.alone)


def test_a_module_with_a_backward_of_its_own_keeps_it():
    calls = []

    class Own(WakeSleepModule):
        def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
            calls.append(float(loss.detach()))
            super().backward(loss, *args, **kwargs)

    stream = tiny_stream()
    plain = tiny_module(stream)
    module = Own(plain.network, plain.wake, plain.night, plain.memory, plain.generator)
    trainer = train(module, stream)
    assert len(calls) == trainer.global_step > 0


def test_torch_is_spared_the_search_for_devices_and_told_again_afterwards(monkeypatch):
    found = []

    class Look(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            found.append(os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"))

    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    train(tiny_module(tiny_stream()), tiny_stream(), callbacks=[Look()])
    assert set(found) == {None}
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"

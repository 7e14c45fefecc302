"""Trainers as people use them: barebones, with fractions, copied and pickled after a fit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from dreamer import NREM, SleepCallback
from dreamer.generators import ClassConditionalVAE
from dreamer.training.data import StreamDataModule
from dreamer.training.trainer import optimizers_in
from tests.callbacks.test_sleep import QUIET, samples
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


ADAM = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
FALLING = torch.optim.lr_scheduler.ConstantLR(ADAM)


@pytest.mark.parametrize(
    ("configured", "count"),
    [
        (ADAM, 1),
        ([ADAM], 1),
        ((ADAM, ADAM), 2),
        (([ADAM], [FALLING]), 1),
        ([[ADAM], [{"scheduler": FALLING, "interval": "step"}]], 1),
        ({"optimizer": ADAM, "lr_scheduler": FALLING}, 1),
        ([{"optimizer": ADAM}, {"optimizer": ADAM}], 2),
        (None, 0),
    ],
)
def test_optimizers_are_found_in_all_that_configure_optimizers_may_give(configured: Any, count: int) -> None:
    assert optimizers_in(configured) == [ADAM] * count


def test_a_barebones_trainer_runs_the_whole_plan() -> None:
    stream = tiny_stream(2)
    module = tiny_module(stream)
    trainer = pl.Trainer(barebones=True, accelerator="cpu", max_epochs=-1)
    trainer.fit(module, datamodule=StreamDataModule(stream))
    assert module.results()["complete"]


def test_a_fraction_that_leaves_nothing_of_a_stage_is_refused_at_the_start() -> None:
    stream = tiny_stream(2)
    module = tiny_module(stream)
    with pytest.raises(ValueError, match=r"limit_train_batches=0.3 leaves nothing of the 2 steps of stage 1 \(nrem\)"):
        train(module, stream, limit_train_batches=0.3)
    assert module.global_step == 0
    assert train(module, stream, limit_train_batches=0.5).global_step == 2 * (2 + 1 + 1)


class Plain(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.layer(batch[0].flatten(1)), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def after_a_fit(generator: bool = False) -> pl.Trainer:
    made = ClassConditionalVAE((1, 8, 8), 10, latent_dim=2, hidden=[8]) if generator else None
    trainer = pl.Trainer(max_epochs=2, callbacks=[SleepCallback([NREM(3)], generator=made, schedule=1)], **QUIET)
    trainer.fit(Plain(), DataLoader(samples(range(2)), batch_size=16))
    return trainer


@pytest.mark.parametrize("generator", [False, True])
@pytest.mark.parametrize("again", [copy.deepcopy, pickled])
def test_a_trainer_that_slept_can_be_copied_and_trains_on(again: Callable[[Any], Any], generator: bool) -> None:
    trainer = after_a_fit(generator)
    copied = again(trainer)
    copied.fit_loop.max_epochs = 4
    copied.fit(copied.lightning_module, DataLoader(samples(range(2)), batch_size=16))
    assert (trainer.global_step, copied.global_step) == (2 * 5, 4 * 5)


@pytest.mark.parametrize("again", [copy.deepcopy, pickled])
def test_a_trainer_of_a_run_can_be_copied(again: Callable[[Any], Any]) -> None:
    stream = tiny_stream(2)
    module = tiny_module(stream)
    copied = again(train(module, stream))
    assert copied.lightning_module.ledger.rows == module.ledger.rows


def test_what_a_checkpoint_holds_of_a_day_is_bounded_in_bytes_and_gone_at_night() -> None:
    held: dict[bool, int] = {}

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            state = sleep.state_dict()["ranks"][0]["generator"]["day"]
            held[sleep.asleep] = max(held.get(sleep.asleep, 0), state["size"])

    generator = ClassConditionalVAE((1, 8, 8), 10, latent_dim=2, hidden=[8])
    sleep = SleepCallback([NREM(3)], generator=generator, schedule=1, day_bytes=5 * 4 * 64 + 1)
    trainer = pl.Trainer(max_epochs=1, callbacks=[sleep, Look()], **QUIET)
    trainer.fit(Plain(), DataLoader(samples(range(2)), batch_size=8))
    assert held == {False: 5, True: 0}

"""Learning rates over days and nights: what is planned, and what runs out."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from dreamer import NREM, SleepCallback
from tests.callbacks.test_sleep import fit, make_module, samples
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


def one_cycle(module: Any, total: int | None) -> Any:
    """The module with a OneCycleLR, for the steps that the Trainer estimates where none are given."""

    def configure() -> Any:
        optimizer = torch.optim.Adam(module.parameters())
        module.total = int(module.trainer.estimated_stepping_batches) if total is None else total
        planned = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=module.total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": planned, "interval": "step"}}

    module.configure_optimizers = configure
    return module


def fixed() -> DataLoader:
    return DataLoader(samples(range(2)), batch_size=16)


class Tasks(pl.LightningDataModule):
    """Each pair of classes for several epochs."""

    def __init__(self, each: int) -> None:
        super().__init__()
        self.each = each

    def train_dataloader(self) -> DataLoader:
        first = 2 * (self.trainer.current_epoch // self.each)
        return DataLoader(samples(range(first, first + 2)), batch_size=16)


@pytest.mark.parametrize("schedule", [None, 1, 2])
def test_on_data_that_stay_the_same_the_steps_planned_are_those_taken(schedule: int | None) -> None:
    module = one_cycle(make_module(pl), None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no night came")
        fit(
            pl,
            SleepCallback([NREM(4)], schedule=schedule),
            module,
            fixed(),
            max_epochs=6,
            reload_dataloaders_every_n_epochs=0,
        )
    assert module.total == module.trainer.global_step == 2 * 6 + (0 if schedule is None else 4 * 6 // schedule)


def test_where_a_task_lasts_several_epochs_too() -> None:
    module = one_cycle(make_module(pl), None)
    fit(pl, SleepCallback([NREM(6)]), module, Tasks(2), max_epochs=6, reload_dataloaders_every_n_epochs=2)
    assert module.total == module.trainer.global_step == 2 * 6 + 6 * 4


def test_steps_computed_by_hand_are_refused_at_the_start() -> None:
    module = one_cycle(make_module(pl), 12)
    with pytest.raises(
        ValueError, match="OneCycleLR is made for 12 steps, but this training takes 30 steps, nights incl"
    ):
        fit(
            pl, SleepCallback([NREM(3)], schedule=1), module, fixed(), max_epochs=6, reload_dataloaders_every_n_epochs=0
        )
    assert module.trainer.global_step == 0


@pytest.mark.filterwarnings("ignore:no night came")
def test_where_nights_are_only_possible_it_warns() -> None:
    module = one_cycle(make_module(pl), 12)
    with pytest.warns(UserWarning, match="OneCycleLR is made for 12 steps, but this training can take up to"):
        fit(pl, SleepCallback([NREM(1)]), module, Tasks(9), max_epochs=6)
    assert module.trainer.global_step == 12


def test_a_run_of_ours_says_it_too() -> None:
    stream = tiny_stream()
    planned = sum(stage.steps for stage in tiny_module(stream).plan(stream))
    train(one_cycle(tiny_module(stream), planned), stream)
    with pytest.raises(ValueError, match=f"takes {planned} steps, all stages included: expected total_steps={planned}"):
        train(one_cycle(tiny_module(stream), planned - 1), stream)

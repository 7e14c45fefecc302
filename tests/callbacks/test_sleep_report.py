"""What the callback prints: its plan, and what nights have changed."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from dreamer import NREM, SleepCallback
from tests.callbacks.test_sleep import fit, make_module, same, samples

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


class Data(pl.LightningDataModule):
    """Two classes a time, and validation data of all of them."""

    def train_dataloader(self) -> Any:
        first = 2 * self.trainer.current_epoch
        return DataLoader(samples(range(first, first + 2)), batch_size=16, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(samples(range(6)), batch_size=16, shuffle=True)


def validated() -> Any:
    module = make_module(pl)
    module.validation_step = lambda batch, batch_idx: None
    return module


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text.removeprefix("SleepCallback: ") for text in caplog.messages if text.startswith("SleepCallback")]


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).propagate = True
        caplog.set_level(logging.INFO, name)


@pytest.mark.parametrize(
    ("schedule", "plan"),
    [
        (2, "a night of 3 nrem steps comes after 1 of 3 epochs; they add 3 batches to 6 batches"),
        (None, "a night of 3 nrem steps comes perhaps after 2 of 3 epochs, decided on the way; they add up to 6"),
        (5, "a night of 3 nrem steps comes after 0 of 3 epochs"),
    ],
)
def test_the_plan_is_printed_first(schedule: int | None, plan: str, caplog: pytest.LogCaptureFixture) -> None:
    fit(pl, SleepCallback([NREM(3)], schedule=schedule))
    assert lines(caplog)[0].startswith(plan)


def test_each_night_says_what_it_changed_on_validation_data(caplog: pytest.LogCaptureFixture) -> None:
    fit(pl, SleepCallback([NREM(3)], schedule=1), validated(), Data(), limit_val_batches=1.0)
    told = [re.fullmatch(r"night (\d) of 3 steps is over; accuracy .* ([\d.]+) % before.* ([\d.]+) % after it", line)
            for line in lines(caplog)[1:]]  # fmt: skip
    assert [each and int(each[1]) for each in told] == [0, 1, 2]


class Endless(IterableDataset[Any]):
    """Validation data whose length nobody knows."""

    def __iter__(self) -> Any:
        return iter(samples(range(6)))


@pytest.mark.parametrize("several", [False, True])
def test_validation_data_may_have_no_length(several: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Stream(Data):
        def val_dataloader(self) -> Any:
            loader = DataLoader(Endless(), batch_size=16)
            return {"first": loader, "second": loader} if several else loader

    module = validated()
    module.validation_step = lambda batch, batch_idx, dataloader_idx=0: None
    fit(pl, SleepCallback([NREM(3)], schedule=1), module, Stream(), limit_val_batches=1.0, max_epochs=1)
    assert re.search(r"[\d.]+ % before it, [\d.]+ % after it", lines(caplog)[1])


def test_printing_changes_no_training(caplog: pytest.LogCaptureFixture) -> None:
    def trained(verbose: bool) -> Any:
        module = make_module(pl, dropout=0.3)
        module.validation_step = lambda batch, batch_idx: None
        torch.manual_seed(0)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        return fit(pl, SleepCallback([NREM(3)], schedule=1, verbose=verbose), module, Data(), limit_val_batches=1.0)

    one = trained(True)
    assert len(lines(caplog)) == 4
    two = trained(False)
    assert len(lines(caplog)) == 4
    assert same(one, two)

"""What Lightning's own tests found beside a callback whose nights never come."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import pytorch_lightning as pl
from lightning_utilities.core import rank_zero
from pytorch_lightning.tuner import Tuner
from torch import nn
from torch.utils.data import DataLoader

from dreamer import NREM, SleepCallback
from dreamer.callbacks.sleep.schedule import NEVER
from dreamer.schedules import Drift
from tests.callbacks.test_sleep import QUIET, fit, make_module, nights, same, samples

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


def test_a_search_for_a_learning_rate_has_no_nights(tmp_path: Any) -> None:
    """It puts all callbacks aside; the search ended after one epoch."""
    callback, module = SleepCallback([NREM(3)], schedule=1), make_module(pl)
    module.lr = 1e-3
    trainer = pl.Trainer(callbacks=[callback], **{**QUIET, "max_epochs": 10, "default_root_dir": tmp_path})
    data = DataLoader(samples(range(4)), batch_size=16)
    found = Tuner(trainer).lr_find(module, train_dataloaders=data, num_training=30, early_stop_threshold=None)
    assert found is not None and len(found.results["loss"]) == 30
    assert not len(callback.memory)
    module.seen.clear()
    trainer.fit(module, data)
    assert nights(module) == [(4, 3)] * 10


def test_a_batch_of_none_is_skipped_and_ends_no_day() -> None:
    class Gaps(DataLoader):
        def __iter__(self) -> Any:
            for number, batch in enumerate(super().__iter__()):
                yield None if number == 1 else batch

    module = make_module(pl)
    fit(pl, SleepCallback([NREM(2)], schedule=1), module, Gaps(samples(range(4)), batch_size=16), max_epochs=1)
    assert nights(module) == [(3, 2)]


def test_lines_of_lightning_come_from_the_trainers_own_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero, "log", logging.getLogger("another.tree"))
    fit(pl, SleepCallback([NREM(2)], schedule=1), max_epochs=1)
    assert rank_zero.log.name == "pytorch_lightning.utilities.rank_zero"


class Steps(pl.Callback):
    """Writes down the batches that an epoch counts, and the steps that it has made."""

    def __init__(self) -> None:
        self.found: list[tuple[float, int]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.found.append((trainer.num_training_batches, trainer.global_step))


@pytest.mark.parametrize("fast_dev_run", [False, 2])
def test_averaged_weights_get_their_epoch_for_batch_norm(fast_dev_run: int) -> None:
    """That epoch counts a batch more than it has, and ``fast_dev_run`` ends before it."""

    def averaged(*callbacks: Any) -> tuple[Any, list[Any]]:
        module, steps = make_module(pl), Steps()
        module.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64))
        average = pl.callbacks.StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=1)
        fit(pl, None, module, callbacks=[average, *callbacks, steps], fast_dev_run=fast_dev_run)
        return module, steps.found

    plain, quiet = averaged(), averaged(SleepCallback(schedule=NEVER))
    assert quiet[1] == plain[1]
    assert len(plain[1]) == (1 if fast_dev_run else 4)
    assert same(quiet[0], plain[0])


def test_validation_by_the_clock_goes_on_beside_nights() -> None:
    module, validations = make_module(pl), []
    module.validation_step = lambda batch, batch_idx: validations.append(module.global_step)
    loader = DataLoader(samples(range(4)), batch_size=16)
    module.val_dataloader = lambda: loader
    options = {"val_check_interval": "00:00:00:00", "limit_val_batches": 1, "num_sanity_val_steps": 0, "max_epochs": 2}
    fit(pl, SleepCallback([NREM(2)], schedule=1), module, loader, **options)
    assert nights(module) == [(4, 2), (4, 2)]
    assert validations == list(range(1, 13))


def test_an_empty_loader_is_skipped() -> None:
    """With a limit of steps alone, epochs without any went on for ever."""
    module = fit(pl, SleepCallback([NREM(2)], schedule=1), None, [], max_epochs=3)
    assert module.seen == [] and module.trainer.current_epoch == 0


class Days(pl.LightningDataModule):
    """Two new classes a day; days of two, three and two batches."""

    def train_dataloader(self) -> DataLoader:
        epoch = self.trainer.current_epoch
        return DataLoader(samples(range(2 * epoch, 2 * epoch + 2), per_class=(16, 24, 16)[epoch]), batch_size=16)


@pytest.mark.parametrize(("schedule", "at"), [(None, 2), (None, 9), (Drift(), 2), (NEVER, 2), (1, 6)])
def test_resumed_from_behind_the_last_batch_of_an_epoch_the_next_is_whole(
    tmp_path: Any, schedule: Any, at: int
) -> None:
    """Lightning takes the batches of the epoch that is over for those of the next, unless it counts as many."""

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == at:
                trainer.save_checkpoint(tmp_path / "at.ckpt")

    def run(*callbacks: Any, **options: Any) -> Any:
        callback = SleepCallback([NREM(4, batch_size=8)], schedule=copy.deepcopy(schedule))
        return fit(pl, callback, make_module(pl), Days(), max_epochs=3, callbacks=[*callbacks], **options)

    whole = run(Save())
    again = run(ckpt_path=tmp_path / "at.ckpt")
    assert again.trainer.global_step == whole.trainer.global_step
    assert same(whole, again)

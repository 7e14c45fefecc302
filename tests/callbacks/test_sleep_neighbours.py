"""What Lightning's own tests found beside a callback whose nights never come."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import pytorch_lightning as pl
from lightning_utilities.core import rank_zero
from pytorch_lightning.tuner import Tuner
from torch.utils.data import DataLoader

from dreamer import NREM, SleepCallback
from tests.callbacks.test_sleep import QUIET, fit, make_module, nights, samples

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

"""A night that did harm on validation data is undone, where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from dreamer import NREM, OwnText, SleepCallback
from tests.callbacks.test_sleep import fit, make_module, same
from tests.callbacks.test_sleep_report import Data, heard, lines
from tests.helpers.tiny_llama import language_module, llama, loader, tokeniser

__all__ = ["heard"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


class Harm(pl.Callback):
    """Keeps the weights of the evening, and spoils them at every step of some nights."""

    def __init__(self, sleep: SleepCallback, nights: tuple[int, ...]):
        self.sleep = sleep
        self.nights = nights
        self.evenings: list[dict[str, Any]] = []
        self.mornings: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        state = self.sleep.state
        if self.sleep.asleep and state.trained == state.awake:
            self.evenings.append(self._now(trainer, module))

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if self.sleep.asleep and self.sleep.state.nights - 1 in self.nights:
            with torch.no_grad():
                for weight in module.parameters():
                    if weight.requires_grad:
                        weight.mul_(-1.5).add_(0.5)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.mornings.append(self._now(trainer, module))

    def _now(self, trainer: Any, module: Any) -> dict[str, Any]:
        state = trainer.optimizers[0].state_dict()["state"]
        moments = {str(key): value.clone() for key, one in state.items() for value in one.values()}
        return {**{name: value.clone() for name, value in module.state_dict().items()}, **moments}


def slept(
    nights: tuple[int, ...], ckpt: str | None = None, stop: int = -1, **options: Any
) -> tuple[Harm, SleepCallback, Any]:
    module = make_module(pl)
    module.validation_step = lambda batch, batch_idx: None
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    sleep = SleepCallback([NREM(3)], schedule=1, **options)
    harm = Harm(sleep, nights)
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        max_epochs=3,
        max_steps=stop,
        callbacks=[harm, sleep],
        reload_dataloaders_every_n_epochs=1,
        enable_checkpointing=False,
        **quiet,
    )
    pl.seed_everything(1, verbose=False)
    trainer.fit(module, datamodule=Data(), ckpt_path=ckpt)
    return harm, sleep, trainer


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_night_that_did_harm_is_undone(caplog: pytest.LogCaptureFixture) -> None:
    harm, _, _ = slept((1,), roll_back=0.05)
    undone = [equal(*pair) for pair in zip(harm.evenings, harm.mornings, strict=True)]
    assert undone == [False, True, False]
    assert "night 1 is rolled back" in lines(caplog)
    harm, _, _ = slept((1,))
    assert not equal(harm.evenings[1], harm.mornings[1]), "off by default"


def test_without_harm_it_changes_no_training() -> None:
    one, two = (slept((), **options)[2].lightning_module for options in ({}, {"roll_back": 1.0, "verbose": False}))
    assert same(one, two)


def test_a_fit_that_is_stopped_within_the_night_undoes_it_when_it_is_resumed(tmp_path: Path) -> None:
    whole, _, trainer = slept((1,), roll_back=0.05)
    length = trainer.global_step // 3
    # two of the three steps of the second night
    _, _, stopped = slept((1,), stop=2 * length - 1, roll_back=0.05)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    resumed, _, _ = slept((1,), ckpt=str(tmp_path / "last.ckpt"), roll_back=0.05)
    # the day behind it is another: Lightning saves no random state of loaders
    assert equal(resumed.mornings[-2], whole.evenings[1])


def test_a_language_model_is_judged_by_its_loss(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("peft")
    module = language_module(pl, llama(lora=True))
    sleep = SleepCallback([NREM(2, 4)], generator=OwnText(tokeniser(), length=10, opening=3), roll_back=0.0)
    harm = Harm(sleep, (0,))
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=1, callbacks=[harm, sleep], enable_checkpointing=False, **quiet)
    trainer.fit(module, loader(), loader(1))
    assert equal(harm.evenings[0], harm.mornings[0])
    assert any("loss on validation data" in line for line in lines(caplog))
    assert "night 0 is rolled back" in lines(caplog)


def test_what_cannot_be_judged_is_refused() -> None:
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="roll_back"):
            SleepCallback(roll_back=wrong)
    with pytest.raises(ValueError, match="roll_back judges nights by validation data: expected a val_dataloader"):
        fit(pl, SleepCallback([NREM(3)], schedule=1, roll_back=0.0))

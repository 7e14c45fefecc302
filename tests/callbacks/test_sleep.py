"""Nights in a user's own training script."""

from __future__ import annotations

import collections
import functools
import importlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from dreamer import NREM, REM, SleepCallback, Wake
from dreamer.callbacks.sleep.batch_fields import BatchFields
from dreamer.callbacks.sleep.callback import define_axis
from dreamer.callbacks.sleep.lightning_trees import callback_bases, tree_of
from dreamer.callbacks.sleep.schedule import Day, sleeps
from dreamer.generators import ClassConditionalVAE
from dreamer.loop.batches import real_batches
from dreamer.memory import ClassBalanced, Herding, LatentCodes, Reservoir
from dreamer.networks import MLP
from dreamer.objectives import Distillation
from dreamer.perturbations import Adversarial, CropFlip, LatentMixing, Mixup, Noise
from dreamer.schedules import Boundary, Drift, EveryNSteps
from dreamer.streams import digits
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import train

TREES = ("pytorch_lightning", "lightning.pytorch")
NEVER = EveryNSteps(10**9, at_end=False)
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
# Lightning's advice on loaders and loops is meant for a reader of the terminal, in either tree
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::UserWarning:pytorch_lightning")


@pytest.fixture(params=TREES)
def pl(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


@pytest.fixture
def pl1() -> Any:
    """The tree that is always installed, where one is enough."""
    return importlib.import_module(TREES[0])


def samples(classes: range | None = None, per_class: int = 16) -> TensorDataset:
    """Some digits of the given classes."""
    stream = digits(1, shuffle=False)
    x, y = stream.experiences[0].train.x, stream.experiences[0].train.y
    rows = torch.cat([(y == label).nonzero().flatten()[:per_class] for label in classes or range(10)])
    return TensorDataset(x[rows], y[rows])


def make_module(pl: Any, manual: bool = False, dropout: float = 0.0, width: int = 64) -> Any:
    """A module that knows nothing of sleep, and writes down what it is shown."""

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = not manual
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout))
            self.head = nn.Linear(width, 10)
            self.seen: list[Any] = []
            self.lengths: list[float] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(x))

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor | None:
            x, y = (batch["a"] if isinstance(batch, dict) else batch)[:2]
            self.seen.append((self.current_epoch, asleep(self.trainer), sorted(set(y.tolist())), x.clone()))
            loss = functional.cross_entropy(self(x), y)
            self.log("train/loss", loss)
            if not manual:
                return loss
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
            return None

        def on_train_batch_end(self, *_: Any) -> None:
            self.lengths.append(self.trainer.num_training_batches)

        def configure_optimizers(self) -> Any:
            if manual:
                return [torch.optim.Adam(part.parameters(), lr=3e-3) for part in (self.body, self.head)]
            return torch.optim.Adam(self.parameters(), lr=3e-3)

    pl.seed_everything(0, verbose=False)
    return Module()


def asleep(trainer: Any) -> bool:
    return any(callback.asleep for callback in trainer.callbacks if isinstance(callback, SleepCallback))


def make_stream(pl: Any, batch_size: int = 16, per_class: int = 16, epochs_each: int = 1) -> Any:
    """A data module with two classes a time."""

    class Stream(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            first = 2 * (self.trainer.current_epoch // epochs_each)
            return DataLoader(samples(range(first, first + 2), per_class), batch_size=batch_size, shuffle=True)

    return Stream()


def nights(module: Any) -> list[tuple[int, int]]:
    """Batches awake and asleep in each epoch."""
    counted = collections.Counter((epoch, sleeping) for epoch, sleeping, _, _ in module.seen)
    return [(counted[epoch, False], counted[epoch, True]) for epoch in range(1 + max(epoch for epoch, _ in counted))]


def fit(pl: Any, callback: SleepCallback | None, module: Any = None, data: Any = None, **options: Any) -> Any:
    module = make_module(pl) if module is None else module
    resume = {"ckpt_path": options.pop("ckpt_path", None)}
    callbacks = [*([] if callback is None else [callback]), *options.pop("callbacks", [])]
    options = {**QUIET, "max_epochs": 3, "reload_dataloaders_every_n_epochs": 1, **options}
    trainer = pl.Trainer(callbacks=callbacks, **options)
    pl.seed_everything(1, verbose=False)
    data = make_stream(pl) if data is None else data
    trainer.fit(
        module, **({"datamodule": data} if hasattr(data, "prepare_data") else {"train_dataloaders": data}), **resume
    )
    return module


def accuracy(module: Any, classes: range) -> float:
    x, y = samples(classes, per_class=1000).tensors
    with torch.no_grad():
        return float((module.eval()(x).argmax(dim=1) == y).float().mean())


def same(one: Any, two: Any) -> bool:
    return all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


# -------------------------------------------------------------------- what it is for


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_what_it_would_have_forgotten(pl1: Any, seed: int) -> None:
    scores = []
    for callback in (None, SleepCallback(seed=seed)):
        pl1.seed_everything(seed, verbose=False)
        data = make_stream(pl1, batch_size=32, per_class=1000)
        scores.append(accuracy(fit(pl1, callback, data=data), range(6)))
    assert scores[0] < 0.5
    assert scores[1] > 0.85


def test_both_trees_give_the_same_numbers() -> None:
    modules = []
    for tree in TREES:
        modules.append(fit(importlib.import_module(tree), SleepCallback([NREM(6, batch_size=8), REM(3, batch_size=8)])))
    assert nights(modules[0]) == [(2, 0), (2, 9), (2, 9)]
    assert same(*modules)


def test_the_night_follows_the_day_with_dreams_of_all_classes(pl: Any) -> None:
    module = fit(pl, SleepCallback([NREM(4, batch_size=64)]))
    by_night = [set(labels) for epoch, sleeping, labels, _ in module.seen if sleeping and epoch == 2]
    by_day = [set(labels) for epoch, sleeping, labels, _ in module.seen if not sleeping and epoch == 2]
    assert set.union(*by_night) == set(range(6))
    assert set.union(*by_day) == {4, 5}
    order = [sleeping for epoch, sleeping, _, _ in module.seen if epoch == 2]
    assert order == sorted(order)


def test_a_night_without_stages_is_like_the_day(pl1: Any) -> None:
    module = fit(pl1, SleepCallback(), data=make_stream(pl1, batch_size=12, per_class=8), max_epochs=2)
    assert nights(module) == [(2, 0), (2, 200)]
    # the day's last batch has four samples
    assert {len(x) for _, sleeping, _, x in module.seen if sleeping} == {12}


def test_days_of_one_experience_are_each_slept_upon(pl1: Any) -> None:
    module = fit(pl1, SleepCallback([NREM(3)]), data=make_stream(pl1, epochs_each=2), max_epochs=4)
    assert nights(module) == [(2, 0), (2, 0), (2, 3), (2, 3)]


def test_data_that_stay_the_same_bring_no_night_and_that_is_said(pl1: Any) -> None:
    data = DataLoader(samples(), batch_size=40, shuffle=True)
    with pytest.warns(UserWarning, match=r"no night came in 3 days.*\(0, 1.*9\).*SleepCallback\(schedule=1\)"):
        module = fit(pl1, SleepCallback(), data=data)
    assert nights(module) == [(4, 0)] * 3


@pytest.mark.parametrize(("schedule", "expected"), [(1, [3, 3, 3, 3]), (2, [0, 3, 0, 3]), (3, [0, 0, 3, 0])])
def test_data_that_stay_the_same_are_slept_upon_every_n_epochs(pl: Any, schedule: int, expected: list[int]) -> None:
    data = DataLoader(samples(), batch_size=40)
    module = fit(pl, SleepCallback([NREM(3)], schedule=schedule), data=data, max_epochs=4)
    assert nights(module) == [(4, night) for night in expected]


def test_a_second_fit_remembers_the_first(pl1: Any) -> None:
    callback = SleepCallback([NREM(3, batch_size=32)])
    module = fit(pl1, callback, data=DataLoader(samples(range(2)), batch_size=16), max_epochs=1)
    module.seen.clear()
    fit(pl1, callback, module, DataLoader(samples(range(2, 4)), batch_size=16), max_epochs=1)
    assert nights(module) == [(2, 3)]
    assert {0, 1} <= set(module.seen[-1][2])


def test_with_the_same_batches_its_memory_is_that_of_a_run_of_ours(pl1: Any) -> None:
    stream = digits()
    ours = WakeSleepModule(MLP(stream.sample_shape, 10, (8,)), Wake(batch_size=16), [], memory=Reservoir(30))
    train(ours, stream)

    class Fed(pl1.LightningDataModule):
        def train_dataloader(self) -> Any:
            stage = next(each for each in ours.hypnogram if each.experience == self.trainer.current_epoch)
            given = real_batches(stage, 16, stream.experiences[stage.experience].train, ours.sleeper.info, 0)
            return DataLoader([(batch.x, batch.y) for batch in given], batch_size=None)

    callback = SleepCallback(memory=Reservoir(30), schedule=NEVER)
    fit(pl1, callback, data=Fed(), max_epochs=len(stream))
    rows, theirs = callback.memory.state_dict(), ours.memory.state_dict()
    assert rows["offered"] == theirs["offered"] == sum(len(each.train) for each in stream.experiences)
    assert all(torch.equal(rows["held"][name], theirs["held"][name]) for name in ("x", "y"))


@pytest.mark.parametrize("every_pass", [False, True])
def test_every_epoch_is_offered_for_its_data_may_be_new(pl1: Any, every_pass: bool) -> None:
    callback = SleepCallback(memory=Reservoir(30, every_pass=every_pass), schedule=NEVER)
    fit(pl1, callback, data=DataLoader(samples(), batch_size=40), max_epochs=2)
    assert callback.memory.offered == 2 * 160


# -------------------------------------------------------------------- the Trainer's own features


@pytest.mark.parametrize("limit", [1.0, 0.5])
def test_the_progress_bar_has_the_length_of_an_epoch(pl: Any, limit: float) -> None:
    data = make_stream(pl, batch_size=8)
    module = fit(pl, SleepCallback([NREM(3, batch_size=8)]), data=data, limit_train_batches=limit)
    day = int(4 * limit)
    assert nights(module) == [(day, 0), (day, 3), (day, 3)]
    # at its last batch at least
    assert [module.lengths[end - 1] for end in (day, 2 * day + 3, 3 * day + 6)] == [day, day + 3, day + 3]


def test_moving_averages_of_lightnings_own_go_on_in_the_night(pl: Any) -> None:
    if not hasattr(pl.callbacks, "EMAWeightAveraging"):
        pytest.skip("this Lightning has no moving averages")
    updates = []

    class Average(pl.callbacks.EMAWeightAveraging):
        def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
            updates.extend([] if step_idx is None else [step_idx])
            return bool(super().should_update(step_idx, epoch_idx))

    fit(pl, SleepCallback([NREM(3)]), callbacks=[Average()])
    assert len(set(updates)) == 12


def test_manual_optimisation_with_two_optimisers(pl: Any) -> None:
    module = fit(pl, SleepCallback([NREM(3, batch_size=8)]), make_module(pl, manual=True))
    assert nights(module) == [(2, 0), (2, 3), (2, 3)]
    assert module.trainer.global_step == 2 * 12


def test_learning_rates_that_are_planned_ahead_reach_to_the_end(pl1: Any) -> None:
    module = make_module(pl1)

    def configure() -> Any:
        optimizer = torch.optim.Adam(module.parameters())
        total = int(module.trainer.estimated_stepping_batches)
        planned = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": planned, "interval": "step"}}

    module.configure_optimizers = configure
    fit(pl1, SleepCallback([NREM(3)], schedule=2), module, max_epochs=4)
    assert nights(module) == [(2, 0), (2, 3), (2, 0), (2, 3)]


@pytest.mark.parametrize(("interval", "steps"), [("step", 12), ("epoch", 3)])
def test_learning_rates_follow_steps_of_day_and_night_or_epochs(pl: Any, interval: str, steps: int) -> None:
    module = make_module(pl)

    def configure() -> Any:
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        module.halving = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": module.halving, "interval": interval}}

    module.configure_optimizers = configure
    fit(pl, SleepCallback([NREM(3)]), module)
    assert module.trainer.global_step == 12
    assert module.halving.get_last_lr() == [0.5**steps]


def test_what_saves_comes_after_a_callback_that_was_appended_later(pl: Any, tmp_path: Path) -> None:
    module, sleep = make_module(pl), SleepCallback([NREM(3)], schedule=1)
    saves = pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    trainer = pl.Trainer(callbacks=[saves], max_epochs=1, **{**QUIET, "enable_checkpointing": True})
    trainer.callbacks.append(sleep)
    trainer.fit(module, DataLoader(samples(), batch_size=40))
    for step in range(1, 8):
        saved = torch.load(tmp_path / f"step={step}.ckpt", weights_only=True)
        assert saved["callbacks"]["SleepCallback"]["ranks"][0]["ledger"]["trained"] == step


def test_afterwards_the_trainer_validates_and_tests_without_a_night(pl: Any) -> None:
    module, callback = make_module(pl), SleepCallback([NREM(3)])
    module.validation_step = module.test_step = lambda batch, batch_idx: module.log("seen", float(len(batch[0])))
    fit(pl, callback, module)
    steps, slept = module.global_step, callback.state.slept
    data = DataLoader(samples(range(1)), batch_size=16)
    assert module.trainer.validate(module, data, verbose=False) == [{"seen": 16.0}]
    assert module.trainer.test(module, data, verbose=False) == [{"seen": 16.0}]
    assert (module.global_step, callback.state.slept) == (steps, slept) == (12, 6)


def test_validation_comes_after_the_night(pl1: Any) -> None:
    module, at = make_module(pl1), []
    module.validation_step = lambda batch, batch_idx: at.append(module.global_step)
    data = make_stream(pl1)
    data.val_dataloader = lambda: DataLoader(samples(range(1)), batch_size=16)
    fit(pl1, SleepCallback([NREM(3)]), module, data, num_sanity_val_steps=0)
    assert at == [2, 7, 12]


def test_sleep_is_logged_on_its_own_axis(pl: Any, tmp_path: Any) -> None:
    logger = importlib.import_module(f"{pl.__name__}.loggers").CSVLogger(tmp_path, name="", version="")
    fit(pl, SleepCallback([NREM(2)]), logger=logger, log_every_n_steps=1)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    slept = [(float(row["sleep/step"]), float(row["sleep/night"])) for row in rows if row["sleep/step"]]
    assert slept == [(1, 0), (2, 0), (3, 1), (4, 1)]
    assert sum(bool(row["train/loss"]) for row in rows) == 10


def test_wandb_gets_the_axis() -> None:
    axes = []
    run = SimpleNamespace(define_metric=lambda *names, **axis: axes.append((*names, axis)))
    logger = type("WandbLogger", (), {"experiment": run})()
    define_axis([logger])
    assert axes == [("sleep/*", {"step_metric": "sleep/step"})]


# -------------------------------------------------------------------- loaders of all kinds


class Flow(IterableDataset):
    """An online stream: two other classes each time it is read."""

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.read = 0
        if length is not None:
            # only a flow with a length may have the method
            self.__class__ = type("SizedFlow", (Flow,), {"__len__": lambda self: self.length})

    def __iter__(self) -> Any:
        first, self.read = 2 * (self.read % 5), self.read + 1
        yield from zip(*samples(range(first, first + 2)).tensors, strict=True)


@pytest.mark.parametrize(("length", "limit"), [(32, None), (None, None), (None, 3)])
def test_streams_of_known_and_unknown_length(pl: Any, length: int | None, limit: int | None) -> None:
    options = {"reload_dataloaders_every_n_epochs": 0, "limit_train_batches": limit}
    module = fit(pl, SleepCallback([NREM(3, batch_size=8)]), data=DataLoader(Flow(length), batch_size=8), **options)
    day = limit or 4
    assert nights(module) == [(day, 0), (day, 3), (day, 3)]
    assert module.trainer.global_step == 3 * day + 6
    if length is None and limit is None:
        assert set(module.lengths) == {math.inf}


def test_an_endless_stream_is_cut_into_days(pl: Any) -> None:
    class Endless(IterableDataset):
        def __iter__(self) -> Any:
            while True:
                yield from zip(*samples(range(4)).tensors, strict=True)

    options = {"reload_dataloaders_every_n_epochs": 0, "limit_train_batches": 5}
    module = fit(pl, SleepCallback([NREM(3)], schedule=1), data=DataLoader(Endless(), batch_size=8), **options)
    assert nights(module) == [(5, 3)] * 3


def test_a_loader_that_ends_before_its_length_is_slept_upon_too(pl1: Any) -> None:
    data = DataLoader(Flow(48), batch_size=8)
    module = fit(pl1, SleepCallback([NREM(3, batch_size=8)]), data=data, reload_dataloaders_every_n_epochs=0)
    assert nights(module) == [(4, 0), (4, 3), (4, 3)]


def test_loaders_of_the_module_itself_and_several_at_once(pl: Any) -> None:
    module = make_module(pl)
    loader = importlib.import_module(f"{pl.__name__}.utilities").CombinedLoader

    def loaders() -> Any:
        first = 2 * module.current_epoch
        one = DataLoader(samples(range(first, first + 2)), batch_size=16)
        two = DataLoader(TensorDataset(torch.zeros(50, 3)), batch_size=10)
        return loader({"a": one, "b": two}, "min_size")

    module.train_dataloader = loaders
    where = {"inputs": lambda batch: batch["a"][0], "targets": lambda batch: batch["a"][1]}
    options = {**QUIET, "max_epochs": 2, "reload_dataloaders_every_n_epochs": 1}
    pl.Trainer(callbacks=[SleepCallback([NREM(3, batch_size=8)], **where)], **options).fit(module)
    assert nights(module) == [(2, 0), (2, 3)]


def test_a_day_that_the_module_cuts_short_has_no_night(pl1: Any) -> None:
    module = make_module(pl1)
    module.on_train_batch_start = lambda batch, batch_idx: -1 if (module.current_epoch, batch_idx) == (1, 1) else None
    callback = SleepCallback([NREM(3, batch_size=8)])
    fit(pl1, callback, module, make_stream(pl1, batch_size=8))
    assert nights(module) == [(4, 0), (1, 0), (4, 3)]
    assert callback.state.seen == list(range(6))


# -------------------------------------------------------------------- what must not change


def test_a_callback_that_never_sleeps_changes_nothing(pl: Any) -> None:
    modules = [fit(pl, callback, make_module(pl, dropout=0.5)) for callback in (None, SleepCallback(schedule=NEVER))]
    assert modules[0].lengths == modules[1].lengths
    assert same(*modules)


def test_the_same_seed_gives_the_same_numbers(pl1: Any) -> None:
    night = [NREM(3, batch_size=8), REM(3, batch_size=8, perturbations=[Noise()])]
    modules = [fit(pl1, SleepCallback(night, seed=seed)) for seed in (0, 0, 1)]
    assert same(*modules[:2])
    assert not same(*modules[1:])


def test_the_trainer_is_left_as_it_was(pl: Any) -> None:
    module = make_module(pl)
    trainer = pl.Trainer(callbacks=[SleepCallback()], max_epochs=1, **QUIET)
    module.on_train_batch_start = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.fit(module, DataLoader(samples(), batch_size=40))
    assert "dataloader" not in vars(trainer.fit_loop._data_source)
    del module.on_train_batch_start
    trainer.fit(module, DataLoader(samples(), batch_size=40))
    assert "dataloader" not in vars(trainer.fit_loop._data_source)


def test_lightning_still_has_what_is_not_public(pl: Any) -> None:
    """Where the callback enters: a Lightning that moves these has to be looked at."""
    trainer = pl.Trainer(max_epochs=1, **QUIET)
    assert callable(type(trainer.fit_loop._data_source).dataloader)
    assert trainer.fit_loop._data_fetcher is None
    fetchers = importlib.import_module(f"{pl.__name__}.loops.fetchers")
    assert fetchers._PrefetchDataFetcher().length is None
    utilities = importlib.import_module(f"{pl.__name__}.utilities")
    assert utilities.CombinedLoader([], "min_size")._mode == "min_size"
    progress = trainer.fit_loop.state_dict()["epoch_progress"]
    assert all({"started", "processed", "completed"} <= set(counter) for counter in progress.values())


# -------------------------------------------------------------------- going on


class Kill(Exception):
    pass


def sleeper(generator: bool) -> SleepCallback:
    torch.manual_seed(0)
    made = ClassConditionalVAE((1, 8, 8), 10, latent_dim=4, hidden=[16]) if generator else None
    return SleepCallback([NREM(2, batch_size=8), REM(2, batch_size=8)], generator=made)


@functools.cache
def unbroken(generator: bool) -> Any:
    pl = importlib.import_module(TREES[0])
    return fit(pl, sleeper(generator), data=ordered(pl))


@pytest.mark.parametrize("generator", [False, True])
@pytest.mark.parametrize("at", [2, 3, 4, 5, 6, 7, 8, 10])
def test_resumed_at_an_epochs_end_or_in_a_night_it_ends_the_same(
    pl1: Any, tmp_path: Any, at: int, generator: bool
) -> None:
    class Save(pl1.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == at and not trainer.is_last_batch:
                trainer.save_checkpoint(tmp_path / "at.ckpt")
                raise Kill

        def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == at:
                trainer.save_checkpoint(tmp_path / "at.ckpt")
                raise Kill

    whole = unbroken(generator)
    with pytest.raises(Kill):
        fit(pl1, sleeper(generator), data=ordered(pl1), callbacks=[Save()])
    torch.load(tmp_path / "at.ckpt", weights_only=True)
    again = fit(pl1, sleeper(generator), make_module(pl1), ordered(pl1), ckpt_path=tmp_path / "at.ckpt")
    assert again.trainer.global_step == whole.trainer.global_step == 14
    if at != 3:  # in the middle of the day the loader itself has to know where it was
        assert same(whole, again)


def ordered(pl: Any) -> Any:
    class Ordered(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            first = 2 * self.trainer.current_epoch
            return DataLoader(samples(range(first, first + 2)), batch_size=16)

    return Ordered()


def test_the_state_goes_round(pl1: Any) -> None:
    def callback() -> SleepCallback:
        made = ClassConditionalVAE((1, 8, 8), 10, latent_dim=4, hidden=[16])
        return SleepCallback([NREM(2)], generator=made, schedule=Drift(warmup=2, least=1, most=5, check_every=1))

    first, second = callback(), callback()
    fit(pl1, first)
    second.load_state_dict(first.state_dict())
    one, two = first.state_dict(), second.state_dict()
    assert one["ranks"][0]["ledger"] == two["ranks"][0]["ledger"]
    assert one["ranks"][0]["schedule"] == two["ranks"][0]["schedule"]
    for part in ("memory", "generator"):
        leaves = [torch.utils._pytree.tree_leaves(state["ranks"][0][part]) for state in (one, two)]
        assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(*leaves, strict=True))
    with pytest.raises(ValueError, match="seed 0, these have 1"):
        SleepCallback(seed=1).load_state_dict(one)
    with pytest.raises(ValueError, match="has a generator"):
        SleepCallback().load_state_dict(one)


# -------------------------------------------------------------------- generators and perturbations


def test_a_generator_learns_the_days_and_dreams_of_all_of_them(pl1: Any) -> None:
    generator = ClassConditionalVAE((1, 8, 8), 10, latent_dim=8, hidden=[64])
    before = [parameter.clone() for parameter in generator.parameters()]
    night = [REM(3, batch_size=60, source="generator", perturbations=[LatentMixing()])]
    module = fit(pl1, SleepCallback(night, generator=generator))
    assert not all(map(torch.equal, before, generator.parameters()))
    assert generator.dreamable.tolist() == [True] * 6 + [False] * 4
    assert len(generator.snapshots) == 3
    _, _, labels, x = module.seen[-1]
    assert labels == list(range(6))
    assert x.shape == (60, 1, 8, 8)
    assert all(parameter.grad is None or parameter.requires_grad for parameter in module.parameters())


def test_perturbations_may_look_at_the_module(pl1: Any) -> None:
    night = [NREM(2, batch_size=8), REM(2, batch_size=8, perturbations=[Adversarial(epsilon=0.2, steps=1)])]
    assert nights(fit(pl1, SleepCallback(night))) == [(2, 0), (2, 4), (2, 4)]
    with pytest.raises(ValueError, match=r"logits: expected \(8, K\) logits of Module, got str"):
        fit(pl1, SleepCallback(night[1:], logits=lambda module, x: "none"))


# -------------------------------------------------------------------- schedules


def test_when_a_night_comes() -> None:
    day = Day(steps=10, before=20, number=2, last=False, seen=frozenset({0, 1}))
    assert sleeps(None, day) is None
    assert sleeps(None, day._replace(classes=frozenset({0, 1}))) is False
    assert sleeps(None, day._replace(classes=frozenset({1}))) is True
    assert sleeps(None, day._replace(classes=frozenset({0, 1, 2}))) is True
    assert sleeps(None, day._replace(seen=frozenset())) is False
    assert [sleeps(n, day) for n in (1, 2, 3)] == [True, False, True]
    assert sleeps(Boundary(), day) is True
    assert [sleeps(EveryNSteps(n, at_end=False), day) for n in (5, 25, 40)] == [True, True, False]
    assert sleeps(EveryNSteps(40), day._replace(last=True)) is True
    assert sleeps(Boundary(), day._replace(steps=None)) is None
    assert sleeps(Drift(), day) is None


def test_drift_watches_the_modules_own_loss(pl1: Any) -> None:
    schedule = Drift(warmup=4, threshold=3.0, least=1, most=None, check_every=1)
    data = make_stream(pl1, batch_size=4, per_class=40, epochs_each=3)
    module = fit(pl1, SleepCallback([NREM(3)], schedule=schedule), data=data, max_epochs=6)
    assert [bool(night) for _, night in nights(module)][:4] == [False, False, False, True]


# -------------------------------------------------------------------- batches of all kinds


Named = collections.namedtuple("Named", ["x", "y"])


@dataclass
class Record:
    x: Any
    y: Any
    name: str = "day"


@dataclass(frozen=True)
class Frozen:
    x: Any
    y: Any


class Encoding(collections.UserDict):
    """A mapping whose entries are attributes too, as tokenisers give."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


X, Y = torch.arange(12.0).view(4, 3), torch.arange(4)


@pytest.mark.parametrize(
    ("batch", "where"),
    [
        ((X, Y), {}),
        ([X, Y, "name", 3], {}),
        (Named(X, Y), {}),
        (Named(X, Y), {"inputs": "x", "targets": "y"}),
        (Record(X, Y), {"inputs": "x", "targets": "y"}),
        (Frozen({"a": X}, Y), {"inputs": lambda batch: batch.x["a"], "targets": "y"}),
        (Encoding(x=X, y=Y, epoch=3), {"inputs": "x", "targets": "y"}),
        ({"image": X, "label": Y, "epoch": 3}, {"inputs": "image", "targets": "label"}),
        (collections.OrderedDict(a={"b": (X, None)}, y=Y), {"inputs": lambda b: b["a"]["b"][0], "targets": "y"}),
        (X, {"inputs": lambda batch: batch, "targets": None}),
    ],
)
def test_a_dream_has_the_structure_of_the_day(batch: Any, where: dict[str, Any]) -> None:
    fields = BatchFields(**{"inputs": 0, "targets": 1, "extras": "keep", **where})
    x, y = fields.read(batch)
    assert torch.equal(x, X)
    dream = fields.rebuild(batch, 10 + X[:2].double(), y[1:3])
    assert type(dream) is type(batch)
    again, label = fields.read(dream)
    assert torch.equal(again, 10 + X[:2])
    assert again.dtype == X.dtype
    assert where.get("targets", 1) is None or torch.equal(label, torch.tensor([1, 2]))
    assert torch.equal(fields.read(batch)[0], X)
    if isinstance(batch, list | dict) and len(batch) > 2:
        assert list(dream)[2:] == list(batch)[2:]


@pytest.mark.parametrize("kind", [Named, Record, Encoding])
def test_batches_of_any_kind_are_slept_upon(pl: Any, kind: type) -> None:
    def collate(rows: list[Any]) -> Any:
        x, y = map(torch.stack, zip(*rows, strict=True))
        return kind(x=x, y=y)

    module = make_module(pl)
    step, kinds = module.training_step, set()

    def training_step(batch: Any, batch_idx: int) -> Any:
        kinds.add(type(batch))
        return step((batch.x, batch.y), batch_idx)

    module.training_step = training_step
    data = DataLoader(samples(), batch_size=40, collate_fn=collate)
    fit(pl, SleepCallback([NREM(3)], inputs="x", targets="y", schedule=1), module, data)
    assert nights(module) == [(4, 3)] * 3
    assert kinds == {kind}


def test_several_views_stay_together() -> None:
    fields = BatchFields(lambda batch: batch[0], 1, "keep")
    x, y = fields.read(((X, X + 1), Y))
    assert x.shape == (4, 2, 3)
    views, label = fields.rebuild(((X, X + 1), Y), x[[2, 0]], y[[2, 0]])
    assert torch.equal(views[0], X[[2, 0]])
    assert torch.equal(views[1], X[[2, 0]] + 1)
    assert label.tolist() == [2, 0]


def fit_views(pl: Any, perturbation: Any, strength: float = 1.0) -> tuple[Any, list[Any]]:
    """Two equal views of every sample; gives the module, and the views of all batches asleep."""
    module, seen = make_module(pl), []
    step = module.training_step

    def training_step(batch: Any, batch_idx: int) -> Any:
        if asleep(module.trainer):
            seen.append(batch[0])
        return step((batch[0][1], batch[1]), batch_idx)

    module.training_step = training_step
    data = DataLoader([([x, x], y) for x, y in samples()], batch_size=40)
    night = [REM(3, perturbations=[perturbation], strength=strength)]
    fit(pl, SleepCallback(night, schedule=1, logits=lambda module, x: module(x)), module, data)
    return module, seen


def test_each_view_is_perturbed_for_itself(pl1: Any) -> None:
    module, seen = fit_views(pl1, CropFlip(2))
    assert nights(module) == [(4, 3)] * 3
    assert not any(torch.equal(one, two) for one, two in seen)
    assert all(torch.equal(one, two) for one, two in fit_views(pl1, CropFlip(2), strength=0.0)[1])


@pytest.mark.parametrize(
    ("perturbation", "message"),
    [(Mixup(), "Mixup mixes samples"), (Adversarial(), "a perturbation of the rem stage needs")],
)
def test_what_views_do_not_bear_is_refused(pl1: Any, perturbation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_views(pl1, perturbation)


@pytest.mark.parametrize("extra", [torch.arange(4), ["a", "b", "c", "d"]])
def test_fields_of_each_sample_can_be_repeated(extra: Any) -> None:
    dream = BatchFields(0, 1, "repeat").rebuild((X, Y, extra), torch.cat([X, X]), torch.cat([Y, Y]))
    assert list(dream[2]) == [*extra, *extra]


@pytest.mark.parametrize(
    ("batch", "where", "message"),
    [
        ({"image": X, "label": Y}, {}, "inputs=0: not found in a batch that is a dict with the keys 'image', 'label'"),
        ((X,), {}, "targets=1: not found in a batch that is a tuple of length 1"),
        (Record(X, Y), {}, "inputs=0: not found in a batch that is a Record with the fields x, y, name"),
        (X, {}, r"the batch is a single tensor of shape \(4, 3\); say inputs=lambda"),
        (("a", Y), {}, "inputs=0: expected a tensor of samples, got str"),
        ((X, 3), {}, "targets=1: expected a tensor with one entry for each of the 4 samples, got int"),
        ((X, Y[:3]), {}, r"got \(3,\)"),
        (([X, X[:2]], Y), {}, "expected tensors of one shape"),
        ((X, Y), {"inputs": lambda batch: batch[0] + 1}, "expected tensors that lie in the batch itself"),
        ((X, Y), {"extras": "drop"}, "expected extras to be 'keep' or 'repeat'"),
    ],
)
def test_what_is_not_found_is_said(batch: Any, where: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fields = BatchFields(**{"inputs": 0, "targets": 1, "extras": "keep", **where})
        fields.rebuild(batch, *fields.read(batch))


def test_targets_that_are_no_classes(pl1: Any) -> None:
    class Regression(pl1.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return functional.mse_loss(self.layer(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = DataLoader(TensorDataset(torch.randn(12, 3), torch.randn(12, 2)), batch_size=4)
    for options, message in (
        ({}, "the schedule, which by default watches classes"),
        ({"schedule": 1}, "ClassBalanced needs"),
        ({"schedule": 1, "memory": Reservoir(9), "stages": [REM(2)]}, "a stage that perturbs"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(pl1, SleepCallback(**options), Regression(), data)
    module = fit(pl1, SleepCallback([NREM(2)], memory=Reservoir(9), schedule=1), Regression(), data)
    assert module.trainer.global_step == 3 * (3 + 2)


# -------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": []}, "expected at least one sleep stage"),
        ({"stages": [Wake()]}, r"expected stages to be a list \(each an NREM or an REM\) or None, got"),
        ({"stages": [NREM(objectives=[Distillation()])]}, r"\(nrem\): has Distillation as an objective"),
        ({"stages": [NREM(), REM(teacher="dusk")]}, r"night stage 1 \(rem\): has a teacher of its own"),
        ({"stages": [REM(teacher_sees_perturbed=True)]}, "a teacher of its own"),
        ({"stages": [NREM(from_scratch=True)]}, "from_scratch, from_dawn, anneal, warmup and lr_scale"),
        ({"stages": [NREM(anneal=0.5)]}, "from_scratch, from_dawn, anneal, warmup and lr_scale"),
        ({"stages": [NREM(warmup=5)]}, "from_scratch, from_dawn, anneal, warmup and lr_scale"),
        ({"stages": [NREM(lr_scale=2)]}, "from_scratch, from_dawn, anneal, warmup and lr_scale"),
        ({"stages": [NREM(source="both")]}, "needs a generator, but SleepCallback has none"),
        ({"stages": [REM(perturbations=[LatentMixing()])]}, "LatentMixing perturbs a generator's latent numbers"),
        ({"memory": Herding(10)}, "chooses samples while awake .*, got Herding"),
        ({"memory": ClassBalanced(10, logits=True)}, "keeps the learner's logits"),
        ({"memory": LatentCodes(10)}, "got LatentCodes"),
        ({"schedule": 0}, "n of at least 1, got schedule=0"),
        ({"schedule": True}, "expected schedule to be .*, got True"),
        ({"schedule": Drift(watch="features")}, "Drift watches features"),
        ({"targets": None}, "with targets=None say when to sleep"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SleepCallback(**options)


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [((64,), 10, r"makes samples of shape \(64,\), the day has \(1, 8, 8\)"), ((1, 8, 8), 1, "has 1 classes")],
)
def test_a_generator_for_other_data_is_refused(pl1: Any, shape: Any, classes: int, message: str) -> None:
    generator = ClassConditionalVAE(shape, classes, latent_dim=4, hidden=[16])
    with pytest.raises(ValueError, match=message):
        fit(pl1, SleepCallback([NREM(2)], generator=generator))


def test_samples_of_several_shapes_are_refused(pl1: Any) -> None:
    with pytest.raises(ValueError, match=r"expected samples of one shape, got \(1, 8, 8\) first and \(64,\) now"):
        fit(pl1, SleepCallback(), data=iter([(torch.zeros(2, 1, 8, 8), Y[:2]), (torch.zeros(2, 64), Y[:2])]))


# -------------------------------------------------------------------- two import trees


def test_it_is_a_callback_of_every_tree_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = [tree for tree in TREES if tree in sys.modules]
    assert callback_bases() == tuple(sys.modules[tree].Callback for tree in loaded)
    for tree in TREES:
        monkeypatch.setitem(sys.modules, tree, SimpleNamespace(Callback=type(f"{tree}'s", (), {})))
    assert [base.__name__ for base in callback_bases()] == [f"{tree}'s" for tree in TREES]
    for tree in TREES:
        monkeypatch.delitem(sys.modules, tree)
    assert len(callback_bases()) == 1


def test_the_tree_of_a_trainer_is_found(pl: Any) -> None:
    class Own(pl.Trainer):
        pass

    assert tree_of(Own(**QUIET)) == pl.__name__
    with pytest.raises(
        TypeError, match=r"expected a Trainer of pytorch_lightning or lightning.pytorch, got builtins.int"
    ):
        tree_of(3)

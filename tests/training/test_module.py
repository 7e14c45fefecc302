"""A whole run in one fit: the plan, the Trainer's flags, the record, and whether sleep helps."""

from __future__ import annotations

import copy
import csv
import functools
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger

from dreamer.generators import ClassConditionalVAE, UntrainedError
from dreamer.memory import ClassBalanced, Reservoir
from dreamer.networks import MLP
from dreamer.objectives import CrossEntropy, Distillation
from dreamer.perturbations import Affine, LatentMixing, Noise
from dreamer.plasticity import MovingAverage
from dreamer.schedules import EveryNSteps
from dreamer.stages import NREM, REM, Wake
from dreamer.streams import Stream, digits
from dreamer.streams.base import TensorSamples, make_stream
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import quiet_trainer, tiny_module, tiny_network, tiny_stream, train


def test_one_fit_completes_the_whole_plan() -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    trainer = train(module, stream)
    plan = module.hypnogram
    assert [stage.kind for stage in plan] == ["wake", "nrem", "rem"] * 3
    assert trainer.current_epoch == len(plan) and trainer.global_step == sum(plan.steps().values())
    results = module.results()
    assert results["complete"]
    rows = results["accuracy_matrix"]["rows"]
    assert [row["after"] for row in rows] == ["birth"] + ["wake", "night"] * 3
    assert rows[-1]["global_step"] == trainer.global_step
    assert results["cost"]["optimizer_steps"] == plan.steps()
    # 2 passes over 18 samples (24 less a quarter held out) in each of 3 experiences; 8 replayed in each of 8 later
    # wake steps
    assert results["cost"]["samples"] == {"wake": 108, "replayed": 64, "nrem": 48, "rem": 72}
    assert results["cost"]["bytes"]["memory"] == 10 * (16 * 4 + 8)
    assert results["cost"]["bytes"]["teacher"] == 2 * results["cost"]["bytes"]["network"] > 0


@pytest.mark.parametrize("entry", ["fit", "validate", "test"])
def test_a_trainer_of_the_other_tree_says_what_to_import(entry: str) -> None:
    other = pytest.importorskip("lightning.pytorch")
    trainer = other.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    stream = tiny_stream()
    with pytest.raises(TypeError, match=r"WakeSleepModule is trained by .* 'from pytorch_lightning import Trainer'"):
        getattr(trainer, entry)(tiny_module(stream), datamodule=StreamDataModule(stream))


def test_the_class_of_a_module_can_be_asked_for_and_changed() -> None:
    class Child(WakeSleepModule):
        pass

    module = tiny_module(tiny_stream())
    assert module.__class__ is WakeSleepModule and isinstance(module, pl.LightningModule)
    module.__class__ = Child
    assert type(module) is module.__class__ is Child
    assert type(copy.deepcopy(module)) is Child


def test_the_same_seed_gives_the_same_numbers() -> None:
    def numbers(seed: int) -> tuple[Any, torch.Tensor]:
        stream = tiny_stream()
        module = tiny_module(stream, seed)
        torch.rand(seed + 3)  # the global random state before a run does not matter
        train(module, stream)
        return module.results()["accuracy_matrix"], module.network[1].weight.detach().clone()

    one, two, other = numbers(0), numbers(0), numbers(1)
    assert one[0] == two[0] and torch.equal(one[1], two[1])
    assert not torch.equal(one[1], other[1])


def test_a_checkpoint_that_was_loaded_says_what_was_scored(tmp_path: Path) -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    train(module, stream).save_checkpoint(tmp_path / "run.ckpt")
    again = tiny_module(stream)
    again.on_load_checkpoint(torch.load(tmp_path / "run.ckpt", weights_only=True))
    assert again.ledger.rows == module.ledger.rows


def test_every_stage_starts_with_what_the_day_left() -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    seen: list[tuple[str, int, int]] = []

    class Watch(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            stage = module.hypnogram[trainer.current_epoch]
            seen.append((stage.kind, int(module.generator.dreamable.sum()), len(module.memory)))

    train(module, stream, callbacks=[Watch()])
    assert [entry[:2] for entry in seen] == [
        ("wake", 0), ("nrem", 2), ("rem", 2), ("wake", 2), ("nrem", 4), ("rem", 4), ("wake", 4), ("nrem", 6), ("rem", 6)
    ]  # fmt: skip
    assert seen[0][2] == 0 and all(entry[2] == 10 for entry in seen[1:])


def test_teachers_are_copied_at_dawn_and_dusk() -> None:
    stream = tiny_stream(experiences=2)
    module = tiny_module(stream)
    copies: dict[int, torch.Tensor] = {}

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0:
                copies[batch.stage] = pl_module.network[1].weight.detach().clone()

    train(module, stream, callbacks=[Watch()])
    assert torch.equal(module.dawn.network[1].weight, copies[3]), "as it was before the second day"
    assert torch.equal(module.dusk.network[1].weight, copies[4]), "as it was before the second night"


@pytest.mark.parametrize(
    "options",
    [{"limit_test_batches": 0, "limit_val_batches": 0}, {"num_sanity_val_steps": 2, "check_val_every_n_epoch": 2}],
    ids=str,
)
def test_flags_of_evaluation_take_no_step_away(options: dict[str, Any]) -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    trainer = train(module, stream, **options)
    assert trainer.global_step == 27
    assert module.results()["complete"]


def test_max_time_ends_a_run_early() -> None:
    class Slow(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            time.sleep(0.05)

    stream = tiny_stream()
    module = tiny_module(stream)
    trainer = train(module, stream, max_time=timedelta(seconds=0.3), callbacks=[Slow()])
    assert 0 < trainer.global_step < 27
    results = module.results()
    assert not results["complete"] and results["accuracy_matrix"]["rows"][-1]["global_step"] == trainer.global_step


def test_too_few_epochs_for_the_plan_warn() -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    with pytest.warns(UserWarning, match="plan has 9 stages"):
        trainer = train(module, stream, max_epochs=4)
    assert trainer.current_epoch == 4 and not module.results()["complete"]


def test_callbacks_may_watch_held_out_data_only() -> None:
    stream = tiny_stream()
    stop = EarlyStopping("val/accuracy", patience=0, min_delta=2.0, strict=False)
    with pytest.warns(UserWarning, match=r"EarlyStopping has ended the run after 3 of 9 stages, because val/accuracy"):
        trainer = train(tiny_module(stream), stream, callbacks=[stop])
    # the second evaluation comes after the first night
    assert trainer.current_epoch == 3, "no accuracy ever rises by 2"
    assert "val/accuracy" in trainer.callback_metrics
    assert not [name for name in trainer.callback_metrics if name.startswith(("test", "stream"))]


@pytest.mark.filterwarnings("ignore:EarlyStopping has ended the run")
@pytest.mark.parametrize(("patience", "stages"), [(1, 3), (2, 4), (3, 6), (9, 9)])
def test_patience_counts_evaluations(patience: int, stages: int) -> None:
    stream = tiny_stream()
    trainer = train(tiny_module(stream), stream, callbacks=[EarlyStopping("val/accuracy", 2.0, patience, mode="max")])
    assert trainer.current_epoch == stages


def test_the_score_on_held_out_data_is_logged_where_it_was_measured(tmp_path: Path) -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    train(module, stream, logger=CSVLogger(tmp_path, name="", version=""))
    with (tmp_path / "metrics.csv").open() as file:
        logged = [row for row in csv.DictReader(file) if row["val/accuracy"]]
    assert len(logged) == len(module.results()["accuracy_matrix"]["rows"]) - 1


@pytest.mark.parametrize(
    ("monitor", "validation", "message"),
    [
        ("val/accuracy", 0.0, "EarlyStopping monitors val/accuracy, but tiny has no held-out data"),
        ("stream/average_accuracy", 0.25, "a test score, which steers nothing: expected val/accuracy"),
    ],
)
def test_what_may_not_be_monitored_is_refused(monitor: str, validation: float, message: str) -> None:
    stream = tiny_stream(validation=validation)
    with pytest.raises(ValueError, match=message):
        train(tiny_module(stream), stream, callbacks=[EarlyStopping(monitor)])


def test_validate_and_test_read_the_experiences() -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    trainer = train(module, stream)
    final = module.results()["accuracy_matrix"]["rows"][-1]
    data = StreamDataModule(stream)
    tested = {
        name: value for scores in trainer.test(module, datamodule=data, verbose=False) for name, value in scores.items()
    }
    held = {
        name: value
        for scores in trainer.validate(module, datamodule=data, verbose=False)
        for name, value in scores.items()
    }
    assert list(tested.values()) == pytest.approx(final["accuracy"])
    assert list(held.values()) == pytest.approx(final["validation"])


@pytest.mark.parametrize(("case", "steps"), [("average", 7), ("seen", 7), ("seen", 18)])
def test_results_and_the_trainer_score_the_same(case: str, steps: int, tmp_path: Path) -> None:
    """One evaluated model and one class mask, for the learner that was trained and for one from its checkpoint.

    At these steps the network's own accuracy among all classes is another one.
    """

    def scores(module: WakeSleepModule, evaluate: str, **options: Any) -> list[float]:
        trainer = quiet_trainer()
        found = getattr(trainer, evaluate)(module, datamodule=StreamDataModule(stream), verbose=False, **options)
        return [value for each in found for value in each.values()]

    def build() -> WakeSleepModule:
        if case == "average":
            return tiny_module(stream, plasticity=[MovingAverage()], evaluated="average")
        return tiny_module(stream, active_outputs="seen")

    stream = tiny_stream()
    module = build()
    module.optimizer = functools.partial(torch.optim.Adam, lr=3e-2)
    trainer = train(module, stream, max_steps=steps)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    final = module.results()["accuracy_matrix"]["rows"][-1]
    loaded = {"ckpt_path": tmp_path / "stopped.ckpt"}
    for learner, options in ((module, {}), (build(), loaded)):
        assert scores(learner, "test", **options) == pytest.approx(final["accuracy"])
        assert scores(learner, "validate", **options) == pytest.approx(final["validation"])


def test_steps_are_logged_by_kind(tmp_path: Path) -> None:
    stream = tiny_stream()
    logger = CSVLogger(tmp_path, name="", version="")
    train(tiny_module(stream), stream, logger=logger, callbacks=[LearningRateMonitor()])
    columns = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"wake/loss", "wake/learner", "wake/replay", "wake/generator", "nrem/loss", "rem/loss"} <= set(columns)
    assert {"val/accuracy", "stream/average_accuracy", "stream/experience", "sleep/night", "sleep/gain"} <= set(columns)
    assert {f"test/accuracy/experience_{index}" for index in range(3)} <= set(columns)


def test_nights_can_come_every_n_steps() -> None:
    stream = tiny_stream()
    module = tiny_module(stream, schedule=EveryNSteps(5), cycles=2)
    train(module, stream)
    kinds = [(stage.kind, stage.experience, stage.steps) for stage in module.hypnogram if stage.kind == "wake"]
    assert kinds == [("wake", 0, 4), ("wake", 1, 1), ("wake", 1, 3), ("wake", 2, 2), ("wake", 2, 2)]
    assert module.hypnogram.nights == 3
    assert [stage.cycle for stage in module.hypnogram if stage.night == 0] == [0, 0, 1, 1]
    assert module.results()["complete"] and module.results()["cost"]["samples"]["wake"] == 108


def test_a_cut_experience_gets_the_same_batches() -> None:
    """The order of real data depends on seed, experience and pass, not on when nights come."""

    def order(**changes: Any) -> list[torch.Tensor]:
        batches: list[torch.Tensor] = []

        class Watch(pl.Callback):
            def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
                if batch.real is not None:
                    batches.append(batch.real.x)

        stream = tiny_stream()
        train(tiny_module(stream, **changes), stream, callbacks=[Watch()])
        return batches

    whole, cut = order(), order(schedule=EveryNSteps(5))
    assert len(whole) == len(cut) == 12
    assert all(torch.equal(one, two) for one, two in zip(whole, cut, strict=True))


def test_given_tasks_leave_two_classes_active() -> None:
    stream = tiny_stream()
    module = tiny_module(stream, active_outputs="task", night=(), wake=Wake(steps=60, batch_size=9), generator=None)
    module.optimizer = functools.partial(torch.optim.Adam, lr=1e-2)
    train(module, stream)
    rows = module.results()["accuracy_matrix"]["rows"]
    assert min(rows[-1]["accuracy"]) >= 0.75, "without replay, yet hardly forgotten: no other output was active"
    assert module.results()["protocol"]["active_outputs"] == "task"


def test_outputs_of_unseen_classes_rest_unless_all_are_active() -> None:
    for active_outputs, rests in (("all", False), ("seen", True)):
        stream = tiny_stream()
        module = tiny_module(
            stream, active_outputs=active_outputs, night=(), wake=Wake(steps=5), generator=None, memory=None
        )
        head = module.network[4].bias.detach().clone()
        with pytest.warns(UserWarning, match="ends the run early"):
            train(module, stream, max_epochs=1)
        assert torch.equal(module.network[4].bias.detach()[2:], head[2:]) == rests


def domain_stream() -> Stream:
    """The same two classes, in three looks."""
    rng = torch.Generator().manual_seed(0)
    parts = []
    for look in range(3):
        y = torch.arange(40) % 2
        x = 0.2 * torch.rand(40, 8, generator=rng)
        x[torch.arange(40), 2 * look + y] += 0.8
        parts.append((TensorSamples(x, y), TensorSamples(x, y)))
    return make_stream("looks", parts, scenario="domain")


def test_a_domain_incremental_stream_of_plain_vectors() -> None:
    stream = domain_stream()
    generator = ClassConditionalVAE((8,), 2, 3, (16,), components=2)
    night = [NREM(20, 16, perturbations=(Noise(),)), REM(20, 16, perturbations=(LatentMixing(),))]
    module = WakeSleepModule(MLP((8,), 2, (16,)), Wake(steps=40, batch_size=16, replay=16), night, generator=generator)
    module.optimizer = functools.partial(torch.optim.Adam, lr=1e-2)
    train(module, stream)
    results = module.results()
    assert results["protocol"]["scenario"] == "domain"
    assert len(generator.snapshots) == 3, "each look keeps its own decoder"
    assert results["metrics"]["average_accuracy"] > 0.9


def test_a_memory_alone_sleeps_with_the_default_night() -> None:
    stream = tiny_stream()
    module = WakeSleepModule(tiny_network(stream), Wake(replay=4), memory=Reservoir(12))
    train(module, stream, limit_train_batches=2)
    assert [stage.kind for stage in module.hypnogram] == ["wake", "nrem", "rem"] * 3


def test_without_memory_and_generator_there_is_no_night() -> None:
    stream = tiny_stream()
    module = WakeSleepModule(tiny_network(stream))
    train(module, stream)
    assert [stage.kind for stage in module.hypnogram] == ["wake"] * 3 and module.dawn is None


def test_a_run_needs_its_stream() -> None:
    stream = tiny_stream()
    loader = torch.utils.data.DataLoader([stream.experiences[0]])
    with pytest.raises(ValueError, match=r"datamodule=StreamDataModule\(stream\)"):
        quiet_trainer().fit(tiny_module(stream), loader)
    with pytest.raises(ValueError, match="every epoch is one stage"):
        train(tiny_module(stream), stream, reload_dataloaders_every_n_epochs=2)


def test_a_generator_does_not_dream_before_it_has_learnt() -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    module.sleeper.end_day = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(UntrainedError, match="before it was trained"):
        train(module, stream)


def test_a_checkpoint_reloads_for_use(tmp_path: Path) -> None:
    stream = tiny_stream()
    module = tiny_module(stream)
    trainer = train(module, stream)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    parts = tiny_module(stream, seed=3)
    again = WakeSleepModule.load_from_checkpoint(
        tmp_path / "run.ckpt",
        network=parts.network,
        night=parts.night,
        wake=parts.wake,
        memory=parts.memory,
        generator=parts.generator,
        weights_only=True,
    )
    x = stream.experiences[0].test.x
    module.eval(), again.eval()
    assert torch.equal(module(x), again(x)) and len(again.memory) == 10
    y = torch.tensor([0, 5])
    assert torch.equal(module.generator.dream(y, torch.Generator()).x, again.generator.dream(y, torch.Generator()).x)


@functools.cache
def digits_accuracy(seed: int, night: Literal["none", "generator", "memory"]) -> float:
    """Average accuracy at the end of a run over the digits."""
    stream = digits(seed=seed)
    torch.manual_seed(seed)
    network = MLP(stream.sample_shape, stream.num_classes, (200, 200))
    wake: dict[str, Any] = {"epochs": 10, "batch_size": 32}
    if night == "none":
        module = WakeSleepModule(network, Wake(**wake), seed=seed)
    elif night == "generator":
        generator = ClassConditionalVAE(stream.sample_shape, 10, 16, (200,), components=5)
        module = WakeSleepModule(
            network,
            Wake(**wake, replay=32, replay_perturbations=(Affine(),)),
            [NREM(25, 64), REM(75, 64, perturbations=(LatentMixing(), Affine()))],
            generator=generator,
            seed=seed,
        )
    else:
        stages = [NREM(25, 64, perturbations=(Affine(),)), REM(50, 64, perturbations=(Affine(), Noise()))]
        replaying = Wake(**wake, replay=32, replay_objectives=(CrossEntropy(), Distillation()))
        module = WakeSleepModule(network, replaying, stages, memory=ClassBalanced(100), seed=seed)
    train(module, stream)
    return module.results()["metrics"]["average_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("night", ["generator", "memory"])
def test_sleep_beats_no_sleep_on_digits(night: Literal["generator", "memory"], seed: int) -> None:
    """Fine-tuning ends near 20 %; with nights the margin is at least 50 points on each of three seeds."""
    assert digits_accuracy(seed, night) - digits_accuracy(seed, "none") > 0.5

"""The empty room: the same short day for all arms, nothing new after it, and as many steps for each."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from dreamer import config
from dreamer.config.binding import ConfigError
from dreamer.studies import study
from dreamer.studies.experiments import base, empty_room
from dreamer.studies.experiments.empty_room import EmptyRoom
from dreamer.training.module import WakeSleepModule

TINY: dict[str, Any] = {"day": 6, "nights": 2, "night": 10, "per_class": 5, "shots": 3}
ARMS = study.load("empty-room").arms


def settings(arm: str, **changes: Any) -> dict[str, Any]:
    """Those of an arm of the study, on digits and with hardly any steps."""
    small = {"latent_dim": 4, "hidden": [16], "components": 1}
    loaded = config.load(study.catalog()["empty-room"])
    found = config.merge(loaded["experiment"], loaded["arms"][arm].get("set") or {})
    digits = {"stream": {"name": "digits", "experiences": 1, "shuffle": False, "validation": 0.2}}
    found = config.merge(found, {"config": {**digits, "network": {"name": "mlp", "hidden": [16, 16]}}})
    if found["config"].get("generator"):
        found = config.merge(found, {"config": {"generator": small}})
    found = config.merge(found, TINY)
    for stage in found["config"]["night"]:
        stage["steps"] = 10 * stage["steps"] // 100
    return config.merge(found, changes)


class Spy(pl.Callback):
    """Keeps the module, its first weights, and what the day held."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        self.module, self.trainer = pl_module, trainer
        self.first = [weight.detach().clone() for weight in pl_module.network.parameters()]
        generator = pl_module.generator
        self.initial = {} if generator is None else copy.deepcopy(dict(generator.named_parameters()))
        self.day = pl_module.stream.experiences[0].train


def trained(arm: str, monkeypatch: pytest.MonkeyPatch, folder: Path, seed: int = 1, **changes: Any) -> tuple[Spy, Any]:
    spy = Spy()
    trainer = pl.Trainer

    def watched(*arguments: Any, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
        return trainer(*arguments, callbacks=[*callbacks, spy], **options)

    with monkeypatch.context() as patch:
        patch.setattr(empty_room.pl, "Trainer", watched)
        return spy, base.of(settings(arm, **changes)).run(seed, folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Spy, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        return {arm: trained(arm, patch, tmp_path_factory.mktemp(arm)) for arm in ARMS}


def test_every_arm_takes_as_many_steps_but_the_one_that_does_nothing(whole: dict[str, tuple[Spy, Any]]) -> None:
    steps = {arm: spy.trainer.global_step for arm, (spy, _) in whole.items()}
    assert steps.pop("nothing") == 6
    assert steps == dict.fromkeys(steps, 26)


def test_all_arms_begin_with_the_same_weights_and_the_same_day(whole: dict[str, tuple[Spy, Any]]) -> None:
    first, _ = whole["nothing"]
    for spy, _ in whole.values():
        assert all(map(torch.equal, spy.first, first.first))
        assert torch.equal(spy.day.x, first.day.x) and torch.equal(spy.day.y, first.day.y)


def test_the_day_has_so_many_of_each_class_and_none_of_the_unseen(whole: dict[str, tuple[Spy, Any]]) -> None:
    spy, _ = whole["nothing"]
    counts = spy.day.y.bincount(minlength=10)
    assert sorted(counts.tolist()) == [0, 0, *[5] * 8]
    (experience,) = spy.module.stream.experiences
    assert set(experience.test.y.tolist()) == set(experience.classes) == set(spy.day.y.tolist())


def test_arms_whose_day_is_alike_know_as_much_after_it(whole: dict[str, tuple[Spy, Any]]) -> None:
    after = {arm: results["curves"]["accuracy"][0] for arm, (_, results) in whole.items()}
    perturbed = {"awake_perturbed", "day_and_dreams_perturbed"}
    assert len({value for arm, value in after.items() if arm not in perturbed}) == 1
    assert all(len(results["curves"]["accuracy"]) == 3 for _, results in whole.values())


def test_every_measure_is_taken(whole: dict[str, tuple[Spy, Any]]) -> None:
    for _, results in whole.values():
        assert set(results["outcomes"]) == set(EmptyRoom.measures)
        assert all(-1 <= value <= 1 for value in results["outcomes"].values())
    gain = whole["dreams_perturbed"][1]
    assert gain["outcomes"]["gain"] == gain["curves"]["accuracy"][-1] - gain["curves"]["accuracy"][0]


def test_an_untrained_generator_keeps_its_initial_weights(
    whole: dict[str, tuple[Spy, Any]],
) -> None:
    def changed(arm: str) -> bool:
        spy, _ = whole[arm]
        assert spy.module.generator is not None and spy.initial
        now = dict(spy.module.generator.named_parameters())
        return not all(torch.equal(weight, now[name]) for name, weight in spy.initial.items())

    assert not changed("untrained")
    assert changed("dreams_perturbed")


def test_the_same_seed_gives_the_same_numbers(
    whole: dict[str, tuple[Spy, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, again = trained("dreams_perturbed", monkeypatch, tmp_path)
    assert again == whole["dreams_perturbed"][1]
    _, other = trained("dreams_perturbed", monkeypatch, tmp_path, seed=2)
    assert other != again


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"per_class": 0}, "expected per_class of at least 1, got 0"),
        ({"night": 30}, "expected stages of 30 steps together, as night says, got 10"),
        ({"unseen": -1}, "expected unseen of at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_trained(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        base.of(settings("dreams_perturbed", **changes))


def test_a_day_of_more_samples_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected 5000 samples of class \d, got"):
        base.of(settings("nothing", per_class=5000)).run(1, tmp_path)


def test_the_primary_contrast_is_the_one_that_was_promised() -> None:
    read = study.load("empty-room")
    (primary,) = read.primary
    assert (primary.arm, primary.against, primary.outcome, primary.margin) == (
        "dreams_perturbed", "awake_perturbed", "accuracy", 0.005,
    )  # fmt: skip
    seeds = {cell.seed for cell in read.cells if cell.data == primary.data}
    assert primary.data == "mnist_100" and len(seeds) == 10
    assert read.arms_on("mnist_100") == list(read.arms)
    assert len(read.arms_on("mnist_10")) == len(read.arms_on("mnist_1000")) == 5

"""What a language model replays of its old tasks is what the arm says, and what is measured is measured at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer import config
from dreamer.config.binding import ConfigError
from dreamer.generators.base import UntrainedError
from dreamer.streams.arithmetic import arithmetic
from dreamer.studies import study
from dreamer.studies.experiments import base
from dreamer.studies.experiments.given_texts import GivenTexts, blocks, foreign_texts, random_texts, save
from dreamer.studies.experiments.language_room import LanguageRoom

LOADED = config.load(study.catalog()["language-room"])
ARMS = LOADED["arms"]


def settings(arm: str, steps: int = 2, **changes: Any) -> dict[str, Any]:
    """Those of an arm of the study, with hardly any steps."""
    found = config.merge(LOADED["experiment"], ARMS[arm].get("set") or {})
    wake = {"steps": steps, "batch_size": 8, "warmup": 1}
    wake["replay"] = 8 if found["config"]["wake"]["replay"] else 0
    stream = {"samples": 64, "test": 16}
    found = config.merge(found, {"foreign_steps": 2, "config": {"wake": wake, "stream": stream}})
    for stage in found["config"]["night"]:
        stage.update(steps=steps, batch_size=8)
    return config.merge(found, changes)


def built(arm: str, **changes: Any) -> LanguageRoom:
    experiment = base.of(settings(arm, **changes))
    assert isinstance(experiment, LanguageRoom)
    return experiment


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamer.studies.experiments.language_room._TEXTS", 20)


@pytest.mark.parametrize("arm", [arm for arm in ARMS if "kl" not in arm or arm == "own_kl"])
def test_every_arm_runs_and_learns_from_as_many_texts_as_it_says(arm: str, tmp_path: Path) -> None:
    outcomes = built(arm).run(1, tmp_path)["outcomes"]
    assert outcomes["texts"] == pytest.approx((2 * 16 + (0 if arm.startswith("none") else 16)) / 1000)
    assert set(outcomes) == set(LanguageRoom.measures)


def test_arms_of_one_seed_have_the_same_first_day(tmp_path: Path) -> None:
    curves = [built(arm).run(3, tmp_path)["curves"]["learnt"][:2] for arm in ("none", "own_next", "random_kl", "night")]
    assert all(curve == curves[0] for curve in curves)


def test_the_same_seed_gives_the_same_results_whatever_was_drawn_before(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = built("foreign_kl").run(2, tmp_path)
    torch.manual_seed(2)
    assert built("foreign_kl").run(2, tmp_path) == first


def test_old_tasks_are_all_but_the_last(tmp_path: Path) -> None:
    tasks = ["reverse", "sort", "add"]
    result = built("none", config={"stream": {"tasks": tasks}}).run(1, tmp_path)
    outcomes, curves = result["outcomes"], result["curves"]
    assert outcomes["accuracy"] == pytest.approx((2 * outcomes["kept"] + outcomes["learnt"]) / 3)
    assert curves["kept"][-1] == outcomes["kept"] and len(curves["step"]) == 4


def test_random_texts_are_legal_and_wrong() -> None:
    stream = arithmetic(tasks=["reverse", "sort"], samples=500, test=10, validation=0.0)
    texts = random_texts(stream, 300, torch.Generator().manual_seed(0))
    real = blocks(stream.experiences[0].train)
    assert texts.shape == (2, 300, 14)
    for place in range(14):
        assert set(texts[0, :, place].tolist()) <= set(real[:, place].tolist())
    reversed_right = (texts[0, :, 10:13] == texts[0, :, 1:4].flip(1)).all(dim=1)
    assert reversed_right.float().mean() < 0.05
    assert (real[:, 10:13] == real[:, 1:4].flip(1)).all()


def test_another_model_writes_of_each_task_under_its_name() -> None:
    stream = arithmetic(tasks=["reverse", "sort"], samples=100, test=10, validation=0.0)
    texts = foreign_texts(stream, 5, 2, 8, 0.01, 1, torch.Generator().manual_seed(0))
    assert texts.shape == (2, 5, 14)
    assert [set(texts[task, :, 0].tolist()) for task in (0, 1)] == [{2}, {3}]


def test_dreams_are_drawn_from_the_texts_of_their_domain(tmp_path: Path) -> None:
    texts = torch.arange(2 * 3 * 5).view(2, 3, 5)
    generator = GivenTexts((4,), 2, str(save(texts, tmp_path)))
    rng = torch.Generator().manual_seed(0)
    with pytest.raises(UntrainedError, match="was to dream of class 1"):
        generator.dream(torch.tensor([1]), rng)
    generator.snapshots.append(generator.new_snapshot(torch.tensor([0, 1])))
    y = torch.tensor([0, 1, 1, 0])
    dream = generator.dream(y, rng)
    assert torch.equal(dream.x[:, 1:], dream.y[:, :-1]) and torch.equal(dream.groups, y)
    assert torch.equal(dream.x[:, 0] // 15, y)
    with pytest.raises(ValueError, match="expected texts of 3 domains and 5 tokens"):
        GivenTexts((4,), 3, str(tmp_path / "texts.pt"))


@pytest.mark.slow
def test_own_words_keep_what_fine_tuning_forgets(tmp_path: Path) -> None:
    size = {"stream": {"samples": 16000, "test": 128}, "wake": {"steps": 120, "batch_size": 128, "warmup": 30}}
    replayed = {**size, "wake": {**size["wake"], "replay": 128}}
    forgotten = built("none", config=size).run(1, tmp_path)["outcomes"]
    kept = built("own_kl", config=replayed).run(1, tmp_path)["outcomes"]
    assert forgotten["before"] > 0.9 and forgotten["kept"] < 0.5 and kept["kept"] > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": "mine"}, "words: expected one of own, random, foreign"),
        ({"words": "random"}, "expected a generator in whose place random words are, got none"),
        ({"foreign_steps": 0}, "expected foreign_steps of at least 1, got 0"),
        ({"config": {"wakes": 1}}, "wakes: unknown key"),
    ],
)
def test_impossible_settings_are_one_sentence(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built("none", **changes)

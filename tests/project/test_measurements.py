"""The README's numbers are the measured ones."""

from __future__ import annotations

import csv
import importlib.util
import json
import statistics
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEASUREMENTS = ROOT / "docs" / "measurements"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("split_mnist", MEASUREMENTS / "split_mnist.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lives() -> list[dict[str, Any]]:
    return json.loads((MEASUREMENTS / "split_mnist.json").read_text())["lives"]


def mean(lives: list[dict[str, Any]], arm: str, number: str = "average_accuracy") -> float:
    return statistics.mean(life[number] for life in lives if life["arm"] == arm)


def test_the_readme_prints_the_table_of_the_script(script: ModuleType, lives: list[dict[str, Any]]) -> None:
    assert script.table(lives) in (ROOT / "README.md").read_text()


def test_every_arm_was_lived_with_every_seed(script: ModuleType, lives: list[dict[str, Any]]) -> None:
    assert [(life["arm"], life["seed"]) for life in lives] == [
        (arm, seed) for arm in script.ARMS for seed in script.SEEDS
    ]
    assert all(life["curve"][-1] == pytest.approx(life["average_accuracy"]) for life in lives)


def test_the_sentence_above_the_picture_says_what_was_measured(lives: list[dict[str, Any]]) -> None:
    above = (ROOT / "README.md").read_text().split("![Test accuracy over")[0]
    opening = " ".join(above[above.rindex("On Split MNIST") :].split())
    for arm in ("dreams, bent", "dreams, verbatim", "no sleep"):
        assert f"{100 * mean(lives, arm):.1f} %" in opening, arm


def test_the_bent_arms_keep_no_sample_and_reach_what_is_claimed(lives: list[dict[str, Any]]) -> None:
    assert all(life["bytes"]["memory"] == 0 for life in lives)
    assert mean(lives, "dreams, bent") >= 0.95 and mean(lives, "dreams and day, bent") >= 0.95
    assert mean(lives, "dreams, bent", "cpu_seconds") < 351


def test_the_picture_is_drawn_anew_from_the_numbers(
    script: ModuleType, lives: list[dict[str, Any]], tmp_path: Path
) -> None:
    script.draw(lives, tmp_path / "drawn.svg")
    drawn = (tmp_path / "drawn.svg").read_text()
    assert "<svg" in drawn and len(drawn) > 5000


def test_the_reproductions_page_is_what_its_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("reproductions", MEASUREMENTS / "reproductions.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # data classes look their module up
    spec.loader.exec_module(module)
    assert module.page(module.noted()) == (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8")
    known = {name for name, _, _ in module.lives()}
    assert set(module.noted()) <= known, "a life that belongs to no row"


@pytest.fixture(scope="module")
def studies() -> ModuleType:
    spec = importlib.util.spec_from_file_location("studies", MEASUREMENTS / "studies.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_empty_room_is_drawn_from_its_courses(studies: ModuleType, tmp_path: Path) -> None:
    courses = studies.read("empty-room", "mnist_100", "accuracy")
    arms = studies.EMPTY_ROOM
    assert {arm: len(seeds) for arm, seeds in courses.items() if arm in arms} == dict.fromkeys(arms, 10)
    ends = {arm: sum(course[10.0] for course in courses[arm]) / 10 for arm in arms}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    opening = readme[: readme.index("```bash")]
    said = [f"{ends[arm]:.1f}" for arm in ("nothing", "dreams_perturbed", "dreams_plain", "awake_perturbed")]
    assert all(number in opening for number in said)
    studies.empty_room(courses, tmp_path / "drawn.svg")
    assert "<svg" in (tmp_path / "drawn.svg").read_text(encoding="utf-8")


def test_the_picture_of_the_snake_is_drawn_from_its_courses(studies: ModuleType, tmp_path: Path) -> None:
    courses = {measure: studies.read("snake", "mnist", measure) for measure in ("precision", "recall", "frechet")}
    for found in courses.values():
        assert {arm: len(seeds) for arm, seeds in found.items() if arm in studies.SNAKE} == dict.fromkeys(
            studies.SNAKE, 3
        )
    assert 0 < courses["recall"]["real_100"][0][10.0] <= 100
    studies.snake(courses, tmp_path / "drawn.svg")
    assert "<svg" in (tmp_path / "drawn.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("study", "data", "outcome", "arms"),
    [
        ("empty-room", "mnist_10", "accuracy", "nothing awake awake_perturbed dreams_plain dreams_perturbed"),
        ("empty-room", "mnist_100", "accuracy", "nothing awake awake_perturbed dreams_plain dreams_perturbed"),
        ("empty-room", "mnist_1000", "accuracy", "nothing awake awake_perturbed dreams_plain dreams_perturbed"),
        ("snake", "digits", "accuracy", "real_100 real_50 accumulate real_10 anchored replace perturbed_codes perturbed_pixels"),
        ("snake", "mnist", "accuracy", "real_100 real_50 accumulate real_10 replace perturbed_codes perturbed_pixels"),
        ("snake", "mnist", "recall", "real_100 real_50 accumulate real_10 replace perturbed_codes perturbed_pixels"),
        ("snake", "mnist", "precision", "real_100 real_50 accumulate real_10 replace perturbed_codes perturbed_pixels"),
        ("pad", "cifar10", "accuracy", "full without_rem"),
        ("pad", "cifar10_10000", "accuracy", "full without_rem rem_removed without_nrem wake_only"),
        ("pad", "cifar10_10000", "occluded", "full without_rem rem_removed without_nrem wake_only"),
        ("pad", "cifar10_10000", "published", "full without_rem rem_removed without_nrem wake_only"),
    ],
)
def test_the_page_of_the_studies_prints_what_they_wrote_down(study: str, data: str, outcome: str, arms: str) -> None:
    with (ROOT / "docs" / "studies" / study / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["data"] == data]
    page = (ROOT / "docs" / "studies_results.md").read_text(encoding="utf-8")
    for arm in arms.split():
        values = [100 * float(row[outcome]) for row in rows if row["arm"] == arm]
        assert f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" in page, arm

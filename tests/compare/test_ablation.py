"""A recipe without each part of its nights: nothing else changes, and every arm takes as many steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from dreamer import config
from dreamer.cli import main as cli
from dreamer.compare import ablation, grid
from dreamer.config.binding import ConfigError
from dreamer.runs import run as runs

SHORT = ("stream.experiences=2", "wake.steps=3", "stream.validation=0")


def arms(strategy: str, *words: str) -> dict[str, dict[str, Any]]:
    """The keys that each arm sets."""
    return {arm["name"]: arm.get("set", {}) for arm in ablation.asked(strategy, words=words)["arms"]}


def test_each_part_of_a_night_is_taken_out_by_itself() -> None:
    names = ("latent_mixing", "affine", "occlusion", "noise")
    perturbed = f"night.1.perturbations=[{', '.join(f'{{name: {name}}}' for name in names)}]"
    found = arms("dreams", perturbed)
    parts = ["nights", "nrem", "rem", *names, "perturbations", "teachers"]
    assert list(found) == [ablation.FULL, *(f"without {part}" for part in parts)]
    nrem, rem = config.read("digits", "dreams", perturbed)["night"]
    assert found["without nrem"] == {"night": [rem]}
    assert found["without rem"] == {"night": [nrem]}
    kept = [perturbation for perturbation in rem["perturbations"] if perturbation["name"] != "affine"]
    assert found["without affine"] == {"night": [nrem, {**rem, "perturbations": kept}]}
    assert found["without perturbations"]["night"][1] == {**rem, "perturbations": []}
    taught = [objective for objective in rem["objectives"] if objective["name"] == "cross_entropy"]
    assert found["without teachers"]["night"][1] == {**rem, "objectives": taught}


def test_what_a_stage_has_by_default_is_taken_out_too() -> None:
    found = arms("memories", "night=[rem]")
    assert found["without perturbations"] == {"night": [{"name": "rem", "perturbations": []}]}
    assert found["without teachers"] == {"night": [{"name": "rem", "objectives": [{"name": "cross_entropy"}]}]}


def test_a_part_that_is_all_there_is_has_one_arm() -> None:
    one_stage = arms("memories", "night=[{name: nrem, steps: 5, perturbations: [noise], objectives: [cross_entropy]}]")
    assert list(one_stage) == [ablation.FULL, "without nights", "without perturbations"]
    assert list(arms("src")) == [ablation.FULL, "without nights"]


def test_a_schedule_of_its_own_gives_way_to_boundaries() -> None:
    assert "without its schedule" not in arms("memories")
    assert arms("memories", "schedule={name: every_n_steps, n: 50}")["without its schedule"] == {
        "schedule": {"name": "boundary"}
    }


@pytest.mark.parametrize("strategy", ["ours", "memories", "pad_like", "verbatim", "gdumb"])
def test_every_arm_takes_as_many_steps_as_the_whole(strategy: str, tmp_path: Path) -> None:
    cells = grid.read(ablation.asked(strategy, seeds=[5], words=SHORT)).cells
    plans = {cell.arm: runs.prepare(cell.config, tmp_path / cell.folder).hypnogram for cell in cells}
    assert len(plans) > 2
    whole = sum(stage.steps for stage in plans[ablation.FULL])
    # days are as many steps as they have, so a remainder of less than one a day may be left
    assert {arm: abs(sum(stage.steps for stage in plan) - whole) < 2 for arm, plan in plans.items()} == dict.fromkeys(
        plans, True
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["er"], "expected a recipe with nights, got 'er', which has none on digits"),
        ([], "expected one strategy, got none"),
        (["dreams", "memories"], "expected one strategy, got dreams and memories"),
        (["dreams", "--seeds", "many"], "--seeds: expected a number of seeds"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dreamer", "study", "ablation", *words])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_seeds_and_streams_of_other_studies_stand_in_their_yaml() -> None:
    with pytest.raises(ConfigError, match="--stream and --seeds are an ablation's"):
        cli.study("gaussian", seeds="3")

"""A request becomes cells, or one clear sentence; cells of one seed differ in nothing but their strategy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer.compare import grid
from dreamer.compare.cells import Cell
from dreamer.compare.run import warn_of_few_seeds
from dreamer.config.binding import ConfigError
from dreamer.jobs import manifest, runner
from dreamer.report.score import Score
from dreamer.runs import run as runs

SHORT = ["wake.steps=4", "stream.validation=0"]


def grid_of(*arms: Any, **more: Any) -> grid.Grid:
    return grid.read({"arms": list(arms), "streams": ["digits"], "seeds": 2, "set": SHORT} | more)


def by_arm(found: grid.Grid) -> dict[str, Cell]:
    return {cell.arm: cell for cell in found.cells if cell.seed == found.cells[0].seed}


def test_cells_come_by_stream_then_arm_then_seed() -> None:
    task = {"config": "digits", "name": "task", "set": ["active_outputs=task"]}
    found = grid_of("er", "ours", streams=["digits", task])
    assert [(cell.stream, cell.arm, cell.seed) for cell in found.cells] == [
        (stream, arm, seed) for stream in ("digits", "task") for arm in ("er", "ours") for seed in (1, 2)
    ]
    assert found.reference == "er"
    assert [cell.config.get("active_outputs") for cell in found.cells] == [None] * 4 + ["task"] * 4
    assert len({cell.folder for cell in found.cells}) == 8


def test_arms_may_be_laid_over_each_other_and_carry_settings() -> None:
    cells = by_arm(grid_of("er memory.capacity=50", {"recipe": "dreams+augment", "name": "mine", "set": {"cycles": 2}}))
    assert cells["er memory.capacity=50"].config["memory"]["capacity"] == 50
    assert cells["mine"].config["cycles"] == 2
    assert cells["mine"].config["generator"]["name"] == "class_conditional_vae"


def test_ours_is_what_the_stream_does_by_itself() -> None:
    cells = by_arm(grid_of("ours", "dreams"))
    # the digits have shorter nights, which a recipe laid over them takes back
    assert cells["ours"].config["night"][1]["steps"] == [10, 210, 410, 610, 810]
    assert cells["dreams"].config["night"][1]["steps"] == [100, 700, 1300, 1900, 2500]


def test_one_seed_means_the_same_order_weights_and_data_for_every_arm() -> None:
    cells = by_arm(grid_of("er", "ours", "lwf"))
    prepared = {arm: runs.prepare(cell.config, Path("nowhere")) for arm, cell in cells.items()}
    first = prepared.pop("er")
    for other in prepared.values():
        assert other.stream.class_order == first.stream.class_order
        for weight, again in zip(first.module.network.parameters(), other.module.network.parameters(), strict=True):
            assert torch.equal(weight, again)
        for one, two in zip(first.stream.experiences, other.stream.experiences, strict=True):
            assert torch.equal(one.test.x, two.test.x) and torch.equal(one.test.y, two.test.y)


def test_another_seed_is_another_order_and_another_beginning() -> None:
    one, two = (runs.prepare(cell.config, Path("nowhere")) for cell in grid_of("er").cells)
    assert one.stream.class_order != two.stream.class_order
    assert not torch.equal(next(one.module.network.parameters()), next(two.module.network.parameters()))


def test_real_samples_are_augmented_alike_and_dreams_as_their_strategy_says() -> None:
    cells = by_arm(grid_of("er_ace", "ours", "er", augment=["affine"]))
    for cell in cells.values():
        assert cell.config["wake"]["perturbations"] == ["affine"]
    assert cells["er"].config["wake"]["replay_perturbations"] == ["affine"]
    assert cells["ours"].config["wake"]["replay_perturbations"][0]["degrees"] == 8
    none = by_arm(grid_of("er_ace", "ours"))
    assert none["er_ace"].config["wake"]["perturbations"] == none["ours"].config["wake"]["perturbations"] == []
    own = grid_of("er_ace", "ours", augment="own")
    assert by_arm(own)["er_ace"].config["wake"]["perturbations"][0]["name"] == "crop_flip"
    assert any("own augmentation" in warning for warning in own.warnings)


def test_arms_of_avalanche_keep_their_options_and_build_on_a_run_without_sleep() -> None:
    cell = by_arm(grid_of("er memory.capacity=60", "avalanche:Replay mem_size=7"))["avalanche:Replay mem_size=7"]
    assert cell.avalanche == {"name": "Replay", "options": {"mem_size": 7}, "memory": 60}
    assert cell.config["wake"]["replay"] == 0 and not cell.config["night"]
    assert cell.config["network"] == by_arm(grid_of("er"))["er"].config["network"]


def test_a_tuned_arm_beside_one_that_was_not_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("optimizer:\n  name: adam\n  lr: 0.002\n")
    (tmp_path / "tuning.json").write_text('{"tuning": {"trials": 20, "seeds": [1001, 1002]}}')
    tuned = f"er+{tmp_path / 'best.yaml'}"
    found = grid_of("er", tuned)
    assert by_arm(found)[tuned].config["optimizer"]["lr"] == 0.002
    assert f"arms differ in how many trials their settings were chosen from (er 0, {tuned} 20)" in found.warnings
    assert not grid_of(tuned).warnings


def test_with_wandb_every_cell_is_a_run_of_its_strategy_and_stream() -> None:
    cell = by_arm(grid_of("er", wandb=True))["er"]
    assert cell.config["logger"] == [{"name": "wandb", "group": "er", "job_type": "digits"}]
    assert cell.config["seed"] == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"arms": ["era"]}, "no configuration called 'era'"),
        ({"arms": []}, "arms: expected at least one, got none"),
        ({"arms": ["er", "er"]}, "arms: expected each once, got er twice"),
        ({"arms": ["er capacity"]}, "expected key=value after 'er', got 'capacity'"),
        ({"arms": [{"name": "er"}]}, "arms: expected the name of a recipe"),
        ({"arms": ["er memory.capcity=3"]}, "memory.capcity: unknown key of ClassBalanced"),
        ({"streams": ["digit"]}, "no configuration called 'digit'"),
        ({"streams": ["er"]}, "streams: 'er' names no stream"),
        ({"streams": []}, "streams: expected at least one"),
        ({"seeds": 0}, "seeds: expected at least 1, got 0"),
        ({"seeds": [1, 1]}, "seeds: expected each once, got 1 twice"),
        ({"seeds": ["a"]}, "seeds: expected a whole number"),
        ({"reference": "lwf"}, "reference: 'lwf' is no arm"),
        ({"set": ["wake.steps"]}, "set: expected key=value, got 'wake.steps'"),
        ({"arm": ["er"]}, "arm: unknown key of a grid"),
        ({"match": "time"}, "match: there is no 'time'"),
        ({"budget": {"minutes": 3}}, "budget: expected steps and bytes"),
        ({"budget": {"steps": 0}}, "budget.steps: expected at least 1, got 0"),
        ({"budget": {"steps": 10}, "match": "steps"}, "both say how much"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_makes_no_sense_is_said_in_one_sentence(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        grid.read({"arms": ["er"], "streams": ["digits"], "seeds": 1, "set": SHORT} | wrong)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def write(cell: Cell, folder: Path, mix: bool = False) -> None:
    runner.write_down({folder: cell.plain()}, grid.PROGRAM, mix)


def test_a_cell_is_written_once_and_read_as_it_was(tmp_path: Path) -> None:
    cell = grid_of("er").cells[0]
    write(cell, tmp_path)
    before = (tmp_path / "cell.json").read_bytes()
    write(cell, tmp_path)
    assert (tmp_path / "cell.json").read_bytes() == before
    assert grid.read_cell(tmp_path).plain() == json.loads(json.dumps(cell.plain()))


def test_the_order_of_a_configuration_survives_because_it_decides_the_weights(tmp_path: Path) -> None:
    cell = grid_of("ours").cells[0]
    write(cell, tmp_path)
    assert list(grid.read_cell(tmp_path).config) == list(cell.config)
    assert next(iter(cell.config)) == "network"


def test_another_configuration_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    write(grid_of("er").cells[0], tmp_path)
    with pytest.raises(ConfigError, match=r"config\.wake\.steps: 4 there, 5 now"):
        write(grid_of("er", set=["wake.steps=5", "stream.validation=0"]).cells[0], tmp_path)


def test_another_version_of_the_code_is_not_mixed_in_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = grid_of("er").cells[0]
    write(cell, tmp_path)
    monkeypatch.setattr(manifest.Program, "fingerprint", lambda self: "another")
    write(cell, tmp_path)  # nothing has been run there yet
    (tmp_path / "results.json").write_text("{}")
    monkeypatch.setattr(manifest.Program, "fingerprint", lambda self: "a third")
    with pytest.raises(ConfigError, match="was run by dreamer another, and this is a third"):
        write(cell, tmp_path)
    write(cell, tmp_path, mix=True)


def test_the_fingerprint_sees_what_runs_and_not_what_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__init__", "stages/wake", "compare/cell", "compare/page", "report/table", "studies/page"):
        (tmp_path / f"{name}.py").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("1")
    monkeypatch.setattr(manifest, "_PACKAGE", tmp_path)
    before = grid.PROGRAM.fingerprint()
    for name in ("compare/page", "report/table", "studies/page"):
        (tmp_path / f"{name}.py").write_text("2")
        assert grid.PROGRAM.fingerprint() == before
    for name in ("stages/wake", "compare/cell"):
        (tmp_path / f"{name}.py").write_text("2")
        assert grid.PROGRAM.fingerprint() != before
        (tmp_path / f"{name}.py").write_text("1")
    assert grid.PROGRAM.fingerprint() == before


def test_any_score_is_compared_and_no_two_on_one_stream() -> None:
    found = grid.read({"arms": ["er"], "streams": ["diabetes"], "seeds": [1], "set": ["memory.store=float32"]})
    assert grid.score_of(found.cells[0].config) == Score(
        "mean squared error", "variances of the target", higher_is_better=False
    )
    both = {"arms": ["fine_tune", "fine_tune problem.score=bits_per_byte"], "streams": ["arithmetic"]}
    with pytest.raises(ConfigError, match="one score for all arms on arithmetic, got accuracy of fine_tune and bits"):
        grid.read(both)
    with pytest.raises(ConfigError, match=r"problem.name: .*nosuch"):
        grid.read({"arms": ["er"], "streams": ["digits"], "set": ["problem=nosuch"]})


def test_a_language_model_that_is_scored_by_its_answers_can_be_compared() -> None:
    found = grid.read(
        {"arms": ["own_words", "own_words_by_day", "fine_tune"], "streams": ["arithmetic"], "seeds": [1, 2]}
    )
    assert len(found.cells) == 6


@pytest.mark.parametrize(("seeds", "said"), [(3, "3 seeds: with fewer than 6 no difference"), (5, "0.0625"), (6, "")])
def test_too_few_seeds_are_named_before_anything_runs(seeds: int, said: str, capsys: pytest.CaptureFixture) -> None:
    warn_of_few_seeds(seeds)
    heard = capsys.readouterr().err
    assert said in heard and bool(heard) == bool(said)

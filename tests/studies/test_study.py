"""A study is read from one YAML; what makes no sense in it is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamer import config
from dreamer.config.binding import ConfigError
from dreamer.studies import study
from tests.helpers.toy_study import request, toy_study


def test_a_cell_for_every_arm_data_and_seed_with_its_settings_laid_over_the_experiments() -> None:
    data = {"coins": {"seeds": [1, 2], "set": {"noise": 0.5}}, "dice": {"seeds": [3]}}
    read = toy_study(data=data, experiment={"name": "tests.helpers.toy_experiment.Toy", "noise": 0.1}, primary=[])
    assert [(cell.data, cell.arm, cell.seed) for cell in read.cells] == [
        ("coins", "plain", 1), ("coins", "plain", 2), ("coins", "lucky", 1), ("coins", "lucky", 2),
        ("dice", "plain", 3), ("dice", "lucky", 3),
    ]  # fmt: skip
    assert read.cells[2].settings == {"name": "tests.helpers.toy_experiment.Toy", "noise": 0.5, "gain": 0.1}
    assert read.cells[2].folder == Path("cells/coins/lucky/seed1")


def test_exploratory_contrasts_stand_for_all_arms_and_data_but_those_that_are_primary() -> None:
    arms = {name: {} for name in ("plain", "lucky", "odd")}
    read = toy_study(arms=arms)
    assert [(contrast.arm, contrast.outcome) for contrast in read.primary] == [("lucky", "score")]
    assert [(contrast.arm, contrast.outcome) for contrast in read.exploratory] == [
        ("odd", "score"), ("lucky", "loss"), ("odd", "loss"),
    ]  # fmt: skip
    turned = [{"arm": "plain", "against": "lucky", "outcome": "score", "margin": 0.1}]
    assert toy_study(exploratory=turned).exploratory == ()


def test_some_data_may_have_some_arms_only() -> None:
    data = {"coins": {"seeds": [1]}, "dice": {"seeds": [1], "arms": ["plain"]}}
    read = toy_study(data=data, exploratory=[{"against": "plain", "outcome": "loss", "margin": 0.1}])
    assert read.arms_on("coins") == ["plain", "lucky"] and read.arms_on("dice") == ["plain"]
    assert [(contrast.data, contrast.arm) for contrast in read.exploratory] == [("coins", "lucky")]


def test_an_arm_that_is_null_is_left_out() -> None:
    read = toy_study(arms={"plain": {}, "lucky": {}, "odd": None})
    assert list(read.arms) == ["plain", "lucky"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sedes": 3}, "sedes: unknown key of a study"),
        ({"arms": {}}, "arms: expected at least one, got none"),
        ({"arms": {"plain": {"sets": {}}}}, r"arms\.plain\.sets: unknown key; did you mean 'set'"),
        ({"arms": ["plain"]}, "arms: expected keys with values"),
        (
            {"data": {"coins": {"seeds": []}}},
            r"data\.coins\.seeds: expected a list of different whole numbers, got \[\]",
        ),
        ({"data": {"coins": {"seeds": [1, 1]}}}, r"data\.coins\.seeds: expected a list of different whole numbers"),
        ({"data": {"coins": {"seeds": [1], "arms": ["odd"]}}}, r"data\.coins\.arms: there is no 'odd'"),
        (
            {"data": {"coins": {"seeds": [1], "arms": ["plain"]}}},
            "primary: 'lucky' is not run on coins",
        ),
        ({"experiment": {}}, r"experiment\.name: expected the dotted path of an experiment, got None"),
        ({"experiment": {"name": "tests.helpers.toy_experiment.Top"}}, "has no class 'Top'; did you mean 'Toy'"),
        ({"experiment": {"name": "pathlib.Path"}}, "'pathlib.Path' lies in another package"),
        ({"arms": {"plain": {"set": {"gian": 1}}}}, r"experiment\.gian: unknown key of Toy; did you mean 'gain'"),
        ({"arms": {"plain": {"set": {"gain": 3}}}}, "experiment: expected a gain of at most 1, got 3"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        toy_study(**changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": "luky"}, r"primary\.0\.arm: there is no 'luky'; did you mean 'lucky'"),
        ({"against": "none"}, r"primary\.0\.against: there is no 'none'"),
        ({"outcome": "scores"}, r"primary\.0\.outcome: there is no 'scores'; did you mean 'score'"),
        ({"outcome": "size"}, r"primary\.0\.outcome: of 'size' neither more nor less is better"),
        ({"margin": 0}, r"primary\.0\.margin: expected a margin above 0, got 0"),
        ({"margin": None}, r"primary\.0\.margin: missing|primary\.0\.margin: expected"),
        ({"arm": None}, r"primary\.0\.arm: missing"),
        ({"margins": 1}, r"primary\.0\.margins: unknown key"),
    ],
)
def test_a_contrast_that_makes_no_sense_is_one_sentence(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        toy_study(primary=[{**request()["primary"][0], **change}])


def test_quick_and_then_words_are_laid_over_a_file(tmp_path: Path) -> None:
    from dreamer import config

    path = tmp_path / "mine.yaml"
    config.save(request(quick={"data": {"coins": {"seeds": [1]}}, "arms": {"lucky": {"set": {"gain": 0.2}}}}), path)
    full, quick = study.load(str(path)), study.load(str(path), quick=True)
    assert (full.name, len(full.cells), len(quick.cells)) == ("mine", 12, 2)
    assert quick.cells[1].settings["gain"] == 0.2
    laid = study.load(str(path), ["arms.lucky.set.gain=0.3", "data.coins.seeds=[7]"], quick=True)
    assert (laid.cells[1].seed, laid.cells[1].settings["gain"]) == (7, 0.3)


def test_a_study_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match="there is no study 'gausian'; did you mean 'gaussian'"):
        study.load("gausian")
    with pytest.raises(ConfigError, match="expected one study and then key=value, got 'snake'"):
        study.load("gaussian", ["snake"])


@pytest.mark.parametrize("name", study.catalog())
def test_every_study_can_be_run_in_full_and_quick_and_has_a_question(name: str) -> None:
    first, second = study.catalog()[name].read_text().splitlines()[:2]
    assert first == f"# dreamer study {name}"
    assert second == f"# {config.describe_studies()[name]}"
    full, quick = study.load(name), study.load(name, quick=True)
    assert full.question and full.limits
    assert all(full.arms.values()) and all(full.data.values()), "an arm or data set is not described"
    assert not study.short_of_seeds(full), "no primary contrast can be concluded"
    assert full.title == quick.title and set(quick.arms) <= set(full.arms)
    assert quick.primary == full.primary or not quick.primary or quick.primary[0].margin == full.primary[0].margin

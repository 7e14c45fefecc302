"""A study is run, resumed, given a verdict and written, whatever happens to its cells."""

from __future__ import annotations

import csv
import json

import pytest

from dreamer.config.binding import ConfigError
from dreamer.studies import run as session
from dreamer.studies.tables import plain_findings
from tests.helpers.toy_study import toy_study


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory):
    """A study in which one arm crashes at its first try, one at every try, and one cannot be run."""
    folder = tmp_path_factory.mktemp("study")
    arms = {
        "plain": {"about": "Adds nothing."},
        "lucky": {"about": "Adds a tenth.", "set": {"gain": 0.1, "fate": "die"}},
        "poor": {"about": "Has none.", "set": {"fate": "refuse"}},
        "cursed": {"about": "Never ends.", "set": {"fate": "always_die"}},
    }
    data = {"coins": {"about": "Coins.", "seeds": [1]}}
    study = toy_study(arms=arms, data=data)
    return study, folder, session.conduct(study, folder, session.Resources(workers=2), command="dreamer study toy")


def test_cells_that_crash_are_tried_again_and_those_that_cannot_be_run_are_reported(completed) -> None:
    _, folder, findings = completed
    assert [run.cell.arm for run in findings.runs] == ["plain", "lucky"]
    assert [(cell.arm, cell.reason) for cell in findings.missing] == [
        ("poor", "dreamer: there are no coins"),
        ("cursed", "killed by SIGKILL"),
    ]
    assert len(list((folder / "cells/coins/lucky/seed1").glob("try*"))) == 2


def test_a_study_that_is_started_again_runs_only_what_is_missing(completed) -> None:
    study, folder, _ = completed
    before = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*/*/results.json")}
    again = session.conduct(study, folder, session.Resources(retries=0))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(again.runs) == 2
    tries = {arm: len(list((folder / f"cells/coins/{arm}/seed1").glob("try*"))) for arm in study.arms}
    assert tries == {"plain": 1, "lucky": 2, "poor": 2, "cursed": 3}


def test_its_files_hold_every_number(completed) -> None:
    _, folder, findings = completed
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [(row["arm"], row["seed"]) for row in rows] == [(arm, "1") for arm in ("plain", "lucky", "poor", "cursed")]
    assert float(rows[1]["score"]) == findings.runs[1].results["outcomes"]["score"]
    assert rows[0]["size"] == "" and rows[2]["missing"] == "dreamer: there are no coins"
    course = list(csv.DictReader((folder / "curves.csv").read_text().splitlines()))
    assert [(row["generation"], row["score"]) for row in course[:1]] == [("1", "0.5")]
    whole = json.loads((folder / "results.json").read_text())
    assert whole["complete"] is False and whole["primary"][0]["n"] == 1
    assert whole["cells"][0]["folder"] == "cells/coins/plain/seed1"
    assert (folder / "study.yaml").is_file() and (folder / "report.html").is_file()


def test_the_terminal_shows_outcomes_verdicts_and_what_is_missing(completed) -> None:
    text = plain_findings(completed[2])
    assert "lucky" in text and "missing: poor on coins, seed 1: dreamer: there are no coins" in text
    assert "there are too few pairs to compare lucky with plain" in text


def test_other_settings_in_the_same_folder_are_refused_before_anything_is_trained(completed) -> None:
    _, folder, _ = completed
    other = toy_study(arms={"plain": {"about": "Adds something.", "set": {"gain": 0.5}}, "lucky": {}})
    with pytest.raises(ConfigError, match=r"settings\.gain: None there, 0\.5 now"):
        session.conduct(other, folder)
    assert not (folder / "cells/coins/lucky/seed2").exists()

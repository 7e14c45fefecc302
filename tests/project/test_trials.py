"""Trials on held-out data, on runs that are made up."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reproductions import records
from reproductions.trials import Trials, make_as_typed

HELD_OUT = {("--seed", "11"): [0.5, 0.7], ("wake.steps=9", "--seed", "11"): [0.8, 0.6]}


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trials:
    def run_of(words: list[str], folder: Path) -> tuple[dict[str, Any], float]:
        (own,) = (held for settings, held in HELD_OUT.items() if words[1 : words.index("data.root=DIR")] == [*settings])
        rows = [{"validation": [0.0], "accuracy": [0.0]}, {"validation": own, "accuracy": [0.1, 0.1]}]
        return {"accuracy_matrix": {"rows": rows}}, 12.34

    monkeypatch.setattr(records, "run_of", run_of)
    page = tmp_path / "page.md"
    page.write_text("<!-- written by reproductions/tried.py: digits -->\n<!-- until here -->\n", encoding="utf-8")
    settings = {"as it is": (), "longer days": ("wake.steps=9",)}
    return Trials("tried", tmp_path / "tried.json", page, "digits", (11,), settings)


def typed(trials: Trials, monkeypatch: pytest.MonkeyPatch, *words: str, beside: Sequence[Trials] = ()) -> None:
    monkeypatch.setattr(sys, "argv", ["trials", "DIR", *words])
    make_as_typed("what it is", trials, *beside)


def test_a_trial_is_recorded_by_its_held_out_score_alone(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(trials, monkeypatch)
    assert [one["held_out"] for one in trials.runs.all()] == pytest.approx([0.6, 0.7])
    assert "accuracy" not in json.dumps(trials.runs.all())
    assert "| longer days | 70.00 | +10.00 | 11 | 12 |" in trials.page.read_text(encoding="utf-8")


def test_one_trial_alone_stands_in_the_table_without_a_difference(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(trials, monkeypatch, "--only", "longer days")
    assert "| longer days | 70.00 |  | 11 | 12 |" in trials.table() and "as it is |" not in trials.table()


def test_each_stream_has_its_own_record_and_table(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    with trials.page.open("a", encoding="utf-8") as page:
        page.write("<!-- written by reproductions/tried.py: table -->\n<!-- until here -->\n")
    other = dataclasses.replace(trials, record=trials.record.with_name("other.json"), stream="table")
    typed(trials, monkeypatch, "--streams", "table", "--only", "longer days", beside=[other])
    assert trials.runs.all() == []
    assert [one["command"] for one in other.runs.all()] == ["dreamer run table wake.steps=9 --seed 11"]
    above, below = trials.page.read_text(encoding="utf-8").split("tried.py: table")
    assert trials.table() in above and "longer days" not in above and other.table() in below


def test_a_stream_finds_its_data_in_its_own_folder(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run_of(words: list[str], folder: Path) -> tuple[dict[str, Any], float]:
        seen.extend(word for word in words if word.startswith("data.root"))
        return {"accuracy_matrix": {"rows": [{"validation": [0.5]}]}}, 1.0

    monkeypatch.setattr(records, "run_of", run_of)
    typed(dataclasses.replace(trials, within="cifar10"), monkeypatch, "--only", "as it is")
    assert seen == ["data.root=DIR/cifar10"]


def test_a_trial_with_other_words_than_on_record_is_made_again(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(trials, monkeypatch)
    first, other = trials.runs.all()
    records.write(trials.record, {"runs": [first | {"command": "dreamer run text", "held_out": 0.1}, other]})
    typed(trials, monkeypatch)
    assert [one["held_out"] for one in trials.runs.all()] == pytest.approx([0.6, 0.7])


@pytest.mark.parametrize(("words", "left"), [(["digits", "--out", "HERE"], False), (["--resume", "HERE"], True)])
def test_a_new_run_begins_anew_where_one_was_stopped(
    words: list[str], left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").touch()
    found: list[bool] = []

    def timed(command: list[str], log: Path) -> tuple[int, float]:
        found.append((folder / "config.yaml").exists())
        folder.mkdir(exist_ok=True)
        (folder / "results.json").write_text("{}", encoding="utf-8")
        return 0, 1.0

    monkeypatch.setattr(records, "timed", timed)
    assert records.run_of(words, folder) == ({}, 1.0) and found == [left]

"""Runs on record are made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reproductions import records
from reproductions.comparison import Comparison, Protocol


def test_a_stream_finds_its_data_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    def run_of(words: list[str], folder: Path) -> tuple[dict[str, Any], float]:
        raise Seen(*(word for word in words if word.startswith("data.root")))

    monkeypatch.setattr(records, "run_of", run_of)
    protocol = Protocol((1,), {"a": ()}, within="cifar10")
    with pytest.raises(Seen, match=r"^data\.root=data/cifar10$"):
        Comparison(tmp_path / "record.json", {"folder": protocol}, "a").make("data", tmp_path, 1)


def test_runs_on_record_are_made_again_only_for_another_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run_of(words: list[str], folder: Path) -> tuple[dict[str, Any], float]:
        ran.append(words)
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {"average_accuracy": 0.9, "forgetting": 0.1, "sleep_gain": None}
        cost = {"samples": {}, "optimizer_steps": {"wake": 1}, "bytes": {}}
        versions = dict.fromkeys(("python", "torch", "lightning"), "1")
        return {"metrics": metrics, "cost": cost, "versions": versions, "accuracy_matrix": {"rows": []}}, 1.0

    def make(machine: str, folder: str, **arms: tuple[str, ...]) -> int:
        monkeypatch.setattr(records, "machine", lambda: machine)
        ran.clear()
        Comparison(tmp_path / "record.json", {"digits": Protocol((1, 2), arms)}, "a").make("data", tmp_path / folder, 1)
        return len(ran)

    monkeypatch.setattr(records, "run_of", run_of)
    assert make("one", "first", a=()) == 2
    assert make("one", "second", a=(), b=("wake.steps=1",)) == 2
    assert make("one", "third", a=(), b=("wake.steps=2",)) == 2
    # what was one arm is another one now
    assert make("one", "fourth", a=("wake.steps=2",), b=()) == 4
    # the folder of an arm may hold what it was before
    assert make("one", "fourth", a=(), b=("wake.steps=2",)) == 4
    assert make("one", "fourth", a=("wake.steps=2",), b=()) == 4
    # on another machine what is there stays, and says where it was made
    assert make("another", "fifth", a=("wake.steps=2",), b=(), c=()) == 2
    runs = records.read(tmp_path / "record.json", None)["runs"]
    made = [
        ("a", 1, "one"),
        ("b", 1, "one"),
        ("c", 1, "another"),
        ("a", 2, "one"),
        ("b", 2, "one"),
        ("c", 2, "another"),
    ]
    assert [(run["arm"], run["seed"], run["machine"]) for run in runs] == made

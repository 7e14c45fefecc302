"""What a person types: a grid is lived, killed, gone on with, and its table is that of an undisturbed one."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamer.cli import main as cli
from dreamer.cli.compare import requested

CHECKOUT = Path(__file__).parent.parent.parent
SHORT = ["stream.experiences=2", "wake.steps=30"]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return {**inherited, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


def begin(cwd: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dreamer.cli", "compare", *words]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def compare(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    process = begin(cwd, *words)
    out, err = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def cells(folder: Path) -> list[dict[str, Any]]:
    """The table, without what a clock says."""
    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


ARMS = ["er memory.capacity=40", "avalanche:Replay", "fine_tune"]
GRID = [*ARMS, *SHORT, "--seeds", "2", "--stream", "digits", "--retries", "2"]


@pytest.mark.slow
def test_killed_in_the_middle_and_gone_on_with_it_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = compare(tmp_path, *GRID, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    process = begin(tmp_path, *GRID, "--out", "killed")
    _wait(lambda: len(list((tmp_path / "killed").rglob("results.json"))) >= 1, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed" / "report.html").exists()
    process = begin(tmp_path, *GRID, "--out", "killed")
    before = len(list((tmp_path / "killed").rglob("results.json")))
    _wait(lambda: _worker(process.pid) is not None, process)
    os.kill(_worker(process.pid), signal.SIGKILL)  # type: ignore[arg-type]
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert before < 6 and "SIGKILL" in err
    assert cells(tmp_path / "killed") == cells(tmp_path / "whole")
    assert "report: killed/report.html" in out


def _wait(for_: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not for_():
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]


def _worker(parent: int) -> int | None:
    """A child that lives a cell."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for child in children.read_text().split() if children.exists() else []:
        try:
            if b"dreamer.compare.cell" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        except OSError:
            continue
    return None


@pytest.mark.slow
def test_lives_and_table_reach_wandb_offline_and_are_found_there(tmp_path: Path) -> None:
    said = compare(tmp_path, "er", "avalanche:Naive", *SHORT, "--seeds", "1", "--wandb", "--out", "logged")
    assert said.returncode == 0, said.stderr
    runs = sorted((tmp_path / "logged").rglob("offline-run-*"))
    assert len([run for run in runs if run.is_dir()]) == 3  # two lives and the table
    files = [path for path in (tmp_path / "logged").rglob("results.json") if path.parent.name == "files"]
    assert len(files) == 2
    again = compare(tmp_path, "--from", "logged", "--out", "again")
    assert again.returncode == 0, again.stderr
    one, two = cells(tmp_path / "logged"), cells(tmp_path / "again")
    assert {(row["arm"], row["average_accuracy"]) for row in one} == {
        (row["arm"], row["average_accuracy"]) for row in two
    }


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Types a comparison into this process: for what is answered before anything is lived."""

    def type_it(cwd: Path, *words: str) -> tuple[int, str]:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["dreamer", "compare", *words])
        monkeypatch.setattr(sys, "path", [*sys.path])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0), capsys.readouterr().err

    return type_it


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["era"], "no configuration called 'era'"),
        (["er", "--stream", "nowhere"], "no configuration called 'nowhere'"),
        (["avalanche:Repley"], "Repley"),
        ([], "expected strategies to compare, or the YAML of a grid, got none"),
        (["grid.yaml"], "expected the YAML of a grid at 'grid.yaml', found none"),
        (["er", "--seeds", "many"], "--seeds: expected a number of seeds"),
        (["er", "--budget", "steps"], "--budget: expected steps=NUMBER"),
        (["er", "--engine", "slurm"], "--engine: expected local or ray, got 'slurm'"),
        (["--from", "nowhere"], "expected a folder with lives at 'nowhere', found none"),
        (["er", "--from", "."], "--from reports on runs that are there"),
        (["er", "memory.capcity=3"], "memory.capcity: unknown key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_gets_one_clear_message(
    typed: Callable[..., tuple[int, str]], tmp_path: Path, words: list[str], said: str
) -> None:
    code, err = typed(tmp_path, *words)
    assert code == 2
    assert said in err and err.startswith("dreamer: ") and err.count("\n") == 1
    assert not list(tmp_path.rglob("cell.json"))


def test_a_folder_that_cannot_be_written_to_is_refused(typed: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    code, err = typed(tmp_path, "er", *SHORT, "--out", "taken/inside")
    assert code == 2 and "cannot write to taken/inside" in err and err.count("\n") == 1


def test_another_grid_in_the_same_folder_is_refused_before_anything_is_written(
    typed: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    there = tmp_path / "house" / "cells" / "digits" / "er" / "seed1"
    there.mkdir(parents=True)
    (there / "cell.json").write_text(
        json.dumps({"arm": "er", "stream": "digits", "seed": 1, "config": {}, "code": "x"})
    )
    code, err = typed(tmp_path, "lwf", "er", *SHORT, "--seeds", "1", "--out", "house")
    assert code == 2 and "was begun with another configuration" in err
    assert [path.parent for path in tmp_path.rglob("cell.json")] == [there]


def test_a_yaml_asks_for_what_words_ask_for(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("arms: [er, lwf]\nstreams: [digits]\nseeds: [4, 5]\nset: [wake.steps=3]\n")
    from_file = requested([str(grid), "wake.batch_size=9"], None, None, "lwf", None, None, None, False)
    assert from_file == {
        "arms": ["er", "lwf"],
        "streams": ["digits"],
        "seeds": [4, 5],
        "set": ["wake.steps=3", "wake.batch_size=9"],
        "reference": "lwf",
    }

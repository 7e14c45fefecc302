"""A comparison as it is typed: killed, resumed, and logged to W&B."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
SHORT = ["stream.experiences=2", "wake.steps=30"]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return {**inherited, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


def begin(cwd: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dreamer", "compare", *words]
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
    """A child process that runs a cell."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for child in children.read_text().split() if children.exists() else []:
        try:
            if b"dreamer.compare.cell" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        except OSError:
            continue
    return None


def test_runs_and_table_reach_wandb_offline_and_are_found_there(tmp_path: Path) -> None:
    said = compare(tmp_path, "er", "avalanche:Naive", *SHORT, "--seeds", "1", "--wandb", "--out", "logged")
    assert said.returncode == 0, said.stderr
    runs = sorted((tmp_path / "logged").rglob("offline-run-*"))
    assert len([run for run in runs if run.is_dir()]) == 3  # two runs and the table
    files = [path for path in (tmp_path / "logged").rglob("results.json") if path.parent.name == "files"]
    assert len(files) == 2
    again = compare(tmp_path, "--from", "logged", "--out", "again")
    assert again.returncode == 0, again.stderr
    one, two = cells(tmp_path / "logged"), cells(tmp_path / "again")
    assert {(row["arm"], row["average_accuracy"]) for row in one} == {
        (row["arm"], row["average_accuracy"]) for row in two
    }

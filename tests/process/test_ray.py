"""The same cells on a Ray of two workers: the same outcomes, and the same folders, as run here."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from dreamer.compare.grid import PROGRAM
from dreamer.jobs import manifest
from dreamer.jobs.job import Event, Interrupted
from dreamer.jobs.manifest import completed
from dreamer.jobs.pool import run_jobs
from dreamer.jobs.ray import run_jobs_on_ray
from tests.helpers.digits_cells import digits_cells, numbers
from tests.helpers.stand_in_job import SOURCE, STAND_IN, StandIn, cells


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason="needs ray: pip install 'dreamer[ray]'")
    ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="warning")
    yield ray
    ray.shutdown()


@pytest.fixture
def heard():
    """Ctrl-C is heard even where this process was begun in the background, by a shell that lets it be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_outcomes_and_folders_are_those_of_the_engine_here(ray, tmp_path):
    does = ["finish", ["crash", "finish"], ["die", "finish"], "crash", "refuse", "half"]
    there, here = cells(tmp_path / "there", *does), cells(tmp_path / "here", *does)
    events: list[Event] = []
    far = run_jobs_on_ray(there, STAND_IN, watch=events.append)
    near = run_jobs(here, STAND_IN, workers=2)
    assert [(o.done, o.attempts, o.reason) for o in far] == [(o.done, o.attempts, o.reason) for o in near]
    assert [o.folder for o in far] == there and [completed(folder) for folder in there] == [True] * 3 + [False] * 3
    for folder, other in zip(there, here, strict=True):
        kinds = [event.kind for event in events if event.folder == folder]
        assert kinds[::2] == ["started"] * (len(kinds) // 2) and kinds[-1] in ("done", "failed")
        assert (folder / "cell.log").read_text().count("[attempt ") == (other / "cell.log").read_text().count(
            "[attempt "
        )
        if completed(folder):
            assert (
                json.loads((folder / "results.json").read_text())["cell"]
                == json.loads((other / "results.json").read_text())["cell"]
            )
            assert {path.name for path in folder.iterdir()} == {path.name for path in other.iterdir()} - {
                "checkpoints",
                ".lock",
                ".lock-holder",
            }
            assert (folder / "dreams" / "night_00.png").read_text() == "a picture"
        else:
            assert {path.name for path in folder.iterdir()} == {"cell.json", "cell.log"}
    assert not list(tmp_path.glob("there/*/.*")), "neighbours were left behind"


def test_a_worker_of_ray_that_is_killed_costs_a_try(ray, tmp_path):
    (folder,) = cells(tmp_path, "finish")
    marker = tmp_path / "killed"

    def command(folder: Path) -> list[str]:
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [sys.executable, str(SOURCE), str(folder)]

    events: list[Event] = []
    (outcome,) = run_jobs_on_ray([folder], StandIn(command), watch=events.append)
    assert (outcome.done, outcome.attempts) == (True, 2)
    assert [event.kind for event in events] == ["started", "died", "started", "done"]
    assert "died unexpectedly" in events[1].reason


def test_cells_get_their_threads_and_gpus(ray, tmp_path):
    (folder,) = cells(tmp_path, "environment")
    (outcome,) = run_jobs_on_ray([folder], STAND_IN, threads=2, gpus=1)
    seen = json.loads((folder / "environment").read_text())
    assert outcome.done and seen["OMP_NUM_THREADS"] == seen["MKL_NUM_THREADS"] == "2"
    assert seen["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_node_with_other_code_is_refused(ray, tmp_path, monkeypatch):
    (folder,) = cells(tmp_path, "finish")
    monkeypatch.setattr(manifest.Program, "fingerprint", lambda self: "0.0+other")
    (outcome,) = run_jobs_on_ray([folder], STAND_IN, retries=3)
    assert (outcome.done, outcome.attempts) == (False, 1)
    assert "and this machine 0.0+other: install the same" in outcome.reason


def test_what_lies_in_the_folder_gives_way_to_what_is_delivered(ray, tmp_path):
    folder, missing = *cells(tmp_path, "finish"), tmp_path / "nowhere"
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_text("of a run that was stopped")
    (folder / "cell.log").write_text("[attempt 1 of 1]\nbroke off\n")
    done, failed = run_jobs_on_ray([folder, missing], STAND_IN)
    assert done.done and not (folder / "checkpoints").exists()
    assert (folder / "cell.log").read_text().startswith("[attempt 1 of 1]\nbroke off\n\n[attempt 1 of 2")
    assert not failed.done and "nowhere" in failed.reason


def test_ctrl_c_stops_the_tasks(ray, tmp_path, heard):
    folders = cells(tmp_path, "hang", "hang", "hang")
    events: list[Event] = []

    def press() -> None:
        until = time.monotonic() + 120
        while sum(event.kind == "started" for event in events) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    finger.start()
    with pytest.raises(Interrupted):
        run_jobs_on_ray(folders, STAND_IN, watch=events.append)
    finger.join()
    assert sorted(event.kind for event in events) == ["started", "started", "stopped", "stopped"]
    assert not any(completed(folder) for folder in folders)


def test_runs_are_the_same_as_here(ray, tmp_path):
    there, here = digits_cells(tmp_path / "there"), digits_cells(tmp_path / "here")
    assert all(outcome.done for outcome in run_jobs_on_ray(there, PROGRAM))
    assert all(outcome.done for outcome in run_jobs(here, PROGRAM, workers=2, threads=1))
    assert [numbers(folder) for folder in there] == [numbers(folder) for folder in here]
    for folder, other in zip(there, here, strict=True):
        left = {path.relative_to(folder) for path in folder.rglob("*")}
        assert left == {
            path.relative_to(other) for path in other.rglob("*") if not {"checkpoints", ".lock"} & {*path.parts}
        }

"""Worker processes that die, hang, refuse and are stopped, with a stand-in that costs nothing in place of a run."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dreamer.compare.grid import PROGRAM
from dreamer.config.binding import ConfigError
from dreamer.core.lock import locked
from dreamer.jobs.job import Event, Interrupted, Outcome
from dreamer.jobs.manifest import completed
from dreamer.jobs.pool import run_jobs
from tests.helpers.digits_cells import digits_cells, numbers
from tests.helpers.stand_in_job import SOURCE, STAND_IN, StandIn, cells


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that will happen; how soon is nobody's business."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"waited a minute for {what}"
        time.sleep(0.02)


def alone(folder: Path) -> bool:
    """Whether nobody holds the log of a cell any more: neither its process nor what that one started."""
    with open(folder / "cell.log", "ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def log(folder: Path) -> str:
    return (folder / "cell.log").read_text()


def tries(folder: Path) -> int:
    return len((folder / "tries").read_text().split())


class Watch:
    """Records the events, and acts on them."""

    def __init__(self, act: Callable[[Event], object] = lambda event: None):
        self.events: list[Event] = []
        self._act = act

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._act(event)

    def kinds(self, folder: Path) -> list[str]:
        return [event.kind for event in self.events if event.folder == folder]


@pytest.fixture(params=[False, True], ids=["cold", "warm"])
def run(request: pytest.FixtureRequest) -> Callable[..., list[Outcome]]:
    """Runs jobs, each in an interpreter of its own, or in a fork of one that has imported everything."""
    return partial(run_jobs, warm=request.param)


def test_every_cell_is_run_and_the_outcomes_come_in_order(run, tmp_path):
    folders, watch = cells(tmp_path, "finish", "finish", "finish"), Watch()
    outcomes = run(folders, STAND_IN, workers=2, watch=watch)
    assert [outcome.folder for outcome in outcomes] == folders
    assert all(outcome.done and outcome.attempts == 1 and not outcome.reason for outcome in outcomes)
    assert all(outcome.seconds > 0 for outcome in outcomes)
    assert all(completed(folder) and watch.kinds(folder) == ["started", "done"] for folder in folders)


def test_a_cell_that_dies_is_tried_again_and_the_others_go_on(run, tmp_path):
    folders, watch = cells(tmp_path, ["crash", "finish"], "finish", ["die", "finish"]), Watch()
    outcomes = run(folders, STAND_IN, workers=1, watch=watch)
    assert [(outcome.done, outcome.attempts) for outcome in outcomes] == [(True, 2), (True, 1), (True, 2)]
    assert watch.kinds(folders[0]) == ["started", "died", "started", "done"]
    died = {event.folder: event.reason for event in watch.events if event.kind == "died"}
    assert died[folders[0]] == "exit code 1: ValueError: the sheep ran out"
    assert died[folders[2]] == "killed by SIGKILL: tries to die"
    # the second try waits at the end of the queue
    assert [event.folder for event in watch.events if event.kind == "done"] == [folders[1], folders[0], folders[2]]


def test_a_cell_that_keeps_dying_is_reported_with_the_last_word_of_its_log(run, tmp_path):
    folders, watch = cells(tmp_path, "crash", "finish"), Watch()
    failed, done = run(folders, STAND_IN, workers=2, retries=2, watch=watch)
    assert (failed.done, failed.attempts) == (False, 3) and tries(folders[0]) == 3
    assert failed.reason == "exit code 1: ValueError: the sheep ran out"
    assert watch.kinds(folders[0]) == ["started", "died"] * 2 + ["started", "failed"]
    assert failed.seconds == pytest.approx(sum(e.seconds for e in watch.events if e.folder == folders[0]))
    assert done.done


def test_without_retries_the_first_death_is_the_last(run, tmp_path):
    (outcome,) = run(cells(tmp_path, ["die", "finish"]), STAND_IN, workers=1, retries=0)
    assert (outcome.done, outcome.attempts) == (False, 1)


def test_a_configuration_that_cannot_be_run_is_not_tried_again(run, tmp_path):
    folders = cells(tmp_path, "refuse", "finish")
    refused, done = run(folders, STAND_IN, workers=1, retries=5)
    assert (refused.done, refused.attempts, refused.reason) == (False, 1, "dreamer: wake.stepz: unknown key")
    assert tries(folders[0]) == 1 and done.done


def test_an_exit_without_complete_results_is_a_death(run, tmp_path):
    (outcome,) = run(cells(tmp_path, "half"), STAND_IN, workers=1, retries=0)
    assert not outcome.done and outcome.reason == "ended without complete results: tries to half"


def test_what_cannot_be_started_fails_and_the_others_go_on(run, tmp_path):
    folders, watch = [tmp_path / "nowhere", *cells(tmp_path, "finish")], Watch()
    missing, done = run(folders, STAND_IN, workers=1, watch=watch)
    assert not missing.done and "nowhere" in missing.reason and missing.reason.startswith("could not be started: ")
    assert watch.kinds(folders[0]) == ["started", "failed"] and done.done


def test_a_worker_that_is_killed_from_outside_is_tried_again(run, tmp_path):
    folders = cells(tmp_path, ["hang", "finish"], "finish")

    def kill() -> None:
        until((folders[0] / "pid").exists, "the worker")
        os.kill(int((folders[0] / "pid").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = run(folders, STAND_IN, workers=2)
    killer.join()
    assert [(outcome.done, outcome.attempts) for outcome in outcomes] == [(True, 2), (True, 1)]


def test_the_parents_death_leaves_no_orphans(run, tmp_path):
    folders = cells(tmp_path, "hang", "hang", "finish")
    code = (
        "import sys; from pathlib import Path; from dreamer.jobs.pool import run_jobs\n"
        "from tests.helpers.stand_in_job import STAND_IN\n"
        "run_jobs([Path(word) for word in sys.argv[2:]], STAND_IN, workers=2, warm=sys.argv[1] == 'True')"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(run.keywords["warm"]), *map(str, folders)])
    try:
        until(lambda: all((folder / "pid").exists() for folder in folders[:2]), "both workers")
        assert not alone(folders[0]) and not alone(folders[1])
    finally:
        parent.kill()
        parent.wait()
    until(lambda: alone(folders[0]) and alone(folders[1]), "the workers and their helpers to end")
    assert not (folders[2] / "tries").exists()
    for folder in folders:
        (folder / "cell.json").write_text(json.dumps({"do": ["finish"]}))
    assert all(outcome.done for outcome in run(folders, STAND_IN, workers=2))


def test_a_process_that_is_no_job_watches_nobody():
    code = "import threading; from dreamer.jobs.watchdog import die_with_parent; die_with_parent()"
    done = subprocess.run([sys.executable, "-c", f"{code}; assert threading.active_count() == 1"])
    assert done.returncode == 0


@pytest.fixture
def interrupt():
    """Presses Ctrl-C as soon as some files are there."""
    over, fingers = threading.Event(), []

    def press(*files: Path) -> None:
        def wait() -> None:
            while not over.is_set():
                if all(file.exists() for file in files):
                    return os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.02)

        fingers.append(threading.Thread(target=wait))
        fingers[-1].start()

    yield press
    over.set()
    for finger in fingers:
        finger.join()


def test_ctrl_c_lets_cells_save_and_stops(run, tmp_path, interrupt):
    folders, watch = cells(tmp_path, "save", "save", "finish"), Watch()
    interrupt(folders[0] / "pid", folders[1] / "pid")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        run(folders, STAND_IN, workers=2, watch=watch)
    assert (folders[0] / "saved").exists() and (folders[1] / "saved").exists()
    assert watch.kinds(folders[0]) == watch.kinds(folders[1]) == ["started", "stopped"]
    assert watch.kinds(folders[2]) == [] and issubclass(Interrupted, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is before


def test_who_does_not_end_in_time_is_ended(run, tmp_path, interrupt):
    folders = cells(tmp_path, "deaf")
    interrupt(folders[0] / "pid")
    with pytest.raises(Interrupted):
        run(folders, STAND_IN, workers=1, patience=0.2)
    assert alone(folders[0])


def test_a_second_ctrl_c_waits_for_nobody(run, tmp_path, interrupt):
    folders = cells(tmp_path, "deaf", "save")
    interrupt(folders[0] / "pid", folders[1] / "pid")
    interrupt(folders[1] / "saved")
    with pytest.raises(Interrupted):
        run(folders, STAND_IN, workers=2, patience=1e6)
    assert alone(folders[0])


def test_an_error_of_the_watcher_leaves_no_worker_behind(run, tmp_path):
    folders = cells(tmp_path, "hang")

    def fail(event: Event) -> None:
        raise RuntimeError("no display")

    with pytest.raises(RuntimeError, match="no display"):
        run(folders, STAND_IN, workers=1, watch=fail)
    until(lambda: alone(folders[0]), "the worker to end")


def test_no_more_jobs_than_workers_run_at_once(run, tmp_path):
    folders = cells(tmp_path, *["count"] * 5)
    run(folders, STAND_IN, workers=2)
    assert max(int((folder / "running").read_text()) for folder in folders) <= 2


def test_workers_run_side_by_side(run, tmp_path):
    outcomes = run(cells(tmp_path, "overlap", "overlap"), STAND_IN, workers=2, retries=0)
    assert all(outcome.done for outcome in outcomes)


def seen(folder: Path) -> dict[str, str]:
    return json.loads((folder / "environment").read_text())


def test_cells_get_their_part_of_threads_and_devices(run, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("dreamer.jobs.pool.cores", lambda: 7)
    (plain,) = cells(tmp_path / "plain", "environment")
    run([plain], STAND_IN, workers=2)
    assert seen(plain)["OMP_NUM_THREADS"] == seen(plain)["MKL_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in seen(plain) and "DREAMER_WATCHDOG" not in seen(plain)
    (crowded,) = cells(tmp_path / "crowded", "environment")
    run([crowded], STAND_IN, workers=9, threads=None)
    assert seen(crowded)["OMP_NUM_THREADS"] == "1"
    given = cells(tmp_path / "given", "environment", "environment", "environment")
    run(given, STAND_IN, workers=3, threads=5, devices=["0", "GPU-b"])
    assert {seen(folder)["OMP_NUM_THREADS"] for folder in given} == {"5"}
    assert sorted(seen(folder)["CUDA_VISIBLE_DEVICES"] for folder in given) == ["0", "0", "GPU-b"]


def test_the_users_own_word_on_threads_holds(run, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    (folder,) = cells(tmp_path, "environment")
    run([folder], STAND_IN, workers=1)
    assert seen(folder)["OMP_NUM_THREADS"] == "2"


def test_the_log_says_which_try_said_what(run, tmp_path):
    (folder,) = cells(tmp_path, ["crash", "finish"])
    run([folder], STAND_IN, workers=1)
    heads = re.findall(r"^\[attempt (\d) of (\d), \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]$", log(folder), re.MULTILINE)
    assert heads == [("1", "2"), ("2", "2")]
    first, second = log(folder).split("\n[attempt 2 of 2")
    assert "Traceback" in first and "tries to crash" in first and "remark: leaving" in first
    assert "tries to finish" in second and "Traceback" not in second
    before = log(folder)
    run([folder], STAND_IN, workers=1)
    assert log(folder).startswith(before) and log(folder) != before


def test_an_attempt_waits_for_who_is_still_at_work_in_its_folder(run, tmp_path, monkeypatch):
    waits, goes = cells(tmp_path, "finish", "finish")
    monkeypatch.setenv("PATIENCE", "0.1")
    with locked(waits):
        stuck, done = run([waits, goes], STAND_IN, workers=1)
    assert not stuck.done and stuck.attempts == 1
    assert stuck.reason.startswith(
        f"dreamer: {waits} is in use by process {os.getpid()} on {socket.gethostname()} since "
    )
    assert done.done and not (waits / "tries").exists()
    monkeypatch.setenv("PATIENCE", "60")
    lock = locked(waits)
    lock.__enter__()
    release = threading.Timer(0.5, lock.__exit__, (None, None, None))
    release.start()
    (outcome,) = run([waits], STAND_IN, workers=1)
    release.join()
    assert outcome.done


def test_a_comparison_is_run_by_one_engine_at_a_time(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from dreamer.core.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    with other, other.stdout:
        try:
            assert other.stdout.readline() == "locked\n"
            with pytest.raises(
                ConfigError, match=rf"is in use by process {other.pid} on .* since .*: wait for it, or stop it"
            ):
                with locked(tmp_path):
                    pytest.fail("two engines in one folder")
        finally:
            other.kill()
            other.wait()
    for _ in range(2):  # what a killed engine, or one that ended, leaves behind locks nobody out
        with locked(tmp_path), pytest.raises(ConfigError, match=rf"process {os.getpid()} on "), locked(tmp_path):
            pytest.fail("two engines in one folder")


def test_the_workers_do_not_hold_the_lock(tmp_path):
    (folder,) = cells(tmp_path, "hang")
    orphan = SOURCE.read_text().replace("die_with_parent()", "")
    holder = (
        "import sys; from pathlib import Path; from dreamer.jobs.pool import run_jobs\n"
        "from dreamer.core.lock import locked\n"
        "from tests.helpers.stand_in_job import StandIn\n"
        "folder, orphan = Path(sys.argv[1]), sys.argv[2]\n"
        "program = StandIn(lambda folder: [sys.executable, '-c', orphan, str(folder)])\n"
        "with locked(folder): run_jobs([folder / 'cell0'], program, workers=1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", holder, str(tmp_path), orphan])
    until((folder / "pid").exists, "the worker")
    parent.kill()
    parent.wait()
    try:
        with locked(tmp_path):
            assert not alone(folder)
    finally:
        os.killpg(int((folder / "pid").read_text()), signal.SIGKILL)


def test_a_run_that_is_killed_on_its_way_ends_as_if_nothing_had_happened(tmp_path):
    folders, others = digits_cells(tmp_path / "killed"), digits_cells(tmp_path / "undisturbed")

    def command(folder: Path) -> list[str]:
        return ["sh", "-c", 'echo $$ > "$1/pid"; exec "$0" -m dreamer.compare.cell "$1"', sys.executable, str(folder)]

    def kill() -> None:
        until((folders[0] / "checkpoints" / "last.ckpt").exists, "the first checkpoint")
        os.kill(int((folders[0] / "pid").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = run_jobs(folders, StandIn(command), workers=1, threads=1, warm=False)
    killer.join()
    assert [(outcome.done, outcome.attempts) for outcome in outcomes] == [(True, 2), (True, 1)]
    assert all(outcome.done for outcome in run_jobs(others, PROGRAM, workers=1, threads=1, warm=True))
    assert [numbers(folder) for folder in folders] == [numbers(folder) for folder in others]


def test_a_cell_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "cell.json").write_text("{}")
    (outcome,) = run_jobs([tmp_path], PROGRAM, workers=1, retries=3, threads=1)
    assert (outcome.done, outcome.attempts) == (False, 1) and outcome.reason.startswith("dreamer: expected the cell of")

"""Who may write into a run folder, and what a run that failed leaves there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import dreamer
from dreamer import config
from dreamer.core.lock import locked
from dreamer.runs import run as runs

SHORT = ("digits", "fine_tune", "wake.steps=2", "stream.experiences=2")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_runs_that_chose_the_same_folder_get_two() -> None:
    one, other = (runs.prepare(config.read(*SHORT, seed=5)) for _ in range(2))
    assert one.directory == other.directory
    with runs.owned(one) as first, runs.owned(other) as second:
        assert (first.directory, second.directory) == (
            Path("runs/digits-fine_tune/seed5"),
            Path("runs/digits-fine_tune/seed5-2"),
        )
        assert second.checkpoint.path.parent.parent == second.directory
        found = [runs.execute(each) for each in (first, second)]
    assert found[0]["accuracy_matrix"] == found[1]["accuracy_matrix"]
    assert all((each.directory / "results.json").is_file() for each in (first, second))


def test_a_folder_in_use_is_refused_and_its_holder_named(here: Path) -> None:
    prepared = runs.prepare(config.read(*SHORT, out="mine"))
    with locked(here / "mine"):
        holder = f"process {os.getpid()} on {socket.gethostname()} since "
        with pytest.raises(dreamer.ConfigError, match=f"mine is in use by {holder}"), runs.owned(prepared):
            pytest.fail("two processes in one folder")
    with pytest.raises(dreamer.ConfigError, match="there is no run to resume"), runs.reopened(here / "nowhere"):
        pass
    assert not (here / "nowhere").exists()


def test_a_folder_that_another_run_filled_meanwhile_is_refused(here: Path) -> None:
    prepared = runs.prepare(config.read(*SHORT, out="mine"))
    dreamer.run(*SHORT, out="mine", seed=3)
    before = (here / "mine" / "results.json").read_bytes()
    with pytest.raises(dreamer.ConfigError, match="holds another run"), runs.owned(prepared):
        pytest.fail("a run was overwritten")
    assert (here / "mine" / "results.json").read_bytes() == before


def test_a_resumed_run_is_let_in_once(here: Path) -> None:
    dreamer.run(*SHORT, out="mine")
    with runs.reopened(here / "mine"):
        with pytest.raises(dreamer.ConfigError, match="in use by process"), runs.reopened(here / "mine"):
            pytest.fail("two processes in one folder")


def fail_in(hook: str, out: str) -> None:
    """Start a run whose hook raises an error."""
    prepared = runs.prepare(config.read(*SHORT, out=out))

    def fail(*_: object) -> None:
        raise RuntimeError("no such device")

    setattr(prepared.module, hook, fail)
    with pytest.raises(RuntimeError, match="no such device"), runs.owned(prepared) as claimed:
        runs.execute(claimed)


def test_a_run_that_fails_before_its_first_step_blocks_nobody(here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").write_text("kept")
    fail_in("on_train_start", out="mine")
    assert {path.name for path in (here / "mine").iterdir()} <= {"notes.txt", ".lock"}
    assert dreamer.run(*SHORT, out="mine")["complete"]


def test_a_run_that_fails_later_is_kept(here: Path) -> None:
    fail_in("on_train_epoch_end", out="mine")
    assert (here / "mine" / "config.yaml").is_file() and (here / "mine" / "results.json").is_file()


def test_what_a_killed_process_had_not_written_to_its_end_is_removed(here: Path) -> None:
    own, anothers = here / "mine" / "dreams" / ".night_00.txt.7.writing", here / "mine" / "cell" / "last.writing"
    for path in (own, anothers, here / "mine" / "mine.txt", here / "mine" / "cell" / ".lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with locked(here / "mine"):
        assert not own.exists() and anothers.exists() and (here / "mine" / "mine.txt").exists()

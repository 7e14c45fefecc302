"""A run that is asked to stop saves after its step; resumed, it ends as if it had not been."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl

import dreamer
from dreamer import config
from dreamer.core.sealed import read_sealed
from dreamer.jobs.pool import counted_interruptions
from dreamer.runs import run as runs
from dreamer.runs import signals

SHORT = ("digits", "fine_tune", "wake.steps=6", "stream.experiences=2")


class Send(pl.Callback):
    """Sends signals to this process at a step."""

    def __init__(self, step: int, *numbers: signal.Signals):
        self.step, self.numbers = step, numbers

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            for number in self.numbers:
                os.kill(os.getpid(), number)


def stopped(folder: Path, *numbers: signal.Signals, step: int = 3) -> runs.Interrupted:
    prepared = runs.prepare(config.read(*SHORT, out=str(folder)))
    prepared.trainer.callbacks.append(Send(step, *numbers))
    before = {number: signal.getsignal(number) for number in signals.stopping()}
    with pytest.raises(runs.Interrupted) as raised:
        runs.execute(prepared)
    assert before == {number: signal.getsignal(number) for number in before}
    return raised.value


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_the_step_is_saved_and_the_run_resumes(number: signal.Signals, tmp_path: Path) -> None:
    assert stopped(tmp_path / "run", number).by == number
    assert read_sealed(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 4
    results = runs.execute(runs.resume(tmp_path / "run"), resume=True)
    whole = dreamer.run(*SHORT, out=str(tmp_path / "whole"))
    assert results["complete"] and results["accuracy_matrix"] == whole["accuracy_matrix"]


def test_sigterm_may_come_twice(tmp_path: Path) -> None:
    stopped(tmp_path / "run", signal.SIGTERM, signal.SIGTERM)
    assert read_sealed(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 4


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    stopped(tmp_path / "run", signal.SIGINT, signal.SIGINT)
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_sigusr1_stops_a_run_where_slurm_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signal.SIGUSR1 not in signals.stopping()
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert stopped(tmp_path / "run", signal.SIGUSR1).by == signal.SIGUSR1
    assert read_sealed(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 4


def test_the_job_of_an_array_is_its_own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert signals.job_of_slurm() == "17"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "15")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert signals.job_of_slurm() == "15_2"


def test_a_job_is_requeued_by_scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not signals.requeue("17")
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/typed\n")
    scontrol.chmod(0o755)
    assert signals.requeue("17") and (tmp_path / "typed").read_text() == "requeue 17\n"


def test_a_comparison_lets_its_cells_save_on_sigterm() -> None:
    with counted_interruptions() as interruptions:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruptions() == 1
        os.kill(os.getpid(), signal.SIGINT)
        assert interruptions() == 2

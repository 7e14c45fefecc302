"""Killed with SIGKILL for real, continued from the command line: the run folder ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SHORT = [
    "digits",
    "wake.steps=8",
    "wake.replay=16",
    "night.0.steps=4",
    "night.1.steps=6",
    "stream.experiences=3",
    "generator.hidden=[32]",
]

VICTIM = """
import os, signal, sys
import pytorch_lightning as pl
from dreamer import config
from dreamer.training import evaluation
from dreamer.runs import run as runs

place, out, words = sys.argv[1], sys.argv[2], sys.argv[3:]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)

class Kill(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        stage = module.hypnogram[batch.stage]
        if stage.experience == 1 and stage.kind == place and batch.step == 3:
            die()
    def on_train_epoch_start(self, trainer, module):
        if place == "between" and trainer.current_epoch == 4:
            die()

if place == "evaluation":
    measure, calls = evaluation.score, [0]
    def dying(*args):
        calls[0] += 1
        if calls[0] > 6 * 3 + 2:
            die()
        return measure(*args)
    evaluation.score = dying
alive = runs.prepare(config.read(*words, out=out))
alive.checkpoint.every_n_steps = 2
alive.trainer.callbacks.insert(0, Kill())
runs.execute(alive)
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, timeout=300)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "dreamer", "run", "--quiet", *words)


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def run_whole(tmp_path_factory: pytest.TempPathFactory, *words: str) -> Path:
    """The folder of a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    finished = command(*words, "--out", str(folder))
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_whole(tmp_path_factory, *SHORT)


@pytest.mark.parametrize("place", ["rem", "wake", "nrem", "between", "evaluation"])
def test_a_killed_run_continues_bit_equal(place: str, undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    killed = python("-c", VICTIM, place, str(folder), *SHORT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = command("--resume", str(folder))
    assert resumed.returncode == 0, resumed.stderr
    ours, theirs = results(folder), results(undisturbed)
    assert ours["complete"] and ours["accuracy_matrix"] == theirs["accuracy_matrix"]
    assert ours["metrics"] == theirs["metrics"] and ours["hypnogram"] == theirs["hypnogram"]
    assert ours["cost"]["samples"] == theirs["cost"]["samples"]
    mine, other = weights(folder), weights(undisturbed)
    assert mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in other)

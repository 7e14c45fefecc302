"""Nights in a user's own training script, on two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from dreamer import NREM, SleepCallback

PROCESSES = """
import sys, torch
from pathlib import Path
import pytorch_lightning as pl
from dreamer import NREM, SleepCallback
from tests.callbacks.test_sleep import QUIET, make_module, make_stream, nights

module, callback = make_module(pl), SleepCallback([NREM(3, batch_size=8)])
trainer = pl.Trainer(
    callbacks=[callback], max_epochs=3, reload_dataloaders_every_n_epochs=1, devices=2, strategy="ddp_fork", **QUIET
)

class Look(pl.Callback):
    def on_train_end(self, trainer, module):
        ends = trainer.strategy.all_gather(module.head.weight.detach())
        assert torch.equal(ends[0], ends[1])
        # each process saw its own half of the day, and keeps a memory of its own
        held = trainer.strategy.all_gather(callback.memory.held["x"][:16].clone())
        assert not torch.equal(held[0], held[1])
        assert nights(module) == [(2, 0), (2, 3), (2, 3)]
        trainer.save_checkpoint(sys.argv[1] + "/two.ckpt")
        # two processes would write into each other's lines
        Path(sys.argv[1], f"steps_{trainer.global_rank}").write_text(str(trainer.global_step))

trainer.callbacks.append(Look())
trainer.fit(module, datamodule=make_stream(pl, batch_size=8))
"""


def test_two_processes_sleep_alike_and_keep_their_own_memories(tmp_path: Path) -> None:
    checkout = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROCESSES, str(tmp_path)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"steps_{rank}").read_text() for rank in (0, 1)] == ["12", "12"]
    saved = torch.load(tmp_path / "two.ckpt", weights_only=True)["callbacks"]["SleepCallback"]
    assert [state["memory"]["size"] for state in saved["ranks"]] == [48, 48]
    alone = SleepCallback([NREM(3, batch_size=8)])
    alone.load_state_dict(saved)
    assert len(alone.memory) == 96


def test_it_stands_alone_in_a_trainer_of_a_tree_that_was_imported_after_it(tmp_path: Path) -> None:
    """As scripts do whose imports are sorted; and it is copied and pickled as before."""
    script = """
import copy, pickle, sys
from dreamer import NREM, SleepCallback
assert "lightning.pytorch" not in sys.modules
import lightning.pytorch as pl
sleep = SleepCallback([NREM(2)], schedule=1)
trainer = pl.Trainer(callbacks=sleep, logger=False, accelerator="cpu", enable_checkpointing=False)
assert trainer.callbacks[0] is sleep and sleep.state_key == "SleepCallback"
for other in (copy.deepcopy(sleep), pickle.loads(pickle.dumps(sleep))):
    assert type(other) is type(sleep) and other.schedule == 1
"""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

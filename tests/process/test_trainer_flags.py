"""The Trainer's flag for several devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.test_trainer_flags import SUBJECTS

PROCESSES = """
import sys
from pathlib import Path
from tests.training.test_trainer_flags import train, tree

folder, subject = sys.argv[1:]

class Write(tree(subject).Callback):
    def on_train_end(self, trainer, module):
        seen = module.witnessed
        line = f"{trainer.global_step} {seen.nights} {seen.weights().tolist()}"
        Path(folder, f"{trainer.global_rank}").write_text(line)

# where a generator rests at night, processes have to look for it
strategy = "ddp_fork_find_unused_parameters_true" if subject == "module" else "ddp_fork"
train(subject, Write(), devices=2, strategy=strategy)
"""


@pytest.mark.parametrize("subject", SUBJECTS)
def test_two_processes_take_the_same_steps_to_the_same_weights(subject: str, tmp_path: Path) -> None:
    checkout = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROCESSES, str(tmp_path), subject],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / str(rank)).read_text() for rank in (0, 1))
    # nine samples each, in three batches
    assert first.startswith(f"24 {[(3, 5)] * 3} [")
    assert first == second

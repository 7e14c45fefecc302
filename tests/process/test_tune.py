"""A tuning that is killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dreamer.compare.tuning import results as tuned
from tests.compare.test_tune import SHORT, table

CHECKOUT = Path(__file__).parents[2]


def test_killed_and_started_again_it_ends_with_all_trials(tmp_path):
    words = ["tune", "er", *SHORT, "--trials", "2", "--seeds", "1001", "--out", "out"]
    command = [sys.executable, "-m", "dreamer", *words]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (tmp_path / "out/trials/1/seed1001/cell.log").is_file():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / tuned.TUNING).exists()
    drawn = json.loads((tmp_path / "out/trials/1/parameters.json").read_text())
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "begins   trials/0" not in done.stderr
    rows = table(tmp_path / "out")
    assert [row["state"] for row in rows] == ["done", "done"]
    assert float(rows[1]["optimizer.lr"]) == drawn["optimizer.lr"]
    assert json.loads((tmp_path / "out" / tuned.TUNING).read_text())["tuning"] == {"trials": 2, "seeds": [1001]}

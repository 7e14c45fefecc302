"""Commands that are started together: each run folder has one owner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.process.test_cli import dreamer, environment

SHORT = ["digits", "fine_tune", "wake.steps=3", "stream.experiences=2", "--quiet"]


def start(cwd: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dreamer", "run", *words]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_runs_started_together_get_two_folders(tmp_path: Path) -> None:
    pair = [start(tmp_path, *SHORT) for _ in range(2)]
    printed = [process.communicate(timeout=300) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], printed
    files = {out.splitlines()[-1] for out, _ in printed}
    assert files == {"files: runs/digits-fine_tune/seed0", "files: runs/digits-fine_tune/seed0-2"}
    for line in files:
        assert json.loads((tmp_path / line.removeprefix("files: ") / "results.json").read_text())["complete"]


@pytest.mark.parametrize("second", [["--resume", "mine"], [*SHORT, "--out", "mine"]])
def test_the_second_process_is_told_who_holds_the_folder(second: list[str], tmp_path: Path) -> None:
    with start(tmp_path, *SHORT, "wake.steps=1000000", "--out", "mine") as first:
        try:
            while not (tmp_path / "mine" / "config.yaml").exists():
                assert first.poll() is None
                time.sleep(0.1)
            done = dreamer(tmp_path, "run", *second)
            assert (done.returncode, done.stdout) == (2, "")
            assert f"mine is in use by process {first.pid} on " in done.stderr
            assert done.stderr.count("\n") == 1
        finally:
            first.send_signal(signal.SIGKILL)

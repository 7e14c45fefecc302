"""What a person types, in a process and a folder of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dreamer import config

CHECKOUT = Path(__file__).parents[2]
SHORT = ["wake.steps=3", "night.0.steps=2", "night.1.steps=2", "stream.experiences=2"]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    # a process that has used wandb hands its service down to its children
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return {**inherited, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "WANDB_MODE": "offline"}


def dreamer(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dreamer", *words]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300)


def in_terminal(cwd: Path, *words: str, until: str | None = None) -> tuple[int, str]:
    """Exit code and output of a command in a terminal of 100 columns, where Ctrl-C is typed once some text is shown.

    The display is drawn after every step, whatever the clock says: a fast stage would pass between two looks at it. A
    terminal that is not read blocks who writes into it, so the run cannot hurry ahead of this reader either.
    """
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    kept = {name: value for name, value in environment().items() if name not in ("COLUMNS", "NO_COLOR")}
    # a session of its own, whose first terminal to be opened sends it the signals of keys
    start = "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); os.execv(sys.argv[1], sys.argv[1:])"
    drawn = "from dreamer.callbacks import progress; progress._REFRESH_SECONDS *= 0; progress._AT_MOST *= 1e9; "
    main = f"{drawn}from dreamer.cli.main import main; main()"
    command = [sys.executable, "-c", start, sys.executable, "-c", main, *words]
    options = {"cwd": cwd, "env": {**kept, "TERM": "xterm"}, "start_new_session": True}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, **options) as run:
        os.close(theirs)
        said, typed = b"", False
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # Linux says so where the other end is closed
                break
            if not read:
                break
            said += read
            shown = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", said).decode(errors="replace")
            if until is not None and not typed and re.search(until, shown):
                os.write(ours, b"\x03")
                typed = True
    os.close(ours)
    return run.returncode, shown


@pytest.fixture(scope="module")
def completed(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A short run on the digits and what it printed."""
    folder = tmp_path_factory.mktemp("completed")
    return folder, dreamer(folder, "run", "digits", *SHORT, "--seed", "4")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[Path, int, str]:
    """A run that got Ctrl-C in its second wake stage."""
    folder = tmp_path_factory.mktemp("stopped")
    command = [sys.executable, "-m", "dreamer", "run", "digits", *SHORT, "wake.steps=300", "--out", "here"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as run:
        lines = []
        for line in run.stderr:
            lines.append(line)
            if line.startswith("rem"):
                run.send_signal(signal.SIGINT)
    return folder, run.returncode, "".join(lines)


class TestRun:
    def test_prints_the_plan_before_and_the_table_and_the_folder_after(self, completed):
        _, done = completed
        assert done.returncode == 0, done.stderr
        at = [
            done.stdout.index(word) for word in ("steps: wake 6, nrem 4, rem 4", "protocol: digits", "average accuracy")
        ]
        assert at == sorted(at)
        assert done.stdout.endswith("files: runs/digits/seed4\n")
        for word in ("class-incremental", "class order [", "active outputs all", "seed 4"):
            assert word in done.stdout

    def test_shows_progress_beside_the_output(self, completed):
        assert "experience 2 of 2" in completed[1].stderr
        assert "Warning" not in completed[1].stderr and "GPU" not in completed[1].stderr

    def test_the_run_folder_is_complete(self, completed):
        run = completed[0] / "runs" / "digits" / "seed4"
        for name in (
            "config.yaml",
            "results.json",
            "metrics.csv",
            "hypnogram.png",
            "matrix.png",
            "checkpoints/last.ckpt",
        ):
            assert (run / name).is_file(), name
        results = json.loads((run / "results.json").read_text())
        assert results["complete"] and results["seed"] == 4 and results["name"] == "digits"
        assert results["config"]["wake"]["steps"] == 3
        assert len(results["hypnogram"]) == 6

    def test_the_stored_configuration_is_the_one_that_ran(self, completed):
        run = completed[0] / "runs" / "digits" / "seed4"
        stored = config.read(run / "config.yaml")
        assert stored == json.loads((run / "results.json").read_text())["config"]
        assert stored["seed"] == 4

    def test_a_second_run_takes_the_next_free_folder(self, completed):
        folder, _ = completed
        done = dreamer(folder, "run", "digits", *SHORT, "--seed", "4", "--quiet")
        assert done.returncode == 0, done.stderr
        assert "files: runs/digits/seed4-2" in done.stdout
        assert "protocol" not in done.stdout and done.stderr == ""
        results = [
            json.loads((folder / f"runs/digits/{name}/results.json").read_text()) for name in ("seed4", "seed4-2")
        ]
        assert results[0]["accuracy_matrix"] == results[1]["accuracy_matrix"]

    def test_a_folder_that_holds_a_run_is_not_overwritten(self, completed):
        folder, _ = completed
        run = folder / "runs" / "digits" / "seed4"
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        done = dreamer(folder, "run", "digits", *SHORT, "--out", str(run))
        assert done.returncode == 2
        assert "holds another run, which is not overwritten" in done.stderr
        assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}

    def test_no_argument_means_the_embedded_digits(self, tmp_path):
        done = dreamer(tmp_path, "run", *SHORT, "--quiet", "--out", "here")
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "here" / "results.json").read_text())["protocol"]["stream"] == "digits"

    def test_a_part_from_the_folder_where_the_command_is_typed(self, tmp_path):
        (tmp_path / "mine.py").write_text(
            "from torch import nn\n"
            "class Tiny(nn.Module):\n"
            "    def __init__(self, sample_shape, num_classes, width: int = 4):\n"
            "        super().__init__()\n"
            "        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, num_classes))\n"
            "    def forward(self, x):\n"
            "        return self.head(x)\n"
        )
        words = ["network={name: mine.Tiny, width: 6}", "wake.steps=2", "--quiet", "--out", "here"]
        done = dreamer(tmp_path, "run", "digits", "fine_tune", *words)
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / "here" / "results.json").read_text())
        assert results["cost"]["bytes"]["network"] == 4 * (65 * 6 + 7 * 10)

    def test_wandb_and_tensorboard_lie_in_the_run_folder(self, tmp_path):
        pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'dreamer[tensorboard]'")
        words = ["logger=[wandb, tensorboard]", "wake.steps=2", "--out", "here"]
        done = dreamer(tmp_path, "run", "digits", "fine_tune", *words)
        assert done.returncode == 0, done.stderr
        assert list(tmp_path.glob("here/wandb/offline-run-*/run-*.wandb"))
        assert list(tmp_path.glob("here/tensorboard/events.out.tfevents.*"))
        assert (tmp_path / "here" / "metrics.csv").is_file()


class TestBadInput:
    def test_is_refused_in_a_process_of_its_own_too(self, tmp_path):
        done = dreamer(tmp_path, "run", "digits", "wake.stps=3")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("dreamer: wake.stps: unknown key") and done.stderr.count("\n") == 1


class TestStoppedAndResumed:
    def test_says_how_to_resume(self, stopped):
        folder, code, said = stopped
        assert code == 130
        assert said.endswith("stopped; continue with: dreamer run --resume here\n")
        assert (folder / "here" / "checkpoints" / "last.ckpt").is_file()
        assert not json.loads((folder / "here" / "results.json").read_text())["complete"]

    def test_sigterm_saves_too(self, tmp_path):
        command = [sys.executable, "-m", "dreamer", "run", "digits", *SHORT, "wake.steps=100000", "--out", "here"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as run:
            while not list(tmp_path.glob("here/logs/part_000/metrics.csv")):
                assert run.poll() is None
                time.sleep(0.2)
            run.send_signal(signal.SIGTERM)
            said = run.stderr.read()
        assert run.returncode == 143
        assert said.endswith("stopped; continue with: dreamer run --resume here\n")
        assert (tmp_path / "here" / "checkpoints" / "last.ckpt").is_file()

    def test_resumes_to_the_numbers_of_an_undisturbed_run(self, stopped):
        folder, _, _ = stopped
        # the words that were printed, with the display on
        resumed = dreamer(folder, "run", "--resume", "here")
        assert resumed.returncode == 0, resumed.stderr
        assert "rem, night 2 of 2, experience 2 of 2" in resumed.stderr
        done = dreamer(folder, "run", "digits", *SHORT, "wake.steps=300", "--out", "whole", "--quiet")
        assert done.returncode == 0, done.stderr
        halved, whole = (json.loads((folder / name / "results.json").read_text()) for name in ("here", "whole"))
        assert halved["complete"]
        assert halved["accuracy_matrix"] == whole["accuracy_matrix"]
        assert halved["cost"]["samples"] == whole["cost"]["samples"]

    @pytest.mark.parametrize("stage", ["nrem", "rem"])
    def test_in_a_terminal_ctrl_c_at_night_is_continued_with_the_words_that_were_printed(self, tmp_path, stage):
        long = [*SHORT, "night.0.steps=200", "night.1.steps=200", "--out", "here"]
        code, said = in_terminal(tmp_path, "run", "digits", *long, until=rf"{stage} +night 1 .*step [1-9]")
        assert code == 130, said
        words = re.search(r"continue with: dreamer (run --resume here)\s", said)[1].split()
        assert not json.loads((tmp_path / "here" / "results.json").read_text())["complete"]
        code, said = in_terminal(tmp_path, *words)
        assert code == 0, said
        assert re.search(rf"{stage} +night 1 of 2.*stage \d of 6", said) and "average accuracy" in said
        assert json.loads((tmp_path / "here" / "results.json").read_text())["complete"]

    def test_a_complete_run_says_so_and_prints_its_table(self, completed):
        done = dreamer(completed[0], "run", "--resume", "runs/digits/seed4")
        assert done.returncode == 0, done.stderr
        assert "complete already" in done.stdout and "average accuracy" in done.stdout

    def test_a_run_killed_before_its_first_checkpoint_starts_again(self, completed, tmp_path):
        folder, _ = completed
        (tmp_path / "here").mkdir()
        stored = (folder / "runs" / "digits" / "seed4" / "config.yaml").read_text()
        (tmp_path / "here" / "config.yaml").write_text(stored)
        done = dreamer(tmp_path, "run", "--resume", "here", "--quiet")
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "here" / "results.json").read_text())["complete"]

"""What a person types, in a folder of their own; in a process of its own wherever something is lived."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import dreamer as package
from dreamer import config
from dreamer.cli import main as cli
from dreamer.config import registry

CHECKOUT = Path(__file__).parents[2]
SHORT = ["wake.steps=3", "night.0.steps=2", "night.1.steps=2", "stream.experiences=2"]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    # a process that has used wandb hands its service down to its children
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return {**inherited, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "WANDB_MODE": "offline"}


def dreamer(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dreamer.cli", *words]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300)


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def typed(monkeypatch, capsys) -> Callable[..., Said]:
    """Types a command into this process: for what is answered before anything is lived."""

    def type_it(cwd: Path, *words: str) -> Said:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["dreamer", *words])
        monkeypatch.setattr(sys, "path", [*sys.path])
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as left:
            cli.main()
        return Said(left.value.code or 0, *capsys.readouterr())

    return type_it


@pytest.fixture(scope="module")
def lived(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A short life on the digits and what it printed."""
    folder = tmp_path_factory.mktemp("lived")
    return folder, dreamer(folder, "run", "digits", *SHORT, "--seed", "4")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[Path, int, str]:
    """A life that got Ctrl-C in its second wake stage."""
    folder = tmp_path_factory.mktemp("stopped")
    command = [sys.executable, "-m", "dreamer.cli", "run", "digits", *SHORT, "wake.steps=300", "--out", "here"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as life:
        lines = []
        for line in life.stderr:
            lines.append(line)
            if line.startswith("rem"):
                life.send_signal(signal.SIGINT)
    return folder, life.returncode, "".join(lines)


class TestRun:
    def test_prints_the_plan_before_and_the_table_and_the_folder_after(self, lived):
        _, done = lived
        assert done.returncode == 0, done.stderr
        at = [
            done.stdout.index(word) for word in ("steps: wake 6, nrem 4, rem 4", "protocol: digits", "average accuracy")
        ]
        assert at == sorted(at)
        assert done.stdout.endswith("files: runs/digits/seed4\n")
        for word in ("class-incremental", "class order [", "active outputs all", "seed 4"):
            assert word in done.stdout

    def test_shows_progress_beside_the_output(self, lived):
        assert "experience 2 of 2" in lived[1].stderr
        assert "Warning" not in lived[1].stderr and "GPU" not in lived[1].stderr

    def test_the_run_folder_is_complete(self, lived):
        run = lived[0] / "runs" / "digits" / "seed4"
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

    def test_the_stored_configuration_is_the_life(self, lived):
        run = lived[0] / "runs" / "digits" / "seed4"
        stored = config.read(run / "config.yaml")
        assert stored == json.loads((run / "results.json").read_text())["config"]
        assert stored["seed"] == 4

    def test_a_second_run_takes_the_next_free_folder(self, lived):
        folder, _ = lived
        done = dreamer(folder, "run", "digits", *SHORT, "--seed", "4", "--quiet")
        assert done.returncode == 0, done.stderr
        assert "files: runs/digits/seed4-2" in done.stdout
        assert "protocol" not in done.stdout and done.stderr == ""
        results = [
            json.loads((folder / f"runs/digits/{name}/results.json").read_text()) for name in ("seed4", "seed4-2")
        ]
        assert results[0]["accuracy_matrix"] == results[1]["accuracy_matrix"]

    def test_a_folder_that_holds_a_run_is_not_overwritten(self, lived, typed):
        folder, _ = lived
        run = folder / "runs" / "digits" / "seed4"
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        done = typed(folder, "run", "digits", *SHORT, "--out", str(run))
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


class TestFromPython:
    def test_run_takes_names_words_mappings_and_keys_and_returns_the_results(self, tmp_path):
        given = ("digits", "fine_tune", "wake.steps=2", {"stream": {"experiences": 2}})
        results = package.run(*given, seed=3, out=str(tmp_path / "here"))
        assert results["complete"] and results["seed"] == 3
        assert results["cost"]["optimizer_steps"] == {"wake": 4, "nrem": 0, "rem": 0}
        assert results == json.loads((tmp_path / "here" / "results.json").read_text())

    def test_bad_input_is_a_config_error(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(package.ConfigError, match=r"wake\.stps: unknown key"):
            package.run("digits", "wake.stps=2")
        assert list(tmp_path.iterdir()) == []


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["digit"], "no configuration called 'digit'; did you mean 'digits'?"),
            (["digits", "wake.stps=3"], "wake.stps: unknown key of Wake; did you mean 'steps'?"),
            (["digits", "wake.steps=many"], "wake.steps: expected a whole number or null, got 'many'"),
            (["digits", "wake.steps=0"], "wake: expected steps of at least 1, got 0"),
            (["digits", "nights=[]"], "nights: unknown key; did you mean 'night'?"),
            (["digits", "active_outputs=known"], "active_outputs: expected one of all, seen, task, got 'known'"),
            (["digits", "network=null"], "network: missing"),
            (["digits", "network=mpl"], "network.name: there is no 'mpl' here; did you mean 'mlp'?"),
            (["digits", "stream=null"], "stream.name: missing"),
            (["digits", "stream.experiences=11"], "11"),
            (["digits", "generator=null"], "needs a generator, but there is none"),
            (["digits", "optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
            (["digits", "optimizer.rl=1"], "optimizer.rl: unknown key of Adam; did you mean 'lr'?"),
            (["digits", "trainer.devics=2"], "trainer.devics: unknown key of Trainer; did you mean 'devices'?"),
            (["digits", "trainer.callbacks=[]"], "trainer.callbacks: cannot be configured"),
            (["digits", "trainer.accelerator=abacus"], "trainer: "),
            (["digits", "logger=wand"], "logger.name: there is no 'wand' here; did you mean 'wandb'?"),
            (["digits", "wandb.project=x"], "wandb: unknown key"),
            (["digits", "data.rot=x"], "data.rot: unknown key; did you mean 'root'?"),
            (["digits", "name=a/b"], "name: expected the name of a folder, got 'a/b'"),
            (["folder", "data.root=nowhere"], "nowhere"),
            (["--resume", "nowhere"], "there is no run to resume in 'nowhere'"),
        ],
    )
    def test_is_one_message_exit_code_2_and_nothing_written(self, tmp_path, typed, words, message):
        done = typed(tmp_path, "run", *words)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert message in done.stderr
        assert done.stderr.startswith("dreamer: ") and done.stderr.count("\n") == 1
        assert list(tmp_path.iterdir()) == []

    def test_is_refused_by_plan_and_list_alike(self, tmp_path, typed):
        for words in (["plan", "digits", "wake.stps=3"], ["list", "generator"]):
            done = typed(tmp_path, *words)
            assert done.returncode == 2
            assert "did you mean" in done.stderr and done.stderr.count("\n") == 1

    def test_is_refused_in_a_process_of_its_own_too(self, tmp_path):
        done = dreamer(tmp_path, "run", "digits", "wake.stps=3")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("dreamer: wake.stps: unknown key") and done.stderr.count("\n") == 1


class TestPlan:
    def test_shows_stages_steps_bytes_and_protocol_and_writes_nothing(self, tmp_path, typed):
        done = typed(tmp_path, "plan", "digits", "er", "memory.capacity=100", "stream.experiences=2", "wake.steps=5")
        assert done.returncode == 0, done.stderr
        assert "steps: wake 10, nrem 0, rem 0" in done.stdout
        # 64 pixels of one byte and a label of eight
        assert f"memory {100 * (64 + 8) / 1e6:.2f} MB" in done.stdout
        assert "protocol: digits" in done.stdout
        assert list(tmp_path.iterdir()) == []


class TestList:
    def test_every_part_stream_and_configuration_with_its_line(self, tmp_path, typed):
        done = typed(tmp_path, "list")
        assert done.returncode == 0, done.stderr
        lines = {line.split(None, 1)[0]: line.split(None, 1)[1:] for line in done.stdout.splitlines()}
        expected = {*config.catalog(), *(name for family in registry.FAMILIES for name in registry.names(family))}
        assert {*expected, "split_mnist", "core50"} <= set(lines)
        assert all(lines[name] for name in expected)

    def test_one_family(self, tmp_path, typed):
        done = typed(tmp_path, "list", "memory")
        assert [line.split()[0] for line in done.stdout.splitlines()] == ["memory", *registry.names("memory")]


class TestBench:
    def test_a_row_for_every_kind_of_stage_of_every_recipe(self, tmp_path, typed):
        done = typed(
            tmp_path, "bench", "stream", "er", "joint", "wake.batch_size=9", "--experiences", "8", "--steps", "2"
        )
        assert done.returncode == 0, done.stderr
        head, *rows = done.stdout.splitlines()
        assert head.split() == "recipe stage ms/step at 5 at 8 ratio MB at 5 at 8 grows by definition".split()
        assert [row.split()[:2] for row in rows] == [["er", "wake"], ["joint", "wake"]]
        assert [row.split()[7:] for row in rows] == [[], ["joint", "data"]]
        assert list(tmp_path.iterdir()) == []

    def test_says_that_it_needs_a_checkout_where_there_is_none(self, tmp_path, typed, monkeypatch):
        monkeypatch.setattr(package, "__file__", str(tmp_path / "dreamer" / "__init__.py"))
        done = typed(tmp_path, "bench", "wake")
        assert (done.returncode, done.stdout) == (2, "")
        assert "needs a checkout" in done.stderr and done.stderr.count("\n") == 1

    def test_an_unknown_recipe_is_refused_before_anything_is_measured(self, tmp_path, typed):
        done = typed(tmp_path, "bench", "stream", "er", "derp")
        assert (done.returncode, done.stdout) == (2, "")
        assert "did you mean 'derpp'" in done.stderr


class TestStoppedAndResumed:
    def test_says_how_to_go_on(self, stopped):
        folder, code, said = stopped
        assert code == 130
        assert said.endswith("stopped; continue with: dreamer run --resume here\n")
        assert (folder / "here" / "checkpoints" / "last.ckpt").is_file()
        assert not json.loads((folder / "here" / "results.json").read_text())["complete"]

    def test_goes_on_to_the_numbers_of_an_undisturbed_life(self, stopped):
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

    def test_a_complete_life_says_so_and_prints_its_table(self, lived, typed):
        done = typed(lived[0], "run", "--resume", "runs/digits/seed4")
        assert done.returncode == 0, done.stderr
        assert "complete already" in done.stdout and "average accuracy" in done.stdout

    def test_a_life_killed_before_its_first_checkpoint_starts_again(self, lived, tmp_path):
        folder, _ = lived
        (tmp_path / "here").mkdir()
        stored = (folder / "runs" / "digits" / "seed4" / "config.yaml").read_text()
        (tmp_path / "here" / "config.yaml").write_text(stored)
        done = dreamer(tmp_path, "run", "--resume", "here", "--quiet")
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "here" / "results.json").read_text())["complete"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["wake.steps=5"], "only data.* may change"),
            (["digits"], "only data.* may change"),
            (["--seed", "1"], "neither --out nor --seed"),
            (["--out", "there"], "neither --out nor --seed"),
        ],
    )
    def test_takes_no_other_configuration(self, tmp_path, typed, words, message):
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "config.yaml").write_text("stream: digits\nnetwork: mlp\n")
        done = typed(tmp_path, "run", "--resume", "here", *words)
        assert done.returncode == 2
        assert message in done.stderr
        assert [path.name for path in tmp_path.rglob("*")] == ["here", "config.yaml"]

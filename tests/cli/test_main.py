"""What a person types, in a folder of their own: commands that need no long run."""

from __future__ import annotations

import json
import os
import runpy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import dreamer as package
from dreamer import config
from dreamer.cli import main as cli
from dreamer.config import registry


class Printed(NamedTuple):
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def typed(monkeypatch, capsys) -> Callable[..., Printed]:
    """Types a command into this process."""

    def type_it(cwd: Path, *words: str) -> Printed:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["dreamer", *words])
        monkeypatch.setattr(sys, "path", [*sys.path])
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as left:
            cli.main()
        return Printed(left.value.code or 0, *capsys.readouterr())

    return type_it


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


class TestThreads:
    @pytest.mark.parametrize(
        ("chosen", "spins"),
        [
            ({}, "5000"),
            ({"GOMP_SPINCOUNT": "7"}, "7"),
            ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
        ],
    )
    def test_they_soon_sleep_while_they_wait_unless_a_person_says_otherwise(
        self, chosen, spins, typed, tmp_path, monkeypatch
    ):
        for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
            # what the command sets is taken back too
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
        typed(tmp_path, "--version")
        assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_the_package_can_be_run_where_no_script_is_installed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dreamer", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("dreamer", run_name="__main__")
    assert left.value.code in (0, None) and package.__version__ in capsys.readouterr().out


class TestWords:
    def test_keys_may_be_typed_as_options_as_sweeps_of_wandb_do(self, typed, tmp_path):
        typed_so = typed(tmp_path, "plan", "digits", "--wake.steps=4", "--stream.experiences=2", "--seed=3")
        plain = typed(tmp_path, "plan", "digits", "wake.steps=4", "stream.experiences=2", "seed=3")
        assert typed_so == plain and plain.returncode == 0
        assert "steps: wake 8," in plain.stdout

    def test_a_wrong_key_is_named_whichever_way_it_is_typed(self, typed, tmp_path):
        done = typed(tmp_path, "run", "digits", "--wake.stps=4")
        assert done.returncode == 2
        assert done.stderr.startswith("dreamer: wake.stps: unknown key")

    def test_options_of_a_command_stay_options(self):
        assert cli.plain_words(["run", "--out=here", "--wake.steps=4", "--quiet"]) == [
            "run",
            "--out=here",
            "wake.steps=4",
            "--quiet",
        ]


class TestHelp:
    @pytest.mark.parametrize("words", [(), ("bench",)])
    def test_lists_what_each_command_does_to_the_end_of_the_sentence(self, typed, tmp_path, monkeypatch, words):
        monkeypatch.setenv("COLUMNS", "80")
        shown = " ".join(typed(tmp_path, *words, "--help").stdout.split())
        group: Any = typer.main.get_command(cli.app)
        for word in words:
            group = group.commands[word]
        for name, command in group.commands.items():
            sentence = " ".join(command.help.split("\n\n")[0].split()).partition(". ")[0]
            assert f"{name} {sentence.rstrip('.')}." in shown


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


class TestResume:
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

"""A configuration from somebody else runs no code but that of parts, and writes out no secret."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

import dreamer
from dreamer import config
from dreamer.cli import main as cli
from dreamer.config.allowed import VARIABLE
from dreamer.core.files import csv_text
from dreamer.jobs.manifest import slug
from dreamer.runs import run as runs

SHORT = ("digits", "fine_tune", "wake.steps=2", "stream.experiences=2")
PART = """
import pathlib
pathlib.Path({mark!r}).touch()
from subprocess import run, Popen
from os import system
from torch import nn
from dreamer.streams import Stream, digits
class Tiny(nn.Sequential):
    def __init__(self, num_classes: int):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))
class Hollow:
    def __init__(self):
        pathlib.Path({mark!r} + "-called").touch()
def few(seed: int = 0) -> Stream:
    return digits(seed=seed, experiences=2)
def unsaid(seed: int = 0):
    return digits(seed=seed, experiences=2)
def number() -> int:
    pathlib.Path({mark!r} + "-called").touch()
    return 7
def secretly_a_number():
    return 7
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "imported"


@pytest.fixture
def theirs(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of somebody else, which leaves a mark when it is imported; the current folder is another one."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "theirs.py").write_text(PART.format(mark=str(mark)))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv(VARIABLE, "")
    yield place
    sys.modules.pop("theirs", None)


NAMES = {
    "network": "network.name",
    "memory": "memory.name",
    "generator": "generator.name",
    "problem": "problem.name",
    "schedule": "schedule.name",
    "optimizer": "optimizer.name",
    "stream": "stream.name",
}


@pytest.mark.parametrize("key", NAMES)
@pytest.mark.parametrize(
    "name", ["subprocess.Popen", "os.system", "theirs.Hollow", "antigravity.fly", "torch.hub.load"]
)
def test_another_package_is_neither_imported_nor_called(key: str, name: str, theirs: Path, mark: Path) -> None:
    with pytest.raises(dreamer.ConfigError, match=f"lies in another package.*--allow {name.split('.')[0]}") as raised:
        runs.prepare(config.read("digits", {key: {"name": name, "args": ["touch", str(mark)]}}))
    assert str(raised.value).startswith(NAMES[key])
    assert not mark.exists() and "theirs" not in sys.modules and "antigravity" not in sys.modules


def test_a_part_of_an_allowed_package_and_of_the_current_folder_serves(
    theirs: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"network": {"name": "theirs.Tiny"}, "stream": {"name": "theirs.few"}}
    monkeypatch.setenv(VARIABLE, "mine, theirs")
    assert runs.prepare(config.read("digits", "fine_tune", words)).stream.name == "digits"
    assert mark.exists()
    sys.modules.pop("theirs")
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.chdir(theirs)
    assert (
        runs.prepare(config.read("digits", "fine_tune", {"stream": {"name": "theirs.unsaid"}})).stream.name == "digits"
    )


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("memory", "Hollow", "expected a Memory"),
        ("memory", "Popen", "expected a Memory"),
        ("network", "Hollow", "expected a Module"),
        ("optimizer", "Tiny", "expected an optimizer of torch"),
        ("stream", "system", "expected a function that returns a Stream"),
        ("stream", "run", "lies in another package"),
        ("stream", "number", "expected a function that returns a Stream at 'theirs.number', got one that returns"),
        ("stream", "Hollow", "expected a function that returns a Stream"),
        ("stream", "secretly_a_number", "expected a function that returns a Stream, got a int"),
    ],
)
def test_what_the_family_does_not_accept_is_not_called(
    key: str, name: str, message: str, theirs: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "theirs")
    with pytest.raises(dreamer.ConfigError, match=message):
        runs.prepare(config.read("digits", {key: {"name": f"theirs.{name}"}}))
    assert not mark.with_name("imported-called").exists()


def test_a_resumed_folder_of_somebody_is_no_exception(theirs: Path, mark: Path) -> None:
    (theirs / "run").mkdir()
    config.save({"stream": {"name": "theirs.few"}, "network": {"name": "mlp"}}, theirs / "run" / "config.yaml")
    with pytest.raises(dreamer.ConfigError, match="lies in another package"):
        runs.resume(theirs / "run")
    assert not mark.exists()


def test_allow_is_an_option_of_the_command(theirs: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    words = ["plan", "digits", "fine_tune", "stream={name: theirs.few}"]
    for more, code in (([], 2), (["--allow", "theirs"], 0)):
        monkeypatch.setattr(sys, "argv", ["dreamer", *words, *more])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert (left.value.code or 0) == code, capsys.readouterr()


def test_what_comes_from_the_environment_is_used_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIMIZER_OF_THE_HOUSE", "sgd")
    words = (*SHORT, {"optimizer": {"name": "${oc.env:OPTIMIZER_OF_THE_HOUSE}", "lr": 0.1}})
    assert config.read(*words)["optimizer"]["name"] == "sgd"
    results = dreamer.run(*words, out=str(tmp_path / "run"))
    assert results["config"]["optimizer"]["name"] == "${oc.env:OPTIMIZER_OF_THE_HOUSE}"
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["optimizer"]["name"] == "${oc.env:OPTIMIZER_OF_THE_HOUSE}"
    assert config.read(tmp_path / "run" / "config.yaml")["optimizer"]["name"] == "sgd"


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../up", "x" * 300, "two\nlines", "nul\0"])
def test_a_name_never_leaves_the_folder(name: str) -> None:
    with pytest.raises(dreamer.ConfigError, match="name: expected the name of a folder"):
        runs.prepare(config.read("digits", {"name": name}))
    folder = Path(slug(name))
    assert len(folder.parts) == 1 and folder.name not in ("..", ".") and len(folder.name) < 120


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("+cmd", "'+cmd"),
        ("-x", "'-x"),
        ("-0.5", "-0.5"),
        ("+3", "+3"),
        (-0.5, "-0.5"),
    ],
)
def test_no_cell_is_a_formula(value: object, cell: str) -> None:
    assert csv_text(["=a", "b"], [{"=a": value, "b": "plain", "c": 1}]) == f"'=a,b\n{cell},plain\n"

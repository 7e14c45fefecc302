"""What a person types: a grid is run, killed, resumed, and its table is that of an undisturbed one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dreamer.cli import main as cli
from dreamer.cli.compare import requested

SHORT = ["stream.experiences=2", "wake.steps=30"]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Types a comparison into this process: for what is refused or printed before anything is trained."""

    def type_it(cwd: Path, *words: str) -> tuple[int, str]:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["dreamer", "compare", *words])
        monkeypatch.setattr(sys, "path", [*sys.path])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0), capsys.readouterr().err

    return type_it


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["era"], "no configuration called 'era'"),
        (["er", "--stream", "nowhere"], "no configuration called 'nowhere'"),
        (["avalanche:Repley"], "Repley"),
        ([], "expected strategies to compare, or the YAML of a grid, got none"),
        (["grid.yaml"], "expected the YAML of a grid at 'grid.yaml', found none"),
        (["er", "--seeds", "many"], "--seeds: expected a number of seeds"),
        (["er", "--seeds", "0"], "seeds: expected at least 1, got 0"),
        (["er", "--budget", "steps"], "--budget: expected steps=NUMBER"),
        (["er", "--engine", "slurm"], "--engine: expected local or ray, got 'slurm'"),
        (["--from", "nowhere"], "expected a folder with runs at 'nowhere', found none"),
        (["er", "--from", "."], "--from reports on runs that are there"),
        (["er", "memory.capcity=3"], "memory.capcity: unknown key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_gets_one_clear_message(
    typed: Callable[..., tuple[int, str]], tmp_path: Path, words: list[str], said: str
) -> None:
    code, err = typed(tmp_path, *words)
    assert code == 2
    assert said in err and err.startswith("dreamer: ") and err.count("\n") == 1
    assert not list(tmp_path.rglob("cell.json"))


def test_a_folder_that_cannot_be_written_to_is_refused(typed: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    code, err = typed(tmp_path, "er", *SHORT, "--out", "taken/inside")
    assert code == 2 and "cannot write to taken/inside" in err and err.count("\n") == 1


def test_another_grid_in_the_same_folder_is_refused_before_anything_is_written(
    typed: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    there = tmp_path / "grid" / "cells" / "digits" / "er" / "seed1"
    there.mkdir(parents=True)
    (there / "cell.json").write_text(
        json.dumps({"arm": "er", "stream": "digits", "seed": 1, "config": {}, "code": "x"})
    )
    code, err = typed(tmp_path, "lwf", "er", *SHORT, "--seeds", "1", "--out", "grid")
    assert code == 2 and "was begun with another configuration" in err
    assert [path.parent for path in tmp_path.rglob("cell.json")] == [there]


def test_a_yaml_means_the_same_as_words(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("arms: [er, lwf]\nstreams: [digits]\nseeds: [4, 5]\nset: [wake.steps=3]\n")
    from_file = requested([str(grid), "wake.batch_size=9"], None, None, "lwf", None, None, None, False)
    assert from_file == {
        "arms": ["er", "lwf"],
        "streams": ["digits"],
        "seeds": [4, 5],
        "set": ["wake.steps=3", "wake.batch_size=9"],
        "reference": "lwf",
    }

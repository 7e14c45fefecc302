"""What makes no sense is refused in one sentence, with exit code 2, and nothing is written: a table of such inputs."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from dreamer.cli import main as cli
from dreamer.runs import run as runs

TABLE = Path(__file__).with_name("bad_input.yaml")


def lay_out(folder: Path) -> set[Path]:
    """Write the files that the inputs name; returns all that lies there."""
    (folder / "afile").write_text("x")
    (folder / "afolder").mkdir()
    (folder / "empty.yaml").write_text("")
    (folder / "list.yaml").write_text("- 1\n- 2\n")
    (folder / "one.yaml").write_text("base: two.yaml\n")
    (folder / "two.yaml").write_text("base: one.yaml\n")
    (folder / "itself.yaml").write_text("base: itself.yaml\n")
    (folder / "deep.yaml").write_text("wake: " + "{a: " * 400 + "1" + "}" * 400 + "\n")
    (folder / "dup.yaml").write_text("seed: 1\nseed: 2\n")
    (folder / "alias.yaml").write_text("wake: &a\n  steps: *a\n")
    (folder / "tabs.yaml").write_text("wake:\n\tsteps: 3\n")
    (folder / "binary.yaml").write_bytes(bytes(range(256)))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "config.yaml").write_text("{{{")
    (folder / "damaged" / "results.json").write_text("{")
    return set(folder.rglob("*"))


@pytest.mark.slow
def test_every_input_of_the_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(*_: object, **__: object) -> None:
        raise AssertionError("the run began")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(runs, "execute", begin)
    before, wrong = lay_out(tmp_path), []
    for case in yaml.safe_load(TABLE.read_text(encoding="utf-8")):
        monkeypatch.setattr(sys, "argv", ["dreamer", *case["typed"]])
        code: object = "no exit"
        with warnings.catch_warnings():
            try:
                cli.main()
            except SystemExit as left:
                code = left.code
            except Exception as error:
                code = repr(error)
        said = capsys.readouterr().err
        written = {path for path in tmp_path.rglob("*") if not path.name.startswith(".lock")} - before
        if (
            code != 2
            or said.count("\n") != 1
            or not said.startswith("dreamer: ")
            or case["says"] not in said
            or written
        ):
            wrong.append((case["typed"], code, said, sorted(map(str, written))))
            for path in sorted(written, reverse=True):
                path.rmdir() if path.is_dir() else os.remove(path)
    assert not wrong, "\n".join(map(str, wrong))

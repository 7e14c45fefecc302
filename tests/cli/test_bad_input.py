"""What makes no sense is refused in one sentence, with exit code 2, and nothing is written: a table of such inputs."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from pathlib import Path

import pytest

from benchmarks.trust import inputs
from dreamer.cli import main as cli
from dreamer.runs import run as runs


@pytest.mark.slow
def test_every_input_of_the_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(*_: object, **__: object) -> None:
        raise AssertionError("the run began")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(runs, "execute", begin)
    before, wrong = inputs.lay_out(tmp_path), []
    for case in inputs.table():
        monkeypatch.setattr(sys, "argv", ["dreamer", *map(str, case["typed"])])
        code: object = "no exit"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                cli.main()
            except SystemExit as left:
                code = left.code
            except Exception as error:
                code = repr(error)
        left = inputs.written(tmp_path, before)
        fault = inputs.fault(case, code, capsys.readouterr().err, left)
        if fault:
            wrong.append(f"{case['typed']}: {fault}")
        for path in left:
            shutil.rmtree(path) if path.is_dir() else os.remove(path)
    assert not wrong, "\n".join(wrong)


def test_the_table_has_three_hundred_different_inputs() -> None:
    typed = [tuple(map(str, case["typed"])) for case in inputs.table()]
    assert len(set(typed)) == len(typed) >= 300

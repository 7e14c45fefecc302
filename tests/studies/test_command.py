"""``dreamer study`` as it is typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dreamer import config
from dreamer.cli import main as cli
from dreamer.config.allowed import VARIABLE
from dreamer.jobs import manifest, pool
from dreamer.report.results import write_results
from dreamer.studies.experiments import base
from tests.helpers.toy_study import request


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Types a command in an empty folder, where cells run in this process; gives exit code, output and errors."""

    def run_jobs(folders: list[Path], *_: object, **__: object) -> list[object]:
        for folder in folders:
            cell = manifest.read(folder)
            result = base.of(cell["settings"]).run(cell["seed"], folder)
            write_results({**cell, "complete": True, "seconds": 0.1, **result}, folder)
        return []

    def type_in(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dreamer", *words])
        monkeypatch.setattr(sys, "path", [*sys.path])
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        return (code, *capsys.readouterr())

    monkeypatch.setattr(pool, "run_jobs", run_jobs)
    monkeypatch.chdir(tmp_path)
    # the toy lies beside these tests, and not in the folder in which the command is typed
    monkeypatch.setenv(VARIABLE, "tests")
    quick = {"data": {"coins": {"seeds": [1, 2]}}}
    config.save(request(quick=quick), tmp_path / "toss.yaml")
    return type_in


def test_a_study_is_run_and_its_verdict_printed(typed, tmp_path: Path) -> None:
    code, said, warned = typed("study", "toss.yaml")
    assert code == 0 and "too few to conclude" not in warned
    assert "On coins, lucky is better than plain in score: +" in said
    assert "report: runs/study/toss/report.html" in said
    assert (tmp_path / "runs/study/toss/report.html").is_file()
    assert "dreamer study toss.yaml" in (tmp_path / "runs/study/toss/report.html").read_text()


def test_quick_and_words_lie_in_a_folder_of_their_own(typed, tmp_path: Path) -> None:
    code, said, warned = typed("study", "toss.yaml", "arms.lucky.set.gain=0.2", "--quick")
    assert code == 0 and "2 pairs" in said
    assert "2 seeds on coins: too few to conclude anything from 1 primary contrast, expected 6" in warned
    assert len(list((tmp_path / "runs/study/toss-quick/cells").glob("*/*/seed*"))) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["snaky"], "there is no study 'snaky'; did you mean 'snake'"),
        (["toss.yaml", "arms.lucky.set.gian=1"], "experiment.gian: unknown key of Toy; did you mean 'gain'"),
        (["toss.yaml", "quick"], "expected one study and then key=value, got 'quick'"),
    ],
)
def test_what_makes_no_sense_ends_with_exit_code_2_and_one_sentence(typed, words: list[str], message: str) -> None:
    code, _, error = typed("study", *words)
    assert code == 2
    assert message in error and error.startswith("dreamer: ") and error.count("\n") == 1


def test_studies_are_listed_with_their_questions(typed) -> None:
    code, said, _ = typed("list", "studies")
    assert code == 0
    assert "snake" in said and "eat its own tail" in said

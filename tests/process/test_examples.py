"""Every example runs as its docstring says, and prints what it says to expect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_llama import WORDS, llama, tokeniser
from tests.project.test_examples import CHECKOUT, EXAMPLES, expected, fits


def arguments(example: Path, folder: Path) -> list[str]:
    """What an example needs on its command line: a model and texts, here tiny ones."""
    if example.stem != "fine_tune_language_model":
        return []
    pytest.importorskip("peft")
    (folder / "texts").mkdir()
    for name, words in zip(("english", "french"), WORDS, strict=True):
        (folder / "texts" / f"{name}.txt").write_text(words * 200, encoding="utf-8")
    llama().save_pretrained(folder / "model")
    tokeniser().save_pretrained(folder / "model")
    return [str(folder / "model"), str(folder / "texts"), "--steps", "5", "--block", "16"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs_and_prints_what_it_says(example: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(example), *arguments(example, tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    for line in expected(example):
        assert any(fits(line, said) for said in done.stdout.splitlines()), f"expected {line!r}, got:\n{done.stdout}"

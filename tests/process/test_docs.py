"""The blocks of the pages run in order, and the worked parts hold their contracts.

Commands that name a data root are checked, not run.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from dreamer.cli import main as cli
from dreamer.compare import grid
from dreamer.compare import run as session
from dreamer.runs import run as runs
from dreamer.runs.run_config import run_config
from dreamer.studies import run as study_session
from tests.helpers.pages import CHECKOUT, PAGES, blocks, commands

ONE_STEP = "trainer.limit_train_batches=1"


def type_in(words: list[str], monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    """Give a ``dreamer`` command to the command line."""

    def checked(plain: dict, *_: object, **__: object) -> None:
        run_config(plain)
        raise typer.Exit

    def planned(*_: object, **__: object) -> None:
        raise typer.Exit

    with monkeypatch.context() as patch:
        if any(word.startswith("data.root=") for word in words):
            patch.setattr(runs, "prepare", checked)
        elif short and words[1] == "run" and "--resume" not in words:
            words = [*words, ONE_STEP]
        elif short and words[1] == "compare":
            # every cell is planned, none is run
            patch.setattr(session, "compare", lambda request, *_: SimpleNamespace(grid=grid.read(request), missing=()))
        elif short and words[1] == "study":
            patch.setattr(study_session, "conduct", planned)
        patch.setattr(sys, "argv", words)
        patch.setattr(sys, "path", [*sys.path])
        try:
            cli.main()
        except SystemExit as left:
            assert not left.code, f"{shlex.join(words)} ended with exit code {left.code}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.mark == "not run":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if block.language == "python":
                # as many lines above as in the page, so that a traceback names the page's line
                source = "\n" * (block.line - 1) + block.text
                exec(compile(source, str(page), "exec"), names)
            elif block.language in ("bash", "console", "sh"):
                for words in commands(block):
                    if words[0] == "dreamer":
                        type_in(words, monkeypatch, block.mark == "shortened")


def worked(page: Path) -> Iterator[tuple[str, str]]:
    """Blocks that open with the path of a file of the package: where it lies, and its text."""
    for block in blocks(page):
        head, _, text = block.text.partition("\n")
        if block.language == "python" and re.fullmatch(r"# dreamer/\w+/\w+\.py", head):
            yield head.removeprefix("# "), text.lstrip("\n")


def test_worked_parts_are_found_by_the_tests_of_their_family(tmp_path: Path) -> None:
    """The parts that CONTRIBUTING.md writes are put into a copy of the project, and hold the contracts there."""
    for folder in ("dreamer", "configs", "tests"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    parts = dict(worked(CHECKOUT / "CONTRIBUTING.md"))
    assert {path.split("/")[1] for path in parts} >= {
        "perturbations", "memory", "generators", "objectives", "plasticity", "schedules"
    }  # fmt: skip
    for path, text in parts.items():
        assert not (tmp_path / path).exists(), f"{path} is there already: choose another example"
        (tmp_path / path).write_text(text, encoding="utf-8")
    names = [Path(path).stem for path in parts]
    families = sorted({f"tests/{path.split('/')[1]}" for path in parts})
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", " or ".join(names), *families]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for name in names:
        assert re.search(rf"\[{name}\b.*PASSED", done.stdout), f"no test found {name}:\n{done.stdout}"

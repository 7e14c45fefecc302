"""What is written for readers is true: blocks run, commands are accepted, links lead somewhere, names are described.

A fenced block may carry a comment on the line above it: ``<!-- not run: reason -->``, or ``<!-- shortened: reason -->``
for commands whose stages are then cut to one step each. Commands that name a data root are checked without living them.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import typer

import dreamer
from dreamer.cli import main as cli
from dreamer.compare import grid
from dreamer.compare import run as session
from dreamer.runs import run as runs
from dreamer.runs.run_config import run_config
from dreamer.studies import run as study_session

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (CHECKOUT / "docs").glob("*.md")
)
MARK = re.compile(r"<!-- (not run|shortened): (\S.*?) -->\s*\Z")
ONE_STEP = "trainer.limit_train_batches=1"


class Block(NamedTuple):
    """A fenced block of a page: its language, its text, the line where the text begins, and its mark, if any."""

    language: str
    text: str
    line: int
    mark: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", text, flags=re.M | re.S):
        mark = MARK.search(text, 0, found.start())
        yield Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1, mark[1] if mark else "")


def commands(block: Block) -> Iterator[list[str]]:
    """The words of every command of a shell block; lines of output, which follow a ``$`` command, are left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    for line in lines:
        if line.startswith("$ ") or not prompted:
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                yield words


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
            # every cell is planned, none is lived
            patch.setattr(session, "compare", lambda asked, *_: SimpleNamespace(grid=grid.read(asked), missing=()))
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_commands_name_is_there(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    for block in blocks(page):
        for words in commands(block) if block.language in ("bash", "console", "sh") else ():
            if words[0] == "make":
                assert set(words[1:]) <= {*targets}, words
            for word in words:
                if word.startswith(("examples/", "tests/", "docs/", "configs/")):
                    assert (CHECKOUT / word.partition("::")[0]).exists(), words


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+?)\s*$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    """Paths in backquotes, such as ``dreamer/training/module.py``."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:dreamer|tests|configs|examples|docs)/[\w/.-]+)`", text):
        assert (CHECKOUT / path).exists(), f"{page.name} names {path}, which is not there"


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


@pytest.mark.parametrize("path", sorted((CHECKOUT / "dreamer").rglob("*.py")), ids=lambda path: path.stem)
def test_everything_public_has_a_docstring(path: Path) -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body, f"{path.name} has no docstring"
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


def test_the_changelog_knows_the_version() -> None:
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text and dreamer.__version__ in text


def test_the_picture_shows_the_rooms_in_their_order() -> None:
    """Every layer of the import rules stands in docs/rooms.svg, below those that may import it."""
    rules = re.search(r"^layers = \[\n(.*?)^\]", (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), re.M | re.S)
    assert rules is not None
    picture = (CHECKOUT / "docs" / "rooms.svg").read_text(encoding="utf-8")
    drawn = {name: int(y) for y, name in re.findall(r'<text class="name" x="\d+" y="(\d+)">(\w+)</text>', picture)}
    layers = [set(re.findall(r"\w+", line)) for line in rules[1].splitlines()]
    assert set(drawn) == set.union(*layers)
    heights = [{drawn[room] for room in layer} for layer in layers]
    assert all(len(height) == 1 for height in heights), "rooms of one layer stand side by side"
    assert heights == sorted(heights, key=min)

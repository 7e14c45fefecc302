"""What is written for readers is true: links lead somewhere, files and commands are there, names are described."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import dreamer
from tests.helpers.pages import CHECKOUT, PAGES, blocks, commands


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


def test_the_picture_shows_the_rooms() -> None:
    """Every room of the import rules, and no other, is named in docs/rooms.svg."""
    rules = re.search(r"^layers = \[\n(.*?)^\]", (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), re.M | re.S)
    assert rules is not None
    picture = (CHECKOUT / "docs" / "rooms.svg").read_text(encoding="utf-8")
    assert set(re.findall(r'<text class="name"[^>]*>(\w+)</text>', picture)) == set(re.findall(r"\w+", rules[1]))

"""The pages of the documentation and their fenced blocks.

A block may carry a comment on the line above it: ``<!-- not run: reason -->``, or ``<!-- shortened: reason -->`` for
commands whose stages are then cut to one step each.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (CHECKOUT / "docs").glob("*.md")
)
MARK = re.compile(r"<!-- (not run|shortened): (\S.*?) -->\s*\Z")


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

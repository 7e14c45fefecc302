"""Files of text in a folder, and what is in them: documents, or rows of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROWS = ".jsonl"
"""What a file with a document or a conversation in each line is called."""
_ORDER = "\ufeff"
"""With which some editors begin a file in UTF-8."""
ENDINGS = (".txt", ".md", ".rst", ".py", ROWS)
"""What a file of text is called."""


def text_files(place: Path) -> dict[str, list[Path]]:
    """The files of each domain by its name, which is that of a file, or of the folder of several."""
    found: dict[str, list[Path]] = {}
    for entry in sorted(place.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_file() and entry.suffix in ENDINGS:
            found.setdefault(entry.stem, []).append(entry)
        elif entry.is_dir():
            files = sorted(path for path in entry.rglob("*") if path.is_file() and path.suffix in ENDINGS)
            if files:
                found.setdefault(entry.name, []).extend(files)
    return found


def rows_of(path: Path) -> list[Any]:
    """The documents of a file: its whole text, or a string or a mapping for each line of JSON.

    A byte-order mark at its beginning is no text. Lines end with one character, whichever system wrote them.

    Raises:
        ValueError: when it is no text, or a line is no JSON; says where.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"stream 'text': {path} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    content = content.removeprefix(_ORDER)
    if "\0" in content:
        raise ValueError(f"stream 'text': {path} is no text: it holds zero bytes")
    if path.suffix != ROWS:
        return [content]
    # other ends of lines may stand within a string of JSON
    return [_row(path, number, line) for number, line in enumerate(content.split("\n"), start=1) if line.strip()]


def _row(path: Path, number: int, line: str) -> Any:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"stream 'text': line {number} of {path} is no JSON: {error}") from error
    if not isinstance(row, str | dict):
        raise ValueError(
            f"stream 'text': line {number} of {path}: expected a string, or keys with values, got {type(row).__name__}"
        )
    return row

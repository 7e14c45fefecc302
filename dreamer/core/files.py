"""Files that are written completely or not at all, and tables for them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

UNFINISHED = ".writing"
"""How the names of files end that are not whole yet, and take their place when they are."""


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: into a temporary file beside it first, which then replaces it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], line_end: str = "\n") -> str:
    """Rows as a CSV table; what a row lacks is empty, and what is no column is left out.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(map(_no_formula, columns))
    writer.writerows([_no_formula(row.get(column, "")) for column in columns] for row in rows)
    return text.getvalue()


def _no_formula(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in tuple("=+-@\t\r"):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value

"""Files that name pictures and their labels, row by row, as Kaggle's ``train.csv``."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

_ENDINGS = (".csv", ".tsv")
USUAL_LABELS = tuple("label labels class classname target category y breed species labelname classid".split())
"""How columns of labels are usually called, see :func:`plain_name`."""


def plain_name(name: str) -> str:
    """A heading without what is spelt now so, now so."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def label_files(place: Path) -> list[Path]:
    """The tables that lie in a folder."""
    return sorted(path for path in place.iterdir() if path.suffix.lower() in _ENDINGS and path.is_file())


class LabelFile:
    """A table with a row for each picture.

    Args:
        path: of the table; its first row is a header unless it names a picture itself.
        place: the folder of the pictures, from which paths in it may start.
        pictures: the picture files.

    Attributes:
        columns: their names; numbers from 1 where there is no header.
        names: the column that names the pictures; None where no column does.

    Raises:
        ValueError: when it cannot be read.
    """

    def __init__(self, path: Path, place: Path, pictures: Sequence[str]):
        self.path = path
        self._files = _by_name(place, pictures)
        rows = read_rows(path)
        headed = bool(rows) and not any(self._find(cell) for cell in rows[0])
        width = len(rows[0]) if rows else 0
        self.columns = [cell.strip() for cell in rows[0]] if headed else [str(i + 1) for i in range(width)]
        self._rows = [row for row in (rows[1:] if headed else rows) if any(cell.strip() for cell in row)]
        short = next((row for row in self._rows if len(row) != width), None)
        if short is not None:
            raise ValueError(f"{str(path)!r}: expected {width} columns in every row, got {len(short)} in {short}")
        named = [len({self._find(row[i]) for row in self._rows} - {None}) for i in range(width)]
        self.names = named.index(max(named)) if any(named) else None

    def label_column(self, wanted: str | None, certain: bool) -> int | None:
        """The column of the labels; None where it is not clear.

        Args:
            wanted: its name.
            certain: take none for it but one with a usual name.
        """
        if wanted is not None:
            if wanted not in self.columns:
                raise ValueError(f"{str(self.path)!r} has no column {wanted!r}, only {', '.join(self.columns)}")
            return self.columns.index(wanted)
        others = [i for i in range(len(self.columns)) if i != self.names]
        plain = [plain_name(self.columns[i]) for i in others]
        usual = [others[plain.index(name)] for name in USUAL_LABELS if name in plain]
        if usual:
            return usual[0]
        return others[0] if len(others) == 1 and not certain else None

    def classes(self, column: int) -> dict[str, list[str]]:
        """Picture files by class name, in the order of the names; numbers in the order of their values."""
        assert self.names is not None
        found: dict[str, list[str]] = {}
        for row in self._rows:
            name, label = row[self.names], row[column].strip()
            path = self._find(name)
            if path is None:
                raise ValueError(f"{str(self.path)!r} names {name!r}, but there is no such picture")
            if not label:
                raise ValueError(f"{str(self.path)!r} has no label for {name!r} in its column {self.columns[column]!r}")
            found.setdefault(label, []).append(path)
        numbers = all(label.lstrip("-").isdigit() for label in found)
        order = sorted(found, key=int) if numbers else sorted(found)
        if len(order) < 2:
            raise ValueError(f"{str(self.path)!r}: expected at least two classes, found {', '.join(order) or 'none'}")
        return {label: sorted(found[label]) for label in order}

    def _find(self, name: str) -> str | None:
        name = name.strip().replace("\\", "/").removeprefix("./")
        return self._files.get(name) or self._files.get(name.rpartition("/")[2])


def _by_name(place: Path, pictures: Sequence[str]) -> dict[str, str]:
    """Files by their path in the folder and in the one above, and by their name alone, each with and without ending."""
    found: dict[str, str] = {}
    lone: dict[str, str | None] = {}
    for path in pictures:
        below = os.path.relpath(path, place).replace(os.sep, "/")
        name = os.path.basename(path)
        for key in (below, f"{place.name}/{below}"):
            found[key] = found[os.path.splitext(key)[0]] = path
        for key in (name, os.path.splitext(name)[0]):
            lone[key] = path if key not in lone else None
    return {key: path for key, path in lone.items() if path is not None} | found


def read_rows(path: Path) -> list[list[str]]:
    """The cells of a csv of commas, semicolons or tabs; a ``ValueError`` when it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            return list(csv.reader(file, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read the label file {str(path)!r} ({error}): expected a csv in UTF-8") from error

"""Sortable tables of a page, each with its numbers for a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dreamer.core import text
from dreamer.core.text import DASH
from dreamer.metrics.significance import Verdict

_SIGNS = {"better": "▲", "worse": "▼", "equivalent within the margin": "=", "no difference shown": "○"}
_MOODS = {"better": "good", "worse": "bad"}


@dataclass(frozen=True)
class Column:
    """A column of a sortable table.

    Attributes:
        falls: whether the largest value comes first when it is sorted by.
        words: whether it holds words, not numbers.
    """

    label: str
    hint: str = ""
    falls: bool = False
    words: bool = False


@dataclass(frozen=True)
class Entry:
    """A cell of a sortable table.

    Attributes:
        text: what is shown.
        value: what is sorted by, and what goes into the CSV file; None comes last.
        below: a second, smaller line.
        hint: shown while the pointer rests on it.
        mood: ``good``, ``bad`` or empty.
        link: where it leads, relative to the page.
    """

    text: str
    value: float | str | None
    below: str = ""
    hint: str = ""
    mood: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table.

    Attributes:
        key: its name in file names and anchors.
        sorted_by: the column by which the rows come sorted, or None.
        full: header and rows of its CSV file, where that says more than its entries.
    """

    key: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]
    sorted_by: int | None = None
    notes: Sequence[str] = ()
    full: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None

    @property
    def arms(self) -> int | None:
        """The column that names arms, by which rows can be hidden; None where there is none."""
        return next((place for place, column in enumerate(self.columns) if column.label == "Arm"), None)

    @property
    def header(self) -> Sequence[str]:
        """The names of its numbers in a CSV file."""
        return self.full[0] if self.full else [column.label for column in self.columns]

    @property
    def numbers(self) -> Sequence[Sequence[Any]]:
        """Its numbers, one line of a CSV file each."""
        return self.full[1] if self.full else [[entry.value for entry in row] for row in self.rows]


def word_columns(*labels: str) -> list[Column]:
    """Columns of words."""
    return [Column(label, words=True) for label in labels]


def words(*texts: str) -> list[Entry]:
    """Entries of words."""
    return [Entry(each, each) for each in texts]


def number(value: float | None, form: str = "{:,.0f}") -> Entry:
    """An entry of a number in a format."""
    return Entry(text.number(value, form), value)


def p_value(p: float | None, hint: str = "") -> Entry:
    """An entry of a p value."""
    return Entry(text.p_value(p), p, hint=hint)


def verdict(found: Verdict, below: str = "", hint: str = "") -> Entry:
    """An entry of a verdict, with a sign and a mood."""
    return Entry(f"{_SIGNS.get(found, DASH)} {found}", found, below, hint, _MOODS.get(found, ""))


def missing_table(rows: Sequence[tuple[str, str, int, str]], place: str) -> Table | None:
    """The cells without results and why, as (where it belongs, arm, seed, reason); None where there are none."""
    if not rows:
        return None
    columns = [*word_columns(place, "Arm"), Column("Seed"), *word_columns("Reason")]
    entries = [[*words(where, arm), number(seed, "{}"), *words(reason)] for where, arm, seed, reason in rows]
    return Table("missing-cells", "Planned cells without results", columns, entries)

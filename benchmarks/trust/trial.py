"""One thing that is done to `dreamer`, and what is said of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """Something that is tried.

    Attributes:
        kind: the row of the table that it belongs to.
        name: says which one of its experiment it is.
        run: does it in an empty folder; returns what went wrong in one line, and nothing where it survived.
    """

    kind: str
    name: str
    run: Callable[[Path], str]


class NotAvailable(Exception):
    """An experiment cannot be made here; says why."""

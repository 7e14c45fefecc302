"""Options that are one value for all times, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Value = TypeVar("_Value", int, float)


def nth_or_last(values: _Value | Sequence[_Value], number: int) -> _Value:
    """The value of an experience or a night; of several its own, or the last of all further ones.

    Args:
        number: of the experience or night, from 0; -1 means the first.

    >>> nth_or_last(3, 7), nth_or_last([1, 2], 0), nth_or_last([1, 2], 7)
    (3, 1, 2)
    """
    return values[min(max(number, 0), len(values) - 1)] if isinstance(values, Sequence) else values

"""Numbers out of their range, which all refuse in the same words; None is let pass."""

from __future__ import annotations

from numbers import Real
from typing import Any


def at_least(least: float, /, **given: float | None) -> None:
    """Raise a ValueError that names the first number below ``least``.

    >>> at_least(1, steps=100, batch_size=1)
    """
    for name, number in given.items():
        if number is not None and not _is_number(name, number) >= least:
            raise ValueError(f"expected {name} of at least {least}, got {number}")


def above(limit: float, /, **given: float | None) -> None:
    """Raise a ValueError that names the first number that is not above ``limit``."""
    for name, number in given.items():
        if number is not None and not _is_number(name, number) > limit:
            raise ValueError(f"expected {name} above {limit}, got {number}")


def fractions(**given: float) -> None:
    """Raise a ValueError that names the first number that is not in [0, 1]."""
    for name, number in given.items():
        if not 0 <= _is_number(name, number) <= 1:
            raise ValueError(f"expected {name} in [0, 1], got {number}")


def _is_number(name: str, number: Any) -> Any:
    if not isinstance(number, Real) and not hasattr(number, "item"):
        raise ValueError(f"expected {name} to be a number, got {number!r}")
    return number

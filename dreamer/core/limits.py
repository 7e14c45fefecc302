"""Numbers out of their range, and parts of another kind, which all refuse in the same words; None is let pass."""

from __future__ import annotations

from collections.abc import Iterable
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


def expect(name: str, value: object, kind: type | tuple[type, ...], example: str) -> None:
    """Raise a ValueError unless a value is None or of a kind.

    >>> expect("memory", None, int, "3")
    """
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"expected {name} to be such as {example}, got {value!r}")


def expect_each(name: str, values: object, kind: type | tuple[type, ...], example: str) -> None:
    """Raise a ValueError unless values are None, or a list of things of a kind."""
    if values is None:
        return
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"expected {name} to be a list such as [{example}], got {values!r}")
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(f"expected {name} to be a list such as [{example}], got {value!r} in it")


def _is_number(name: str, number: Any) -> Any:
    if not isinstance(number, Real) and not hasattr(number, "item"):
        raise ValueError(f"expected {name} to be a number, got {number!r}")
    return number

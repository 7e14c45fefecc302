"""Where two nested plain values differ, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def differences(there: Any, here: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The path of every difference, with both values; what one lacks is None there."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in {**there, **here}:
            yield from differences(there.get(key), here.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for index, pair in enumerate(zip(there, here, strict=True)):
            yield from differences(*pair, f"{path}.{index}" if path else str(index))
    elif there != here:
        yield path, there, here


def in_words(difference: tuple[str, Any, Any]) -> str:
    """One of :func:`differences` as part of a sentence; long values are cut."""
    where, there, here = difference
    return f"{where}: {_cut(there)} there, {_cut(here)} now"


def _cut(value: Any, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."

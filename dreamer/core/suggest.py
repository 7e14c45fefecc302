"""The end of a refusal: the nearest valid name, and all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that looks most like a word, or None when none does."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return close[0] if close else None


def one_of(word: str, choices: Iterable[str]) -> str:
    """The end of an error message: the nearest choice, when there is one, and all of them."""
    choices = sorted(choices)
    near = nearest(word, choices)
    hint = "" if near is None else f"did you mean {near!r}? "
    return f"{hint}expected one of: {', '.join(choices) or 'none'}"

"""Fonts for class names in any script: matplotlib's own first, then whatever is installed that has the letters."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable

_LOG = logging.getLogger(__name__)
OWN = "DejaVu Sans"
"""The font that matplotlib brings."""


def families(texts: Iterable[str]) -> list[str]:
    """The fonts with which some texts are drawn, letter by letter the first that has it."""
    letters = frozenset("".join(texts))
    return [OWN, *_fallbacks(letters - _letters(_own_path()))[0]]


def legible(text: str) -> bool:
    """Whether any installed font has all letters of a text."""
    return not _fallbacks(frozenset(text) - _letters(_own_path()))[1]


@functools.cache
def _fallbacks(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Installed fonts that have some letters between them, and the letters that none has."""
    chosen: list[str] = []
    left = letters
    for name, path in _installed() if left else ():
        found = left & _letters(path)
        if found:
            chosen.append(name)
            left = left - found
        if not left:
            break
    if left:
        _LOG.info("no installed font has %s: pictures show numbers in place of such names", " ".join(sorted(left)))
    return tuple(chosen), left


@functools.cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Name and file of each font, upright and of plain weight first."""
    from matplotlib.font_manager import fontManager

    fonts = sorted(
        fontManager.ttflist, key=lambda font: (font.style != "normal", str(font.weight) not in ("400", "normal"))
    )
    # a font of last resort has a box for every letter
    return tuple((font.name, font.fname) for font in fonts if not font.name.startswith((OWN, "Last Resort")))


@functools.cache
def _letters(path: str) -> frozenset[str]:
    """What a font file can draw; nothing where it cannot be read."""
    from matplotlib.font_manager import get_font

    try:
        return frozenset(map(chr, get_font(path).get_charmap())) | {"\n"}
    except (OSError, RuntimeError):
        return frozenset()


@functools.cache
def _own_path() -> str:
    from matplotlib.font_manager import findfont

    return str(findfont(OWN))

"""Numbers and lists as readers see them: in tables, on pages, in logs. A value of None is a dash."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction of 1 in per cent, without the sign ``%``.

    >>> percent(0.1234), percent(-0.5, 0), percent(None)
    ('12.3', '−50', '–')
    """
    if value is None:
        return DASH
    text = f"{100 * value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float | None, digits: int = 1) -> str:
    """A difference of fractions in percentage points, with its sign.

    >>> signed(0.1234), signed(-0.5, 0), signed(0.0)
    ('+12.3', '−50', '0.0')
    """
    text = percent(value, digits)
    return text if value is None or text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def interval(low: float | None, high: float | None, write: Callable[[float], str] = percent) -> str:
    """``low to high``, each end written by ``write``.

    >>> interval(-0.1, 0.25, signed), interval(None, None)
    ('−10.0 to +25.0', '–')
    """
    return DASH if low is None or high is None else f"{write(low)} to {write(high)}"


def plus_minus(mean: float | None, std: float | None, write: Callable[[float | None], str] = percent) -> str:
    """``mean ± standard deviation``; the mean alone where there is no deviation.

    >>> plus_minus(0.5, 0.01), plus_minus(0.5, None)
    ('50.0 ± 1.0', '50.0')
    """
    return write(mean) + ("" if std is None else f" ± {write(std)}")


def p_value(p: float | None, named: bool = False) -> str:
    """A p value with three decimals.

    >>> p_value(0.05), p_value(0.0002)
    ('0.050', '< 0.001')
    """
    if p is None:
        return DASH
    relation, value = ("<", "0.001") if p < 0.001 else ("=", f"{p:.3f}")
    if named:
        return f"p {relation} {value}".replace(" ", "\N{NO-BREAK SPACE}")
    return value if relation == "=" else f"{relation} {value}"


def number(value: float | None, form: str = "{:,.0f}") -> str:
    """A number in a format; by default with its thousands apart.

    >>> number(1234.4), number(-0.5, "{:.1f}")
    ('1,234', '−0.5')
    """
    return DASH if value is None else form.format(value).replace("-", MINUS)


def count(value: float) -> str:
    """A number in few letters.

    >>> count(1200), count(0.25)
    ('1.2k', '0.25')
    """
    for unit, one in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= one:
            return f"{value / one:.3g}{unit}"
    return f"{value:.3g}"


def size(nbytes: float | None) -> str:
    """Bytes in the unit in which they are easiest to read, in powers of 1000.

    >>> size(999), size(1_500_000)
    ('999 B', '1.5 MB')
    """
    if nbytes is None:
        return DASH
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if nbytes >= one:
            return f"{nbytes / one:.1f} {unit}"
    return f"{nbytes:.0f} B"


def plural(amount: int, noun: str) -> str:
    """An amount with its noun.

    >>> plural(1, "seed"), plural(3, "pair of seeds"), plural(2, "strategy")
    ('1 seed', '3 pairs of seeds', '2 strategies')
    """
    first, *rest = noun.split(" ", 1)
    if amount != 1:
        first = f"{first[:-1]}ies" if first[-1] == "y" and first[-2] not in "aeiou" else f"{first}s"
    return " ".join([f"{amount:,}", first, *rest])


def listed(names: Sequence[str]) -> str:
    """Names with commas, and ``and`` before the last.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def capital(text: str) -> str:
    """The text with a capital at its beginning.

    >>> capital("bits per byte")
    'Bits per byte'
    """
    return f"{text[:1].upper()}{text[1:]}"


def one_line(text: str) -> str:
    """The text without line breaks and repeated spaces."""
    return " ".join(text.split())


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Rows as lines of fixed-width columns, two spaces apart.

    Args:
        left: positions of columns that are set to the left; all others are set to the right.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]

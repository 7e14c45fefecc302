"""The plotting layer of pages: SVG drawings whose colours come from the page's style sheet, with their numbers.

Pages draw many small panels with hints, for light and dark, and without picture files: that is SVG. A run folder holds
a few PNGs that open anywhere and go to loggers: those are matplotlib's, in :mod:`dreamer.report.pictures`.

A figure is a handful of panels, each narrow enough to be read on a phone; the page lays them out side by side where
there is room. Elements carry class names instead of colours, so that one drawing serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

TEXT = 12.0
"""Height of the letters in a panel."""
_WIDTH_OF_A_LETTER = 0.64
"""Of its height; of the widest of the fonts that a system may choose."""


@dataclass
class Panel:
    """One drawing.

    Attributes:
        title: what is drawn, written above it; empty where the figure's own title says it.
        width: of the sheet, in units of which letters are 12 high.
        height: of the sheet.
        arm: to which arm the elements belong that are added from now on; empty for all. A page can hide an arm.
    """

    title: str
    width: float
    height: float
    description: str = ""
    arm: str = ""
    _elements: list[str] = field(default_factory=list, repr=False)

    def add(self, tag: str, name: str = "", hint: str = "", **attributes: Any) -> None:
        """Add an element whose hint is shown while the pointer rests on it; attributes have ``_`` for ``-``."""
        inside = f"<title>{escape(hint)}</title>" if hint else ""
        self._elements.append(f"<{tag}{_attributes(name, self._of_arm(attributes))}>{inside}</{tag}>")

    def write(self, x: float, y: float, text: str, name: str = "", anchor: str = "start", **attributes: Any) -> None:
        """Write a line of text at its baseline."""
        attributes = {"x": x, "y": y, "text_anchor": anchor, **attributes}
        self._elements.append(f"<text{_attributes(name, self._of_arm(attributes))}>{escape(text)}</text>")

    def _of_arm(self, attributes: dict[str, Any]) -> dict[str, Any]:
        return {**attributes, "data_arm": self.arm} if self.arm else attributes

    def line(self, points: Iterable[tuple[float, float]], name: str, hint: str = "") -> None:
        """Draw a line through points."""
        self.add("path", name, hint, d="M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points))

    def markup(self, key: str) -> str:
        """The drawing as an ``svg`` element, whose ``key`` no other drawing of the page has."""
        size = f'viewBox="0 0 {_number(self.width)} {_number(self.height)}"'
        label = f'role="img" aria-labelledby="{key}-title {key}-text"'
        words = f'<title id="{key}-title">{escape(self.title)}</title>'
        words += f'<desc id="{key}-text">{escape(self.description)}</desc>'
        size += f' width="{_number(self.width)}" height="{_number(self.height)}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>{words}{"".join(self._elements)}</svg>'


@dataclass(frozen=True)
class Figure:
    """Panels that belong together.

    Attributes:
        key: its name in file names and anchors.
        header: the names of its numbers.
        numbers: what it is drawn from, one line of a CSV file each.
        wide: whether it takes the whole width of the page.
    """

    key: str
    title: str
    caption: str
    panels: Sequence[Panel]
    header: Sequence[str]
    numbers: Sequence[Sequence[Any]]
    wide: bool = False


@dataclass(frozen=True)
class Scale:
    """From values to places on a sheet.

    Attributes:
        log: whether equal factors, not equal differences, are equally far apart; both values are then above 0.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        depth = ((math.log(value) if self.log else value) - low) / (high - low or 1.0)
        return self.start + depth * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values within the scale, at most about so many."""
        return _powers(self.low, self.high, most) if self.log else _round_values(self.low, self.high, most)


def around(values: Iterable[float], pad: float = 0.06, least: float = 0.0) -> tuple[float, float]:
    """The range of values with a margin.

    Args:
        least: how wide the range is at least.
    """
    values = list(values)
    low, high = min(values), max(values)
    margin = max((high - low) * pad, (least - (high - low)) / 2, 1e-9)
    return low - margin, high + margin


def heading(panel: Panel, name: str, number: str = "") -> None:
    """Write what a panel shows at its upper left, and one number about it at its upper right."""
    room = panel.width - (text_width(number) + 12 if number else 0)
    panel.write(0.0, 14.0, shortened(name, room, TEXT + 1), "name")
    if number:
        panel.write(panel.width, 14.0, number, "number", "end")


def cell_text(depth: float) -> str:
    """The class of letters on a cell that is coloured to a depth in [0, 1]."""
    return "on" if depth > 0.8 else "mid" if depth > 0.6 else "cell"


def text_width(text: str, size: float = TEXT) -> float:
    """About how wide a line of text is."""
    return len(text) * size * _WIDTH_OF_A_LETTER


def shortened(text: str, room: float, size: float = TEXT) -> str:
    """The text, or its beginning where it is too long for the room."""
    most = max(4, int(room / (size * _WIDTH_OF_A_LETTER)))
    return text if len(text) <= most else text[: most - 1] + "…"


def marker(panel: Panel, shape: str, x: float, y: float, size: float, name: str, hint: str = "") -> None:
    """Draw a marker: ``circle``, ``diamond``, ``square`` or ``triangle``."""
    if shape == "circle":
        panel.add("circle", name, hint, cx=x, cy=y, r=size)
        return
    corners = {
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0, -1.2), (1.1, 0.85), (-1.1, 0.85)],
    }[shape]
    points = " ".join(f"{_number(x + size * dx)},{_number(y + size * dy)}" for dx, dy in corners)
    panel.add("polygon", name, hint, points=points)


def frame(
    panel: Panel,
    across: Scale,
    up: Scale | None,
    x_label: str = "",
    x_ticks: Sequence[tuple[float, str]] = (),
    y_ticks: Sequence[tuple[float, str]] = (),
    left: float | None = None,
) -> None:
    """Draw grid lines with their values and the names of the axes.

    Args:
        up: places of the y values, or None for rows that have no scale; the grid then stands upright.
        left: where the grid begins, by default where the x values do.
    """
    left = across.start if left is None else left
    bottom = up.start if up else panel.height - 34
    top = up.end if up else 6.0
    for value, text in y_ticks:
        if up:
            panel.add("line", "grid", x1=left, x2=across.end, y1=up(value), y2=up(value))
            panel.write(left - 6, up(value) + 4, text, "soft", "end")
    for value, text in x_ticks:
        x = across(value)
        panel.add("line", "grid" if up is None else "tick", x1=x, x2=x, y1=top if up is None else bottom, y2=bottom + 4)
        panel.write(x, bottom + 16, text, "soft", "middle")
    if up:
        panel.add("line", "axis", x1=across.start, x2=across.end, y1=bottom, y2=bottom)
    if x_label:
        panel.write(across.end, bottom + 31, x_label, "soft", "end")


def _attributes(name: str, attributes: dict[str, Any]) -> str:
    given = {"class": name or None, **{key.replace("_", "-"): value for key, value in attributes.items()}}
    pairs = [(key, _number(value) if isinstance(value, float) else value) for key, value in given.items()]
    return "".join(f' {key}="{escape(str(value))}"' for key, value in pairs if value is not None)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _round_values(low: float, high: float, most: int) -> list[float]:
    if high <= low:
        return [low]
    raw = (high - low) / most
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [0.0 if k == 0 else k * step for k in range(first, last + 1)]


def _powers(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, with 2 and 5 between them where there are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(found) <= most:
            break
    every = -(-len(found) // most) if found else 1
    return found[::every] or [low, high]

"""How the scores of a run are written: accuracies in per cent, anything else as it is, with its name and unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dreamer.core.text import MINUS, percent


@dataclass(frozen=True)
class Score:
    """What a run was scored by.

    Attributes:
        name: such as ``accuracy``.
        unit: ``%`` for fractions of 1, which are written times 100; else in what it is counted, empty where the name
            says it.
        higher_is_better: which way it is better.

    >>> Score().write(0.123), Score("mean squared error", "mg", higher_is_better=False).write(1234.5678)
    ('12.3', '1235')
    """

    name: str = "accuracy"
    unit: str = "%"
    higher_is_better: bool = True

    @classmethod
    def of(cls, results: Mapping[str, Any]) -> Score:
        """The score that ``results.json`` names; without a word about it, accuracy."""
        protocol = results.get("protocol", {})
        if "score" not in protocol:
            return cls()
        return cls(protocol["score"], protocol["unit"], protocol["higher_is_better"])

    @property
    def is_fraction(self) -> bool:
        """Whether it is a fraction of 1, written in per cent."""
        return self.unit == "%"

    @property
    def sign(self) -> str:
        """What stands behind a number: `` %``, or nothing where the unit is said once."""
        return " %" if self.is_fraction else ""

    @property
    def heading(self) -> str:
        """Name and unit, and which way is better where that is the lower one."""
        unit = f" in {self.unit}" if self.unit else ""
        return f"{self.name}{unit}" + ("" if self.higher_is_better else ", lower is better")

    @property
    def bracket(self) -> str:
        """The unit behind a name, in brackets; nothing where the name says it."""
        return f" ({self.unit})" if self.unit else ""

    @property
    def points(self) -> str:
        """In what differences are counted."""
        return f"percentage {self.short_points}" if self.is_fraction else self.short_points

    @property
    def short_points(self) -> str:
        """The same in few letters, behind a number."""
        return "points" if self.is_fraction else self.unit or self.name

    @property
    def lower(self) -> str:
        """A remark where less is better."""
        return "" if self.higher_is_better else " (lower is better)"

    @property
    def direction(self) -> int:
        """1 where more is better, else -1: a score times this is better the more it is."""
        return 1 if self.higher_is_better else -1

    def signed(self, value: float | None, digits: int = 1) -> str:
        """A difference of two values with its sign.

        >>> Score().signed(0.05), Score("bits per byte", "", higher_is_better=False).signed(0.05)
        ('+5.0', '+0.05')
        """
        text = self.write(value, digits)
        return text if value is None or text.startswith(MINUS) or float(text) == 0 else f"+{text}"

    def write(self, value: float | None, digits: int = 1) -> str:
        """A value, or a difference of two, with so many decimals in per cent, or with four digits that count."""
        if value is None or self.is_fraction:
            return percent(value, digits)
        return f"{value:.4g}".replace("-", MINUS)


ACCURACY = Score()
"""What most runs are scored by."""

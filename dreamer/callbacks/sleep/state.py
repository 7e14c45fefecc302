"""Where a training with nights stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class SleepState:
    """Plain numbers and lists, saved with every checkpoint.

    Attributes:
        days: epochs whose day is over.
        nights: nights that have begun.
        lived: batches of all days, today's included.
        slept: batches of all nights.
        met: classes of all days that are over, sorted.
        today: classes of the day so far, or of the last one, sorted.
        yesterday: classes of the day before, sorted.
        experience: number of the experience; days of the same classes in a row are one. -1 before the first dusk.
        awake: batches of the epoch that were real.
        rows: samples in the largest of them.
        done: batches of the epoch that were trained on.
        dusk: True when the epoch's day is over.
        night: steps of each stage of the night behind it; empty without one.
        finished: True when the epoch is over, and before the first.
    """

    days: int = 0
    nights: int = 0
    lived: int = 0
    slept: int = 0
    met: list[int] = field(default_factory=list)
    today: list[int] = field(default_factory=list)
    yesterday: list[int] = field(default_factory=list)
    experience: int = -1
    awake: int = 0
    rows: int = 0
    done: int = 0
    dusk: bool = False
    night: list[int] = field(default_factory=list)
    finished: bool = True

    def wake(self) -> None:
        """A new epoch begins."""
        self.yesterday, self.today = self.today, []
        self.awake = self.rows = self.done = 0
        self.dusk, self.night, self.finished = False, [], False

    def end_day(self) -> None:
        """The day is over; which night follows is said next."""
        if self.today != self.yesterday or self.experience < 0:
            self.experience += 1
        self.met = sorted({*self.met, *self.today})
        self.days += 1
        self.dusk = True

    def state_dict(self) -> dict[str, Any]:
        """All of it, as plain containers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SleepState:
        """The diary that gave a state."""
        return cls(**{entry.name: state[entry.name] for entry in fields(cls)})

"""Where a training with nights stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dreamer.core.ledger import Ledger


@dataclass
class SleepState(Ledger):
    """The ledger of a user's own module, whose epochs are days with or without a night behind them.

    Attributes:
        epochs: epochs whose day is over.
        drawn: batches of all days, those of the current one included.
        slept: batches of all nights that were trained on.
        seen: classes of all days that are over, sorted.
        classes: classes of the day so far, or of the last one, sorted.
        previous: classes of the day before, sorted.
        experience: number of the experience; days of the same classes in a row are one. -1 before the first dusk.
        nights: nights that have begun.
        awake: batches of the epoch that were real.
        largest: samples in the largest of them.
        trained: batches of the epoch that were trained on.
        day_over: True when the epoch's day is over.
        night: steps of each stage of the night behind it; empty without one.
        epoch_over: True when the epoch is over, and before the first.
        values: ``low`` and ``high`` ends of the first batch's samples; None where they lie in [0, 1].
    """

    epochs: int = 0
    drawn: int = 0
    slept: int = 0
    seen: list[int] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    previous: list[int] = field(default_factory=list)
    awake: int = 0
    largest: int = 0
    trained: int = 0
    day_over: bool = False
    night: list[int] = field(default_factory=list)
    epoch_over: bool = True
    values: dict[str, Tensor] | None = None

    def begin_epoch(self) -> None:
        """A new epoch begins with its day."""
        self.previous, self.classes = self.classes, []
        self.awake = self.largest = self.trained = 0
        self.day_over, self.night, self.epoch_over = False, [], False

    def end_day(self) -> None:
        """The day is over; whether a night follows is decided next."""
        if self.classes != self.previous or self.experience < 0:
            self.experience += 1
        self.seen = sorted({*self.seen, *self.classes})
        self.epochs += 1
        self.day_over = True

    @property
    def asleep(self) -> bool:
        """True when the next batch to train on is one of dreams."""
        return self.day_over and not self.epoch_over and self.trained >= self.awake

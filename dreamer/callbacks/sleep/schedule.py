"""Whether a night follows an epoch of a user's own training."""

from __future__ import annotations

from typing import NamedTuple

from dreamer.schedules import EveryNSteps, Schedule

NEVER = EveryNSteps(2**60, at_end=False)
"""A schedule without nights."""


class Day(NamedTuple):
    """One epoch's real batches, before their end or at it.

    Attributes:
        steps: how many; None while it is unknown.
        before: batches of all days before it.
        number: days before it.
        last: True when the Trainer ends after it.
        seen: classes of all days before it.
        classes: its own classes; None before its end.
    """

    steps: int | None
    before: int
    number: int
    last: bool
    seen: frozenset[int]
    classes: frozenset[int] | None = None


def comes(schedule: Schedule | int | None) -> bool:
    """Whether a night may ever come; then the Trainer's ``fast_dev_run`` has one too."""
    return not (isinstance(schedule, EveryNSteps) and schedule.n >= NEVER.n)


def sleeps(schedule: Schedule | int | None, day: Day) -> bool | None:
    """Whether a night follows a day; None while that is open.

    Args:
        schedule: None sleeps after a day whose classes are not all those seen before it: the classes that it leaves
            out are forgotten. A number n sleeps after every n-th day. A :class:`dreamer.schedules.Schedule` takes a day
            for an experience: a plain one cuts it, and a night follows where any of the cuts has one; a data-driven one
            decides at its end.
        day: the day, once more at its end with :attr:`Day.classes`.
    """
    if schedule is None:
        if not day.seen:
            return False
        return None if day.classes is None else day.classes != day.seen
    if isinstance(schedule, int):
        return (day.number + 1) % schedule == 0
    if schedule.data_driven:
        return None if day.classes is None else schedule.decide()
    if day.steps is None:
        return None
    return any(bool(stretch.sleep) for stretch in schedule.cut(day.steps, day.before, day.last))

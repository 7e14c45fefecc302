"""Whether a night follows an epoch of somebody else's training."""

from __future__ import annotations

from typing import NamedTuple

from dreamer.schedules import Schedule


class Day(NamedTuple):
    """One epoch, before its end or at it.

    Attributes:
        steps: its batches; None where nobody knows yet.
        lived: batches of all days before it.
        number: days before it.
        last: True when the Trainer ends after it.
        met: classes of all days before it.
        today: its own classes; None before its end.
    """

    steps: int | None
    lived: int
    number: int
    last: bool
    met: frozenset[int]
    today: frozenset[int] | None = None


def sleeps(schedule: Schedule | int | None, day: Day) -> bool | None:
    """Whether a night follows a day; None while that is open.

    Args:
        schedule: None sleeps after a day whose classes are not all those met before it: what it left out is what it
            makes forget. A number n sleeps after every n-th day. A :class:`dreamer.schedules.Schedule` takes a day for
            an experience: one that plans is asked to cut it, and sleeps at its end where any of the cuts does; one
            that watches is asked at its end.
        day: the day, once more at its end with :attr:`Day.today`.
    """
    if schedule is None:
        if not day.met:
            return False
        return None if day.today is None else day.today != day.met
    if isinstance(schedule, int):
        return (day.number + 1) % schedule == 0
    if schedule.data_driven:
        return None if day.today is None else schedule.decide()
    if day.steps is None:
        return None
    return any(bool(stretch.sleep) for stretch in schedule.cut(day.steps, day.lived, day.last))

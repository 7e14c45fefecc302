"""A night after every experience."""

from __future__ import annotations

from dreamer.core.arguments import checked
from dreamer.core.hypnogram import Stretch
from dreamer.schedules.base import Schedule


class Boundary(Schedule):
    """Sleep at every boundary between experiences, and after the last one.

    The schedule of nearly all replay methods that know where an experience ends (e.g. van de Ven et al. 2020).

    Args:
        first: sleep after the first experience too; False saves that night, before which nothing was to be forgotten.
    """

    @checked
    def __init__(self, first: bool = True):
        self.first = first

    def cut(self, steps: int, completed: int, last: bool) -> list[Stretch]:
        """One stretch for the whole experience; see :meth:`dreamer.schedules.Schedule.cut`."""
        return [Stretch(steps, sleep=self.first or completed > 0)]

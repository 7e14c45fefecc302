"""A budget of sleep steps, earned by wake steps."""

from __future__ import annotations

import math

from dreamer.core.arguments import checked
from dreamer.core.hypnogram import Stretch
from dreamer.core.limits import above, at_least
from dreamer.schedules.base import Schedule


class Budget(Schedule):
    """Sleep as soon as the steps of a night have been earned awake, so that sleep never costs more than planned.

    Every wake step earns ``ratio`` sleep steps, and every ``night_steps`` earned pay for a night, which comes at the
    next opportunity. An opportunity has one night at most: what was earned for a second one by then is forfeited, so
    sleep never exceeds ``ratio`` times the completed wake steps (but by a night ``at_end``).

    Comparisons at equal compute need it, since continual learners otherwise differ in what they spend (Prabhu et al.
    2023, "Computationally budgeted continual learning", arXiv 2303.11165); this way of counting is the project's own.

    Args:
        night_steps: optimiser steps of one night, all its stages and cycles together, at least 1.
        ratio: sleep steps that a wake step earns, above 0. The default is that of people, who sleep eight hours for
            sixteen awake.
        every: wake steps of the whole run between two opportunities, at least 1; None: the boundaries between
            experiences, and the end.
        at_end: sleep at the very end in any case, also where it has not been earned.

    Raises:
        ValueError: when ``night_steps`` or ``every`` is below 1, or ``ratio`` is not above 0.
    """

    @checked
    def __init__(self, night_steps: int, ratio: float = 0.5, every: int | None = None, at_end: bool = False):
        at_least(1, night_steps=night_steps, every=every)
        above(0, ratio=ratio)
        self.night_steps = night_steps
        self.ratio = ratio
        self.every = every
        self.at_end = at_end

    def cut(self, steps: int, completed: int, last: bool) -> list[Stretch]:
        """Cut where a night has been earned; see :meth:`dreamer.schedules.Schedule.cut`."""
        gap = self.every or steps
        end = completed + steps
        first = end if self.every is None else (completed // gap + 1) * gap
        paid = [place for place in range(first, end + 1, gap) if self._earned(place) > self._earned(place - gap)]
        starts = [completed, *paid]
        stretches = [Stretch(place - start, sleep=True) for start, place in zip(starts, paid, strict=False)]
        awake = end - max(starts)
        return [*stretches, Stretch(awake, sleep=self.at_end and last)] if awake else stretches

    def _earned(self, wake: int) -> int:
        """Nights earned by so many wake steps of the whole run."""
        # the decimal number of a configuration may lie a rounding error below what was meant
        return math.floor(self.ratio * wake / self.night_steps + 1e-9)

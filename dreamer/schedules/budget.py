"""Sleep is paid for with wake steps."""

from __future__ import annotations

import math

from dreamer.core.hypnogram import Stretch
from dreamer.schedules.base import Schedule


class Budget(Schedule):
    """Sleep as soon as the steps of a night have been earned awake, so that sleep never costs more than planned.

    Every wake step pays ``share`` sleep steps into an account, and every ``night_steps`` in it pay for a night, which
    comes at the next opportunity. An opportunity sees one night at most: what was earned for a second one by then is
    forfeited, so ``share`` times the wake steps lived is never exceeded (but by a night ``at_end``).

    Comparisons at equal compute need it, since continual learners otherwise differ in what they spend (Prabhu et al.
    2023, "Computationally budgeted continual learning", arXiv 2303.11165); the account is this project's own.

    Args:
        night_steps: optimiser steps of one night, all its stages and cycles together, at least 1.
        share: sleep steps that a wake step earns, above 0. The default is that of people, who sleep eight hours for
            sixteen awake.
        every: wake steps of the whole life between two opportunities, at least 1; None: the boundaries between
            experiences, and the end.
        at_end: sleep at the very end in any case, also where it is not paid for.

    Raises:
        ValueError: when ``night_steps`` or ``every`` is below 1, or ``share`` is not above 0.
    """

    def __init__(self, night_steps: int, share: float = 0.5, every: int | None = None, at_end: bool = False):
        if night_steps < 1:
            raise ValueError(f"expected night_steps of at least 1, got {night_steps}")
        if not share > 0:
            raise ValueError(f"expected a share above 0 sleep steps for each wake step, got {share}")
        if every is not None and every < 1:
            raise ValueError(f"expected every of at least 1 wake step between opportunities, or null, got {every}")
        self.night_steps = night_steps
        self.share = share
        self.every = every
        self.at_end = at_end

    def cut(self, steps: int, lived: int, last: bool) -> list[Stretch]:
        """Cut where a night has been paid for; see :meth:`dreamer.schedules.Schedule.cut`."""
        gap = self.every or steps
        end = lived + steps
        first = end if self.every is None else (lived // gap + 1) * gap
        paid = [place for place in range(first, end + 1, gap) if self._earned(place) > self._earned(place - gap)]
        stretches = [Stretch(place - before, sleep=True) for before, place in zip([lived, *paid], paid, strict=False)]
        awake = end - max([lived, *paid])
        return [*stretches, Stretch(awake, sleep=self.at_end and last)] if awake else stretches

    def _earned(self, wake: int) -> int:
        """Nights that have been earned by a wake step of the whole life."""
        # the decimal share of a configuration may lie a rounding error below what was meant
        return math.floor(self.share * wake / self.night_steps + 1e-9)

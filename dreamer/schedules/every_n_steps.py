"""A night every N wake steps, wherever the boundaries lie."""

from __future__ import annotations

from dreamer.core.arguments import checked
from dreamer.core.hypnogram import Stretch
from dreamer.schedules.base import Schedule


class EveryNSteps(Schedule):
    """Sleep every ``n`` wake steps of the whole run, without knowing where experiences end.

    Periodic consolidation needs no task boundary, so it serves task-free streams (van de Ven et al. 2022,
    ``--update-every``).

    Args:
        n: wake steps between two nights, at least 1.
        at_end: sleep once more at the very end, so that a night follows the last stretch too.

    Raises:
        ValueError: when ``n`` is below 1.
    """

    @checked
    def __init__(self, n: int, at_end: bool = True):
        if n < 1:
            raise ValueError(f"expected n of at least 1 wake step between nights, got {n}")
        self.n = n
        self.at_end = at_end

    def cut(self, steps: int, completed: int, last: bool) -> list[Stretch]:
        """Cut at the multiples of ``n``; see :meth:`dreamer.schedules.Schedule.cut`."""
        stretches = []
        done = 0
        while done < steps:
            length = min(self.n - (completed + done) % self.n, steps - done)
            done += length
            stretches.append(
                Stretch(length, sleep=(completed + done) % self.n == 0 or (self.at_end and last and done == steps))
            )
        return stretches

"""Common to the data-driven schedules: how often they decide, and how many wake steps lie between their nights."""

from __future__ import annotations

from dreamer.core.hypnogram import Stretch
from dreamer.core.limits import at_least


class Checks:
    """Cuts wake steps into stretches with open nights, and keeps granted nights apart.

    Args:
        check_every: wake steps between two decisions, at least 1.
        least: wake steps between two nights, at least.
        most: wake steps between two nights, at most; None for no limit.
        at_end: the night at the very end of the stream is certain.

    Attributes:
        awake: wake steps since the last night.

    Raises:
        ValueError: when ``check_every`` is below 1, ``least`` is negative, or no decision need lie between ``least``
            and ``most``.
    """

    def __init__(self, check_every: int, least: int, most: int | None, at_end: bool):
        at_least(1, check_every=check_every)
        at_least(0, least=least)
        if most is not None and most < least + check_every:
            raise ValueError(
                f"expected most of at least least + check_every = {least + check_every} wake steps, got {most}"
            )
        self.check_every = check_every
        self.least = least
        self.most = most
        self.at_end = at_end
        self.awake = 0

    def cut(self, steps: int, last: bool) -> list[Stretch]:
        """Stretches of ``check_every`` steps, the last of the experience possibly shorter, each with an open night."""
        whole, rest = divmod(steps, self.check_every)
        stretches = [Stretch(length, sleep=None) for length in [self.check_every] * whole + [rest] * (rest > 0)]
        if last and self.at_end:
            stretches[-1] = stretches[-1]._replace(sleep=True)
        return stretches

    def grant(self, wanted: bool) -> bool:
        """True when a night is allowed and wanted, or would come too late at the next decision."""
        late = self.most is not None and self.awake + self.check_every > self.most
        return self.awake >= self.least and (wanted or late)

    def __str__(self) -> str:
        most = "" if self.most is None else f" and at most {self.most}"
        end = ", and at the very end" if self.at_end else ""
        return f"at least {self.least}{most} wake steps apart{end}"

"""Plateau: sleep when the loss has stopped falling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.hypnogram import Stretch
from dreamer.core.limits import at_least
from dreamer.schedules._checks import Checks
from dreamer.schedules.base import Schedule


class Plateau(Schedule):
    """Sleep when the loss has fallen and then stopped falling: what is new has been learnt, and can be consolidated.

    That a plateau of the online loss behind a peak is the moment to consolidate is the idea of task-free continual
    learning (Aljundi, Kelchtermans and Tuytelaars 2019, arXiv 1812.03596), which compares mean and variance of a window
    of losses with fixed thresholds. Here the loss is smoothed as the mean of ``check_every`` wake steps, and measured
    against the highest such mean of the run, so that nothing depends on its scale. A check at which the smoothed loss
    lies further than ``gain`` from its level makes it the new level: a fall means that something was learnt, a rise
    that something new has come, and both restart the waiting. A slow fall adds up, since the level stays where it was.
    Where nothing was learnt since the last night, no night comes.

    Args:
        patience: checks in a row without a new level before a night is due, at least 1. Default: this project's own.
        gain: change that makes a new level, as a fraction of the highest smoothed loss so far, in (0, 1). Default:
            this project's own; of the loss of an untrained learner of ten classes, ln 10, it is 0.12.
        check_every: wake steps of a check and between two decisions, at least 1.
        least: wake steps between two nights, at least.
        most: wake steps between two nights, at most; None for no limit.
        at_end: the night at the very end of the stream is certain.

    Raises:
        ValueError: when a number is out of its range, or ``most`` is below ``least + check_every``.
    """

    data_driven = True

    @checked
    def __init__(
        self,
        patience: int = 4,
        gain: float = 0.05,
        check_every: int = 25,
        least: int = 100,
        most: int | None = 1000,
        at_end: bool = True,
    ):
        at_least(1, patience=patience)
        if not 0 < gain < 1:
            raise ValueError(f"expected a gain in (0, 1), got {gain}")
        self.checks = Checks(check_every, least, most, at_end)
        self.patience = patience
        self.gain = gain
        self._highest = self._sum = 0.0
        self._level: float | None = None
        self._learnt = False
        self.slept()

    def cut(self, steps: int, completed: int, last: bool) -> list[Stretch]:
        return self.checks.cut(steps, last)

    def rule(self) -> str:
        return (
            f"plateau: sleeps when the mean loss of {self.checks.check_every} wake steps has fallen and then stayed "
            f"within {self.gain:.0%} of its highest value for {self.patience} checks, {self.checks}"
        )

    def observe(self, loss: float, features: Tensor | None) -> None:
        self.checks.awake += 1
        self._sum += loss
        if self.checks.awake % self.checks.check_every == 0:
            self._check(self._sum / self.checks.check_every)
            self._sum = 0.0

    def _check(self, smoothed: float) -> None:
        self._highest = max(self._highest, smoothed)
        if self._level is None:
            self._level = smoothed
        elif abs(smoothed - self._level) > self.gain * self._highest:
            self._learnt = self._learnt or smoothed < self._level
            self._level, self._still = smoothed, 0
        else:
            self._still += 1

    def decide(self) -> bool:
        return self.checks.grant(self._learnt and self._still >= self.patience)

    def slept(self) -> None:
        """Reset the level: a night changes the loss."""
        self.checks.awake = 0
        self._sum = 0.0
        self._level = None
        self._still, self._learnt = 0, False

    def state_dict(self) -> dict[str, Any]:
        return {
            "awake": self.checks.awake,
            "highest": self._highest,
            "sum": self._sum,
            "level": self._level,
            "still": self._still,
            "learnt": self._learnt,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.checks.awake = state["awake"]
        self._highest, self._sum, self._level = state["highest"], state["sum"], state["level"]
        self._still, self._learnt = state["still"], state["learnt"]

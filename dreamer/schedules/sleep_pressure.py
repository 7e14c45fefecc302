"""Sleep pressure: sleep when enough has been learnt awake."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.hypnogram import Stretch
from dreamer.core.limits import above
from dreamer.schedules._checks import Checks
from dreamer.schedules.base import Schedule


class SleepPressure(Schedule):
    """Sleep when a pressure that grows with the loss of wake steps crosses a threshold.

    The homeostatic process S of the two-process model of sleep (Borbély 1982, Human Neurobiology 1; Daan, Beersma and
    Borbély 1984): awake it saturates, ``S = 1 - (1 - S_0) exp(-t / tau)``, asleep it falls exponentially, and sleep
    begins at an upper threshold. Here the clock runs with what there is to learn instead of hours: t is the summed loss
    of the wake steps, so an experience that is hard to predict brings a night soon, and an easy one hardly at all.
    Nights have a fixed length, so each leaves the same fraction of the pressure.

    Args:
        threshold: pressure, in (0, 1), from which a night is due; default: the mean upper threshold 0.67 of Daan et al.
        left: fraction of the pressure that a night leaves, in [0, 1); default: their lower threshold over the upper
            one, 0.17 / 0.67.
        capacity: tau, the summed loss that fills 63 % of what is missing to full pressure, above 0. Default: this
            project's own; a mean loss of 0.5 then brings a night about every 550 wake steps.
        check_every: wake steps between two decisions, at least 1.
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
        threshold: float = 0.67,
        left: float = 0.25,
        capacity: float = 300.0,
        check_every: int = 25,
        least: int = 100,
        most: int | None = 1000,
        at_end: bool = True,
    ):
        if not 0 < threshold < 1:
            raise ValueError(f"expected a threshold in (0, 1), got {threshold}")
        if not 0 <= left < 1:
            raise ValueError(f"expected left in [0, 1), got {left}")
        above(0, capacity=capacity)
        self.checks = Checks(check_every, least, most, at_end)
        self.threshold = threshold
        self.left = left
        self.capacity = capacity
        self.pressure = 0.0

    def cut(self, steps: int, completed: int, last: bool) -> list[Stretch]:
        return self.checks.cut(steps, last)

    def rule(self) -> str:
        return (
            f"sleep_pressure: sleeps after any {self.checks.check_every} wake steps by which the pressure has reached "
            f"{self.threshold:g} (capacity {self.capacity:g}, a night leaves {self.left:.0%}), {self.checks}"
        )

    def observe(self, loss: float, features: Tensor | None) -> None:
        self.checks.awake += 1
        # losses below 0 neither raise nor lower the pressure
        self.pressure = 1 - (1 - self.pressure) * math.exp(-max(loss, 0.0) / self.capacity)

    def decide(self) -> bool:
        return self.checks.grant(self.pressure >= self.threshold)

    def slept(self) -> None:
        """Lower the pressure to what a night leaves."""
        self.checks.awake = 0
        self.pressure *= self.left

    def state_dict(self) -> dict[str, Any]:
        return {"awake": self.checks.awake, "pressure": self.pressure}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.checks.awake = state["awake"]
        self.pressure = state["pressure"]

"""Drift: sleep when the stream has changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.hypnogram import Stretch
from dreamer.core.limits import above, at_least
from dreamer.schedules._checks import Checks
from dreamer.schedules.base import Schedule

_ODD = 3.0
"""Standard deviations that a single step counts at most: one odd batch is no drift."""
_REACH = 10
"""Steps over which the moving average of the features reaches back: it has to follow what learning itself changes."""
_TINY = 1e-12
"""Keeps a division finite where nothing varies."""


class Drift(Schedule):
    """Sleep when the loss, or the distance of the features from their average, has risen for good.

    Serves streams without known boundaries. The test of Page (1954, "Continuous inspection schemes", Biometrika 41) and
    Hinkley (1971, Biometrika 58): with x_t the watched value, ``m_t = sum_{i<=t} (x_i - mean_i - slack)`` is kept since
    the last night, and drift is found when ``m_t - min_i m_i`` exceeds a threshold. Here x_t is measured in standard
    deviations, mean and deviation being those of the steps before t, so that slack and threshold fit losses of any
    scale, and a step counts for three deviations at most. Losses that fall, as in learning, only lower m_t. What was
    found is remembered until a night comes.

    Args:
        watch: ``loss``, the learner's on real batches; ``features``, how far their mean features lie from a moving
            average of these, relative to its length, which needs a network that has features.
        threshold: rise in standard deviations, summed over steps, that is drift, above 0. Default: this project's own;
            a thousand steps of steady normal noise stay below it, a rise by two deviations passes it in about seven.
        slack: standard deviations that are tolerated each step, at least 0; the customary half of the smallest rise
            worth finding, which is one deviation.
        warmup: steps after a night that estimate mean and deviation before the test begins, at least 2. Default as
            ``min_instances`` of river's ``PageHinkley``.
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
        watch: Literal["loss", "features"] = "loss",
        threshold: float = 10.0,
        slack: float = 0.5,
        warmup: int = 30,
        check_every: int = 25,
        least: int = 100,
        most: int | None = 1000,
        at_end: bool = True,
    ):
        above(0, threshold=threshold)
        at_least(0, slack=slack)
        at_least(2, warmup=warmup)
        self.checks = Checks(check_every, least, most, at_end)
        self.watch = watch
        self.wants_features = watch == "features"
        self.threshold = threshold
        self.slack = slack
        self.warmup = warmup
        self._usual: Tensor | None = None
        self._sum, self._found = 0.0, False
        self.slept()

    def cut(self, steps: int, completed: int, last: bool) -> list[Stretch]:
        return self.checks.cut(steps, last)

    def rule(self) -> str:
        watched = "loss" if self.watch == "loss" else "distance of the features"
        return (
            f"drift: sleeps after any {self.checks.check_every} wake steps by which the {watched} has risen for good "
            f"(Page-Hinkley sum above {self.threshold:g} standard deviations), {self.checks}"
        )

    def observe(self, loss: float, features: Tensor | None) -> None:
        self.checks.awake += 1
        if self.watch == "loss":
            self._update(loss)
            return
        if features is None:
            raise ValueError("drift watches features, but got none: the network needs features(x) and classify(h)")
        seen = features.detach().cpu().double()
        if self._usual is None:
            self._usual = seen
            return
        self._update(float(torch.dist(seen, self._usual) / self._usual.norm().clamp_min(_TINY)))
        self._usual = torch.lerp(self._usual, seen, 1 / _REACH)

    def _update(self, value: float) -> None:
        if self._count >= self.warmup:
            deviation = math.sqrt(self._squares / (self._count - 1))
            rise = min((value - self._mean) / max(deviation, _TINY), _ODD)
            # kept at 0 or above, the sum is m_t - min m_i
            self._sum = max(0.0, self._sum + rise - self.slack)
            self._found = self._found or self._sum > self.threshold
        self._count += 1
        off = value - self._mean
        self._mean += off / self._count
        self._squares += off * (value - self._mean)

    def decide(self) -> bool:
        return self.checks.grant(self._found)

    def slept(self) -> None:
        """Reset the test: a night changes losses and features."""
        self.checks.awake = 0
        self._count, self._mean, self._squares, self._sum, self._found = 0, 0.0, 0.0, 0.0, False
        self._usual = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "awake": self.checks.awake,
            "count": self._count,
            "mean": self._mean,
            "squares": self._squares,
            "sum": self._sum,
            "found": self._found,
            "usual": None if self._usual is None else self._usual.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.checks.awake = state["awake"]
        self._count, self._mean, self._squares = state["count"], state["mean"], state["squares"]
        self._sum, self._found = state["sum"], state["found"]
        self._usual = None if state["usual"] is None else torch.tensor(state["usual"], dtype=torch.float64)

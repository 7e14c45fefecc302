"""Schedules decide when the next night comes. One file each: plain ones plan it, data-driven ones watch training."""

from dreamer.schedules.base import Schedule
from dreamer.schedules.boundary import Boundary
from dreamer.schedules.budget import Budget
from dreamer.schedules.drift import Drift
from dreamer.schedules.every_n_steps import EveryNSteps
from dreamer.schedules.plateau import Plateau
from dreamer.schedules.sleep_pressure import SleepPressure

__all__ = ["Boundary", "Budget", "Drift", "EveryNSteps", "Plateau", "Schedule", "SleepPressure"]

"""Schedules: when does the next night come? One file each; a schedule cuts the wake steps of an experience."""

from dreamer.schedules.boundary import Boundary
from dreamer.schedules.every_n_steps import EveryNSteps

__all__ = ["Boundary", "EveryNSteps"]

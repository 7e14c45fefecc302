"""Learning rate schedulers that were told how many steps a training takes."""

from __future__ import annotations

import warnings
from typing import Any


def check_total_steps(trainer: Any, planned: float, certain: bool, nights: str, advice: str) -> None:
    """Compare the steps that schedulers such as ``OneCycleLR`` were made for with those that are planned.

    Args:
        planned: optimiser steps of the whole training, at most.
        certain: whether it takes as many for sure; otherwise it is only warned.
        nights: what the steps include, in words.
        advice: which number to give the scheduler.

    Raises:
        ValueError: when a scheduler would run out of steps.
    """
    for config in trainer.lr_scheduler_configs:
        total = getattr(config.scheduler, "total_steps", None)
        if config.interval != "step" or not isinstance(total, int) or planned / config.frequency <= total:
            continue
        name = type(config.scheduler).__name__
        takes = f"takes {planned:,.0f} steps" if certain else f"can take up to {planned:,.0f} steps"
        message = f"{name} is made for {total:,} steps, but this training {takes}, {nights} included: expected {advice}"
        if certain:
            raise ValueError(message)
        warnings.warn(message, stacklevel=2)

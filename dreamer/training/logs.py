"""What loggers are shown: the losses of a step, and a row of the accuracy matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from dreamer.core.types import Losses, Stage
from dreamer.metrics import AccuracyRow
from dreamer.metrics.record import row_logs, seen_average
from dreamer.problems import Problem
from dreamer.training.monitors import monitored


def named_losses(stage: Stage, losses: Losses) -> dict[str, Any]:
    """The losses of a step as loggers know them, by the kind of the stage."""
    named = {f"{stage.kind}/{name}": value for name, value in losses.parts.items()}
    if losses.total is not None:
        named[f"{stage.kind}/loss"] = losses.total.detach()
    return named


def log_row(
    loggers: Iterable[Any],
    rows: Sequence[AccuracyRow],
    origins: Sequence[int],
    problem: Problem,
    stage: Stage,
    global_step: int,
) -> None:
    """Give loggers, of either of Lightning's import trees, the last row.

    Held-out scores stand at the stage's last step, where Lightning has them at an epoch's end.
    """
    held = seen_average(rows[-1], origins, "validation")
    for logger in loggers:
        logger.log_metrics(row_logs(rows, origins, problem), step=global_step)
        if held is not None:
            named = {monitored(problem): float(torch.tensor(held)), "epoch": stage.index}
            logger.log_metrics(named, step=global_step - 1)

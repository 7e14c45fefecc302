"""Callbacks that average weights beside a run: Lightning's SWA and EMA, and those of somebody's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dreamer.core.hypnogram import Hypnogram

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule

_SWA = "StochasticWeightAveraging"
_EMA = "WeightAveraging"


def weight_sums(network: nn.Module) -> Tensor:
    """(N,) sums of the N tensors of a network: other weights have others."""
    return torch.stack(
        [part.detach().double().sum().cpu() for part in network.state_dict().values()] or [torch.zeros(())]
    )


def check_averaging(callbacks: Sequence[Any], module: WakeSleepModule, plan: Hypnogram) -> None:
    """Raise a ValueError when a callback of Lightning cannot average the weights of a run.

    Args:
        callbacks: of the Trainer, from either of Lightning's import trees.
        module: the run.
        plan: its stages, an epoch each.
    """
    for callback in callbacks:
        kinds = {kind.__name__ for kind in type(callback).__mro__} & {_SWA, _EMA}
        if not kinds:
            continue
        name = type(callback).__name__
        if module.generator is not None:
            raise ValueError(
                f"{name} averages the same weights from the first step to the last, but "
                f"{type(module.generator).__name__} keeps more of them after every experience: expected a run without "
                "a generator, or MovingAverage as a plasticity part, with evaluated='average'"
            )
        if _SWA in kinds and any(stage.tentative for stage in plan):
            raise ValueError(
                f"{name} counts the epochs beforehand, but {type(module.schedule).__name__} decides on the way how "
                "many stages there are: expected WeightAveraging, which counts none"
            )
        if _SWA in kinds and any(isinstance(part, _BatchNorm) for part in module.network.modules()):
            raise ValueError(
                f"{name} trains another epoch for the statistics of batch norm, but the plan has only {len(plan)} "
                "stages, an epoch each: expected WeightAveraging, which averages them too"
            )

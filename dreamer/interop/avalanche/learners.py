"""Learners of Avalanche whose outputs grow, or that have a head for each task.

Avalanche is imported inside functions only: its import takes seconds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.types import Classes, Step
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.loop.sleeper import Sleeper

TASK = "task"
"""The field of a sample that says its task."""


class AdaptedLearner(nn.Module):
    """A learner that Avalanche adapts to each experience, as a network that maps samples to logits.

    Args:
        network: the learner itself.

    Attributes:
        tasks: those of the (B,) samples that it is about to be called with, one (B,) tensor for each call to come; a
            single one counts for all samples.
        outputs: K, of all classes so far; what a smaller learner lacks is ``-inf``.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.tasks: list[Tensor] = []
        self.outputs = 0

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, K) logits, each by the head of its task."""
        if has_heads(self.network):
            fitting = (tasks for tasks in self.tasks if len(tasks) in (1, len(x)))
            output: Tensor = self.network(x, next(fitting).to(x.device).expand(len(x)))
        else:
            output = self.network(x)
        missing = self.outputs - output.shape[1]
        return functional.pad(output, (0, missing), value=-torch.inf) if missing > 0 else output


def has_heads(network: nn.Module) -> bool:
    """Whether a learner has a head for each task, and is called with task labels."""
    with quiet():
        from avalanche.models.utils import is_multi_task_module
    return bool(is_multi_task_module(network))


def learner_of(strategy: Any) -> nn.Module:
    """The strategy's learner as a night calls it; itself where Avalanche does not adapt it."""
    with quiet():
        from avalanche.models import DynamicModule
    changes = any(isinstance(part, DynamicModule) for part in strategy.model.modules())
    return AdaptedLearner(strategy.model) if changes else strategy.model


def show_tasks(sleeper: Sleeper, step: Step, classes: Classes, day: Tensor | None = None) -> None:
    """Tell a learner with heads, and its teachers, the tasks of the samples of a step.

    Args:
        day: (B,) the tasks of its real samples; None asleep.
    """
    learner, block = sleeper.parts.network, step.block
    if not isinstance(learner, AdaptedLearner) or not has_heads(learner.network):
        return
    learner.tasks = [] if day is None else [day]
    dreamt: list[Tensor] = []
    if step.dream is not None and block is not None:
        # teachers see the dreams of several steps at once: dawn those of old classes, dusk the others
        dreams = block.dreams
        tasks = (dreams.fields or {})[TASK]
        learner.tasks += [(step.dream.fields or {})[TASK]]
        old = (classes.old & ~classes.new)[dreams.groups]
        dreamt = [tasks, tasks[old], tasks[~old]]
    for teacher, other in ((sleeper.dawn, 2), (sleeper.dusk, 1)):
        if teacher is not None and isinstance(teacher.network, AdaptedLearner):
            kept = [part for index, part in enumerate(dreamt) if index != other]
            teacher.network.tasks = [*kept, *([] if day is None else [day])]


def is_watched(network: nn.Module) -> bool:
    """Whether somebody sees what goes through a learner: by a hook, or in what a part of it keeps of its last call."""
    return any(part._forward_hooks or part._forward_pre_hooks or _keeps(part) for part in network.modules())


def _keeps(part: nn.Module) -> bool:
    """Whether a module has a tensor that is neither a parameter nor a buffer, as Avalanche's FeatureExtractorModel."""
    return any(isinstance(kept, Tensor) for kept in vars(part).values())

"""What a run needs of Lightning's Trainer, and what it sets there."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import nn

from dreamer.core.hypnogram import Hypnogram
from dreamer.loop.plan import Parts
from dreamer.training.averaging import check_averaging
from dreamer.training.data import StreamDataModule
from dreamer.training.direct import go_directly
from dreamer.training.distributed import allow_idle_parameters
from dreamer.training.monitors import check_monitors

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule


def fit_plan(trainer: pl.Trainer, module: WakeSleepModule) -> Hypnogram:
    """The plan of a run within a Trainer's limits; the Trainer is checked, and gets the number of stages."""
    check_data(trainer)
    module.check_trainer(trainer)
    check_monitors(trainer, module.problem, module.stream)
    plan = limited_plan(trainer, module.plan(module.stream, trainer.world_size))
    check_fraction(trainer, plan)
    check_averaging(trainer.callbacks, module, plan)  # type: ignore[attr-defined]  # a Lightning connector sets it
    allow_stages_without_gradients(trainer, module.parts)
    go_directly(trainer)
    return plan


def check_data(trainer: pl.Trainer) -> None:
    """Raise a ValueError when a Trainer has no stream to read."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, StreamDataModule):
        raise ValueError(
            "a run needs its stream: call trainer.fit(module, datamodule=StreamDataModule(stream)), "
            f"got datamodule={data!r}"
        )


def check_precision(trainer: pl.Trainer, groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise a ValueError when weights would not be float32, or gradients could not be clipped."""
    mixed = trainer.precision.endswith("-mixed")
    if not (trainer.precision == "32-true" or mixed):
        raise ValueError(
            "weights and dreams are kept in float32: expected Trainer(precision=...) of '32-true', "
            f"'bf16-mixed' or '16-mixed', got {trainer.precision!r}"
        )
    if trainer.gradient_clip_val and mixed and any(group.get("fused") for group in groups):
        raise ValueError(
            f"Lightning clips no gradients for a fused optimizer under {trainer.precision!r}: expected "
            f"optimizer.fused=false or no gradient_clip_val, got {trainer.gradient_clip_val}"
        )


def optimizers_in(configured: Any) -> list[torch.optim.Optimizer]:
    """The optimisers in what ``configure_optimizers`` gives, in any of the forms that Lightning takes."""
    if isinstance(configured, torch.optim.Optimizer):
        return [configured]
    if isinstance(configured, Mapping):
        return optimizers_in(configured.get("optimizer"))
    if isinstance(configured, list | tuple):
        return [optimizer for part in configured for optimizer in optimizers_in(part)]
    return []


def parameter_groups(
    network: nn.Module, generator: nn.Module | None, generator_lr: float | None
) -> list[dict[str, Any]]:
    """What the one optimiser trains: the learner, and the generator, with its own learning rate where it has one."""
    groups: list[dict[str, Any]] = [{"params": [p for p in network.parameters() if p.requires_grad]}]
    if generator is not None:
        own = [p for p in generator.parameters() if p.requires_grad]
        groups.append({"params": own} | ({} if generator_lr is None else {"lr": generator_lr}))
    # there may be nothing to optimise (a closed-form learner), but Lightning counts steps by an optimiser
    inert = [{"params": [nn.Parameter(torch.zeros(()))]}]
    return [group for group in groups if group["params"]] or inert


def limited_plan(trainer: pl.Trainer, plan: Hypnogram) -> Hypnogram:
    """The plan that fits within a Trainer's limits on epochs; the Trainer gets the number of its stages."""
    loop = trainer.fit_loop
    dev_steps = int(trainer.fast_dev_run)  # type: ignore[attr-defined]  # a Lightning connector sets it
    if dev_steps:
        plan = plan.sampled(dev_steps)
        # the Trainer expects one epoch; the shortest run that shows every kind of stage has up to three
        loop.max_epochs, loop.epoch_loop.max_steps = len(plan), -1
    elif loop.max_epochs is None or loop.max_epochs < 0 or loop.max_epochs >= len(plan):
        loop.max_epochs = len(plan)
    else:
        warnings.warn(
            f"Trainer(max_epochs={loop.max_epochs}) ends the run early: its plan has {len(plan)} stages "
            "(one epoch is one stage)",
            stacklevel=2,
        )
    return plan


def planned_steps(trainer: pl.Trainer, plan: Hypnogram) -> int:
    """Optimiser steps of a plan within the Trainer's limits; what was accumulated makes a step at each stage's end."""
    limit, each = trainer.limit_train_batches, trainer.accumulate_grad_batches
    total = 0
    for stage in plan[: trainer.max_epochs]:
        batches = min(stage.steps, limit) if isinstance(limit, int) else int(stage.steps * (limit or 1.0))
        total += -(-batches // each)
    return total if trainer.max_steps < 0 else min(total, trainer.max_steps)


def check_fraction(trainer: pl.Trainer, plan: Hypnogram) -> None:
    """Raise a ValueError when ``limit_train_batches``, as a fraction, leaves nothing of a stage."""
    limit = trainer.limit_train_batches
    shortest = min(plan, key=lambda stage: stage.steps)
    if isinstance(limit, float) and 0 < limit * shortest.steps < 1:
        raise ValueError(
            f"limit_train_batches={limit} leaves nothing of the {shortest.steps} steps of stage {shortest.index} "
            f"({shortest.kind}): expected a number of batches, or a fraction of at least {1 / shortest.steps:.3g}"
        )


def change_plan(trainer: pl.Trainer, before: Hypnogram, after: Hypnogram) -> None:
    """Set the plan of a Trainer that follows another one to its end."""
    if trainer.fit_loop.max_epochs == len(before):
        trainer.fit_loop.max_epochs = len(after)


def allow_stages_without_gradients(trainer: pl.Trainer, parts: Parts) -> None:
    """Let DDP and Lightning accept stages in which some parameters, or all, get no gradients."""
    generator = parts.generator
    replayed = [part for part in (parts.memory, generator) if part is not None]
    generator_learns = generator is not None and any(p.requires_grad for p in generator.parameters())
    if generator_learns or not parts.wake.objectives or any(part.is_features for part in replayed):
        allow_idle_parameters(trainer.strategy)
    if not parts.wake.objectives or not all(spec.by_gradient for spec in (parts.wake, *parts.night)):
        # on purpose: such a stage changes weights itself, and a loss of zero would stir the optimiser's momentum
        warnings.filterwarnings("ignore", "`training_step` returned `None`")

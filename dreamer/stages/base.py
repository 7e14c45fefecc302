"""What NREM and REM have in common: a stage that learns from dreams of everything seen so far."""

# without "from __future__ import annotations": the options' types are looked up in classes that inherit them
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from dreamer.core.arguments import checked
from dreamer.core.types import Dream, Losses, SleepContext, Step
from dreamer.networks.base import check_resettable, forward
from dreamer.objectives import HardTargets, Objective, SoftTargets
from dreamer.objectives.base import total_loss
from dreamer.perturbations.base import Perturbation
from dreamer.stages.replay import Replayer, Source, Teacher, wants_features, wants_teacher

DEFAULT_OBJECTIVES: tuple[Objective, ...] = (HardTargets(), SoftTargets())
"""What the learner learns from a dream unless objectives are given."""


@checked
@dataclass(eq=False)
class Sleep:
    """Base of the sleep stages, which differ in what they do to the samples.

    Args:
        steps: optimiser steps of the stage; a list gives those of the nights of each experience, the last for all
            further ones.
        batch_size: dreams per step (per device).
        source: ``memory``, ``generator``, ``both`` (half and half) or ``auto`` (whichever of them the run has).
        perturbations: what changes the samples; latent and noise ones reach the generator's dreams, and features that
            a memory keeps. None mixes latent codes where there are any, and adds noise where there are none.
        strength: factor of the perturbations' amounts; a list gives one for each night, the last for all further ones.
        objectives: what the learner learns from a dream; by default the problem's hard and soft loss
            (cross-entropy and distillation of classes).
        teacher: gives the soft targets: ``dawn``, ``dusk``, ``both`` (dawn for the old classes, dusk for the new ones,
            the surer of a label for classes that came back), or ``average`` (the learner's moving averages).
        teacher_sees_perturbed: show the teacher the perturbed sample too; False shows it the clean one (consistency
            training).
        from_scratch: re-initialise the learner first, so that it learns everything in this stage.
        from_dawn: how far the weights go back to those at dawn before the first step, in [0, 1]: 0 leaves them, 0.5
            begins at the average of dawn and dusk (as Marouf et al. 2024, arXiv 2312.08977, average after each task),
            1 forgets the day. The optimiser forgets its moments. The first experience has no dawn; in further nights of
            an experience the weights stay, and the moments are forgotten.
        anneal: fraction of the learning rate that is left at the stage's end, reached along a cosine; 1 keeps it.
        lr_scale: factor of the optimiser's learning rate in this stage.
        warmup: steps at the stage's start over which the learning rate rises linearly; 0 starts with all of it.
        steps_per_dream: steps whose dreams are made at once.

    Raises:
        ValueError: when a count is not positive, a strength or ``warmup`` is negative, ``lr_scale`` is not above 0,
            ``anneal`` is not in (0, 1] or ``from_dawn`` not in [0, 1], or the stage begins both from scratch and from
            dawn.
    """

    steps: int | Sequence[int] = 200
    batch_size: int = 128
    source: Source = "auto"
    perturbations: Sequence[Perturbation] | None = None
    strength: float | Sequence[float] = 1.0
    objectives: Sequence[Objective] | None = None
    teacher: Teacher = "both"
    teacher_sees_perturbed: bool = False
    from_scratch: bool = False
    from_dawn: float = 0.0
    anneal: float = 1.0
    lr_scale: float = 1.0
    warmup: int = 0
    steps_per_dream: int = 16

    kind: ClassVar[Literal["nrem", "rem"]]
    by_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        wanted: Any = self.steps
        # whole numbers of other libraries are no int, and their arrays no list
        self.steps = tuple(map(int, wanted)) if hasattr(wanted, "__len__") else int(wanted)
        lengths = (self.steps,) if isinstance(self.steps, int) else self.steps
        counts = {"batch_size": self.batch_size, "steps_per_dream": self.steps_per_dream}
        for name, number in [*(("steps", count) for count in lengths or (0,)), *counts.items()]:
            if number < 1:
                raise ValueError(f"{self.kind}: expected {name} of at least 1, got {number}")
        if self.source == "day":
            raise ValueError(f"{self.kind}: source='day' replays the real samples of a wake step; a night has none")
        given = self.strength
        strength = (float(given),) if isinstance(given, int | float) else tuple(map(float, given))
        if not strength or min(strength) < 0:
            raise ValueError(f"{self.kind}: expected a strength of at least 0 for each night, got {given}")
        check_rates(self.anneal, self.warmup, f"{self.kind}: ")
        if not 0 <= self.from_dawn <= 1:
            raise ValueError(f"{self.kind}: expected from_dawn in [0, 1], got {self.from_dawn}")
        if self.from_scratch and self.from_dawn:
            raise ValueError(f"{self.kind}: expected from_scratch or from_dawn, got both")
        if not 0 < self.lr_scale < math.inf:
            raise ValueError(f"{self.kind}: expected lr_scale above 0, got {self.lr_scale}")
        self.objectives = DEFAULT_OBJECTIVES if self.objectives is None else tuple(self.objectives)
        perturbations = None if self.perturbations is None else tuple(self.perturbations)
        self.replayer = Replayer(self.source, perturbations, self.teacher, self.teacher_sees_perturbed, strength)

    @property
    def _chosen(self) -> Sequence[Objective]:
        """The objectives, with the defaults in place of None."""
        assert self.objectives is not None
        return self.objectives

    @property
    def needs_teacher(self) -> bool:
        """True when copies of the learner must be kept at dawn and dusk."""
        return wants_teacher(self._chosen)

    def check(self, network: nn.Module) -> None:
        """Raise a ValueError when a learner cannot be re-initialised but has to be; any learner can sleep."""
        if self.from_scratch:
            check_resettable(network)

    def lr_scale_at(self, experience: int) -> float:
        """The factor of the learning rate, the same after every experience."""
        return self.lr_scale

    def stride(self, context: SleepContext) -> int:
        """Steps whose dreams are made at once: memory and generator rest in sleep, learner and averages do not."""
        moves = self.replayer.follows_learner(context) or (self.needs_teacher and self.replayer.teacher == "average")
        return 1 if moves else self.steps_per_dream

    def dream(self, context: SleepContext, steps: int, rng: torch.Generator) -> Dream:
        """The dreams of the next ``steps`` steps, of all classes seen so far alike; no teacher has seen them yet."""
        return self.replayer(context, context.seen_classes, steps * self.batch_size, rng)

    def teach(self, context: SleepContext, dream: Dream) -> Dream:
        """The dreams with the teachers' outputs."""
        return self.replayer.teach(context, dream, self._chosen)

    def losses(self, context: SleepContext, step: Step, rng: torch.Generator) -> Losses:
        """Compute the loss of the learner's outputs for the dreams of ``step``."""
        assert step.dream is not None
        dream = self.replayer.entering(context, step.dream, rng)
        output = forward(context.network, dream.x, dream.is_features, wants_features(self._chosen))
        active = self.replayer.problem.active(context.active, dream)
        return Losses.of(learner=total_loss(self._chosen, output, dream, active))


def check_rates(anneal: float, warmup: int, where: str = "") -> None:
    """Raise a ValueError unless a learning rate can rise and fall like this in a stage."""
    if not 0 < anneal <= 1:
        raise ValueError(f"{where}expected anneal in (0, 1], got {anneal}")
    if warmup < 0:
        raise ValueError(f"{where}expected warmup of at least 0 steps, got {warmup}")

"""What NREM and REM share: a stage that learns from dreams of everything met so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from dreamer.core.types import Dream, Losses, SleepContext, Step
from dreamer.networks.base import check_resettable, forward
from dreamer.objectives import HardTargets, Objective, SoftTargets
from dreamer.objectives.base import judge
from dreamer.perturbations.base import Perturbation
from dreamer.stages.replay import Replayer, Source, Teacher, wants_features, wants_teacher

USUAL: tuple[Objective, ...] = (HardTargets(), SoftTargets())
"""What the learner learns from a dream where nothing else is asked for."""


class Sleep:
    """Base of the sleep stages; the arguments are described there.

    Raises:
        ValueError: when a count is not positive, a strength is negative, or ``anneal`` is not in (0, 1].
    """

    kind: Literal["nrem", "rem"]
    by_gradient: bool = True

    def __init__(
        self,
        steps: int,
        batch_size: int,
        source: Source,
        perturbations: Sequence[Perturbation] | None,
        strength: float | Sequence[float],
        objectives: Sequence[Objective] | None,
        teacher: Teacher,
        teacher_sees_perturbed: bool,
        from_scratch: bool,
        anneal: float,
        steps_per_dream: int,
    ):
        for name, count in {"steps": steps, "batch_size": batch_size, "steps_per_dream": steps_per_dream}.items():
            if count < 1:
                raise ValueError(f"{self.kind}: expected {name} of at least 1, got {count}")
        if source == "day":
            raise ValueError(f"{self.kind}: source='day' is for wake; asleep there is no day to recall from")
        strengths = (float(strength),) if isinstance(strength, int | float) else tuple(map(float, strength))
        if not strengths or min(strengths) < 0:
            raise ValueError(f"{self.kind}: expected a strength of at least 0 for each night, got {strength}")
        check_anneal(self.kind, anneal)
        self.steps = steps
        self.batch_size = batch_size
        self.objectives = USUAL if objectives is None else tuple(objectives)
        perturbations = None if perturbations is None else tuple(perturbations)
        self.replayer = Replayer(source, perturbations, teacher, teacher_sees_perturbed, strengths)
        self.from_scratch = from_scratch
        self.anneal = anneal
        self.steps_per_dream = steps_per_dream

    @property
    def needs_teacher(self) -> bool:
        """True when copies of the learner must be kept at dawn and dusk."""
        return wants_teacher(self.objectives)

    def check(self, network: nn.Module) -> None:
        """Refuse a learner that cannot sleep like this; any can that can be newborn where it must be."""
        if self.from_scratch:
            check_resettable(network)

    def stride(self, context: SleepContext) -> int:
        """Steps whose dreams are made at once: memory and generator rest in sleep, moving averages do not."""
        return 1 if self.needs_teacher and self.replayer.teacher == "average" else self.steps_per_dream

    def dream(self, context: SleepContext, steps: int, rng: torch.Generator) -> Dream:
        """Dream for the next ``steps`` steps, of all classes met so far alike."""
        met = context.old_classes | context.new_classes
        return self.replayer(context, met, steps * self.batch_size, rng, self.objectives)

    def losses(self, context: SleepContext, step: Step, rng: torch.Generator) -> Losses:
        """Judge the learner's answer to the dreams of ``step``."""
        assert step.dream is not None
        dream = step.dream
        answer = forward(context.network, dream.x, dream.is_features, wants_features(self.objectives))
        return Losses.of(
            learner=judge(self.objectives, answer, dream, self.replayer.problem.active(context.active, dream))
        )


def check_anneal(where: str, anneal: float) -> None:
    """Raise a ValueError unless the share of the learning rate that is left at a stage's end makes sense."""
    if not 0 < anneal <= 1:
        raise ValueError(f"{where}: expected anneal in (0, 1], got {anneal}")

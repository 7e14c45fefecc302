"""NREM: the day and the past are replayed faithfully."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dreamer.objectives import Objective
from dreamer.perturbations.base import Perturbation
from dreamer.stages.base import Sleep
from dreamer.stages.replay import Source, Teacher


class NREM(Sleep):
    """Replay everything met so far, with at most light perturbations, and consolidate.

    After the NREM phase of perturbed and adversarial dreaming (Deperrois et al. 2022), where a network learns to
    recognise its replayed day under occlusion; here the learner itself learns, from labels and from its teachers'
    soft targets.

    Args:
        steps: optimiser steps of the stage.
        batch_size: dreams per step (per device).
        source: ``memory``, ``generator``, ``both`` (half and half) or ``auto`` (whatever the life has).
        perturbations: light ones.
        strength: factor of what the perturbations bend; a list gives one for each night, the last for all further ones.
        objectives: what the learner learns from a dream; by default the problem's hard and soft loss
            (cross-entropy and distillation of classes).
        teacher: who labels softly: ``dawn``, ``dusk``, ``both`` (dawn for the old classes, dusk for the day's own), or
            ``average`` (the learner's moving averages).
        teacher_sees_perturbed: show the teacher the bent sample; False asks for the same answer as to the faithful one.
        from_scratch: begin with a newborn learner, which has this stage alone to learn everything from.
        anneal: share of the learning rate that is left at the stage's end, reached along a cosine; 1 keeps it.
        steps_per_dream: steps whose dreams are made at once.
    """

    kind: Literal["nrem"] = "nrem"

    def __init__(
        self,
        steps: int = 200,
        batch_size: int = 128,
        source: Source = "auto",
        perturbations: Sequence[Perturbation] = (),
        strength: float | Sequence[float] = 1.0,
        objectives: Sequence[Objective] | None = None,
        teacher: Teacher = "both",
        teacher_sees_perturbed: bool = False,
        from_scratch: bool = False,
        anneal: float = 1.0,
        steps_per_dream: int = 16,
    ):
        super().__init__(
            steps,
            batch_size,
            source,
            perturbations,
            strength,
            objectives,
            teacher,
            teacher_sees_perturbed,
            from_scratch,
            anneal,
            steps_per_dream,
        )

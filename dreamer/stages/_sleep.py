"""What NREM and REM share: a stage that learns from dreams of everything met so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from dreamer.objectives import Objective, judge
from dreamer.perturbations.base import Perturbation
from dreamer.stages._recall import Recall, Source, wants_teacher
from dreamer.types import Dream, Losses, Mind, Step


class Sleep:
    """Base of the sleep stages; the arguments are described there.

    Raises:
        ValueError: when a count is not positive.
    """

    kind: Literal["nrem", "rem"]

    def __init__(
        self,
        steps: int,
        batch_size: int,
        source: Source,
        perturbations: Sequence[Perturbation] | None,
        objectives: Sequence[Objective],
        teacher: Literal["dawn", "dusk", "both"],
        label_bent: bool,
        steps_per_dream: int,
    ):
        for name, count in {"steps": steps, "batch_size": batch_size, "steps_per_dream": steps_per_dream}.items():
            if count < 1:
                raise ValueError(f"{self.kind}: expected {name} of at least 1, got {count}")
        self.steps = steps
        self.batch_size = batch_size
        self.objectives = tuple(objectives)
        self.recall = Recall(source, None if perturbations is None else tuple(perturbations), teacher, label_bent)
        self.steps_per_dream = steps_per_dream

    @property
    def needs_teacher(self) -> bool:
        """True when copies of the learner must be kept at dawn and dusk."""
        return wants_teacher(self.objectives)

    def stride(self, mind: Mind) -> int:
        """Steps whose dreams are made at once: memory and generator rest in sleep."""
        return self.steps_per_dream

    def dream(self, mind: Mind, steps: int, rng: torch.Generator) -> Dream:
        """Dream for the next ``steps`` steps, of all classes met so far alike."""
        met = mind.known | mind.today
        return self.recall(mind, met, steps * self.batch_size, rng, teach=self.needs_teacher)

    def losses(self, mind: Mind, step: Step, rng: torch.Generator) -> Losses:
        """Judge the learner's answer to the dreams of ``step``."""
        assert step.dream is not None
        dream = step.dream
        return Losses.of(learner=judge(self.objectives, mind.network(dream.x), dream, mind.competing(dream.y)))

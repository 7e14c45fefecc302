"""Wake: the learner meets the experience; the generator learns it too; the past may be replayed in the same step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from dreamer.objectives import CrossEntropy, Distillation, Objective, judge
from dreamer.perturbations.base import Perturbation
from dreamer.stages._recall import Recall, Source, bend_labelled, wants_teacher
from dreamer.types import Dream, Losses, Mind, Step

Share = Literal["experience", "equal"]


class Wake:
    """Live through an experience.

    With ``replay`` it is experience replay (from a memory; Chaudhry et al. 2019) or deep generative replay (from a
    generator; Shin et al. 2017, arXiv 1705.08690); without, plain fine-tuning.

    Args:
        epochs: passes over the experience's training data; used when ``steps`` is None.
        steps: optimiser steps per experience; the data are passed over as often as that takes.
        batch_size: real samples per step (per device).
        replay: replayed samples per step; 0 for none. The first experience has nothing to replay.
        share: weight of the day's loss against the replay's: ``experience`` gives it one n-th in experience n (van
            de Ven et al. 2020), ``equal`` one half.
        source: where replay comes from (see :class:`dreamer.stages._recall.Recall`).
        objectives: what the learner learns from real samples.
        replay_objectives: what it learns from replayed ones; the teacher is the copy from dawn.
        perturbations: augmentation of the real samples.
        replay_perturbations: bend the replayed samples; the teacher labels them as they were.
        steps_per_dream: steps whose dreams are made at once, from a generator that rests meanwhile.

    Raises:
        ValueError: when a count is not positive (``replay``: not negative).
    """

    kind: Literal["wake"] = "wake"

    def __init__(
        self,
        epochs: int = 1,
        steps: int | None = None,
        batch_size: int = 128,
        replay: int = 0,
        share: Share = "experience",
        source: Source = "auto",
        objectives: Sequence[Objective] = (CrossEntropy(),),
        replay_objectives: Sequence[Objective] = (Distillation(),),
        perturbations: Sequence[Perturbation] = (),
        replay_perturbations: Sequence[Perturbation] = (),
        steps_per_dream: int = 16,
    ):
        counts = {"epochs": epochs, "steps": 1 if steps is None else steps, "batch_size": batch_size}
        for name, count in (counts | {"steps_per_dream": steps_per_dream}).items():
            if count < 1:
                raise ValueError(f"expected {name} of at least 1, got {count}")
        if replay < 0:
            raise ValueError(f"expected replay of at least 0 samples per step, got {replay}")
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.replay = replay
        self.share = share
        self.objectives = tuple(objectives)
        self.replay_objectives = tuple(replay_objectives)
        self.perturbations = tuple(perturbations)
        self.recall = Recall(source, tuple(replay_perturbations), "dawn", label_bent=False)
        self.steps_per_dream = steps_per_dream

    @property
    def needs_teacher(self) -> bool:
        """True when a copy of the learner must be kept at dawn."""
        return self.replay > 0 and wants_teacher(self.replay_objectives)

    def length(self, samples: int) -> int:
        """Steps for an experience of so many training samples (per device)."""
        return self.steps if self.steps is not None else self.epochs * math.ceil(samples / self.batch_size)

    def stride(self, mind: Mind) -> int:
        """Steps whose dreams are made at once: a memory changes with every step, a generator only at dusk."""
        return 1 if self.replay and self.recall.sources(mind)[0] else self.steps_per_dream

    def dream(self, mind: Mind, steps: int, rng: torch.Generator) -> Dream | None:
        """Recall what is replayed in the next ``steps`` steps; None when there is nothing to replay."""
        if not self.replay or not mind.known.any():
            return None
        return self.recall(mind, mind.known, steps * self.replay, rng, teach=wants_teacher(self.replay_objectives))

    def losses(self, mind: Mind, step: Step, rng: torch.Generator) -> Losses:
        """Judge learner and generator.

        Args:
            mind: the life so far.
            step: with a day, and with a dream when there is something to replay.
            rng: generator on the training device.
        """
        assert step.day is not None
        x, y = step.day
        generated = None if mind.generator is None else mind.generator.loss(x, y, rng)
        day = Dream(x, y)
        if self.perturbations:
            x, p = bend_labelled(self.perturbations, day, len(mind.today), rng)
            day = Dream(x, y, p)
        active = mind.competing(y)
        if step.dream is None:
            return Losses.of(learner=judge(self.objectives, mind.network(day.x), day, active), generator=generated)
        past = step.dream
        logits = mind.network(torch.cat([day.x, past.x]))
        weight = 1 / mind.days if self.share == "experience" else 0.5
        return Losses.of(
            learner=weight * judge(self.objectives, logits[: len(y)], day, active),
            replay=(1 - weight) * judge(self.replay_objectives, logits[len(y) :], past, mind.competing(past.y)),
            generator=generated,
        )

"""Wake: the learner meets the experience; the generator learns it too; the past may be replayed in the same step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dreamer.core.types import Dream, Losses, Output, SleepContext, Step
from dreamer.networks.base import forward
from dreamer.objectives import HardTargets, Objective, SoftTargets
from dreamer.objectives.base import judge
from dreamer.perturbations.base import Perturbation, bound
from dreamer.stages.base import check_anneal
from dreamer.stages.replay import Replayer, Source, perturb_labelled, wants_features, wants_teacher

ReplayWeight = Literal["experience", "equal"]
Data = Literal["experience", "cumulative", "joint"]


class Wake:
    """Live through an experience.

    With ``replay`` it is experience replay (from a memory; Chaudhry et al. 2019) or deep generative replay (from a
    generator; Shin et al. 2017, arXiv 1705.08690), with ``source="day"`` learning without forgetting (Li and Hoiem
    2016, arXiv 1606.09282; as replay of the day's own samples in van de Ven et al. 2022); without, plain fine-tuning.

    Args:
        epochs: passes over the experience's training data; used when ``steps`` is None.
        steps: optimiser steps per experience; the data are passed over as often as that takes.
        batch_size: real samples per step (per device).
        data: trained on what: its ``experience``; ``cumulative`` all experiences so far; ``joint`` all of the stream at
            once. The last two keep all data, and their cost grows; they are there to be compared with.
        replay: replayed samples per step; 0 for none. The first experience has nothing to replay.
        replay_weight: weight of the day's loss against the replay's: ``experience`` gives it one n-th in experience n (van
            de Ven et al. 2020), ``equal`` one half; a number weighs the replay with it, and the day with 1.
        source: where replay comes from (see :class:`dreamer.stages.replay.Replayer`); with ``day`` as many samples are
            replayed as the day has, whatever ``replay`` says, and the teacher is asked what it sees in them.
        objectives: what the learner learns from real samples, by default the problem's hard loss (cross-entropy of
            classes); empty where nothing is learnt from them while awake.
        replay_objectives: what it learns from replayed ones, by default the problem's soft loss (distillation).
        teacher: who teaches while replaying: the copy from ``dawn``, or the learner's moving ``average``.
        perturbations: augmentation of the real samples.
        replay_perturbations: bend the replayed samples; the teacher labels them as they were.
        anneal: share of the learning rate that is left at the stage's end, reached along a cosine; 1 keeps it.
        steps_per_dream: steps whose dreams are made at once, from a generator that rests meanwhile.

    Raises:
        ValueError: when a count is not positive (``replay``, a ``replay_weight``: not negative).
    """

    kind: Literal["wake"] = "wake"
    by_gradient: bool = True

    def __init__(
        self,
        epochs: int = 1,
        steps: int | None = None,
        batch_size: int = 128,
        data: Data = "experience",
        replay: int = 0,
        replay_weight: ReplayWeight | float = "experience",
        source: Source = "auto",
        objectives: Sequence[Objective] | None = None,
        replay_objectives: Sequence[Objective] | None = None,
        teacher: Literal["dawn", "average"] = "dawn",
        perturbations: Sequence[Perturbation] = (),
        replay_perturbations: Sequence[Perturbation] = (),
        anneal: float = 1.0,
        steps_per_dream: int = 16,
    ):
        counts = {"epochs": epochs, "steps": 1 if steps is None else steps, "batch_size": batch_size}
        for name, count in (counts | {"steps_per_dream": steps_per_dream}).items():
            if count < 1:
                raise ValueError(f"expected {name} of at least 1, got {count}")
        if replay < 0:
            raise ValueError(f"expected replay of at least 0 samples per step, got {replay}")
        if not isinstance(replay_weight, str) and replay_weight < 0:
            raise ValueError(f"expected a replay_weight of at least 0, got {replay_weight}")
        check_anneal("wake", anneal)
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.data: Data = data
        self.replay = replay
        self.replay_weight = replay_weight
        self.objectives = (HardTargets(),) if objectives is None else tuple(objectives)
        self.replay_objectives = (SoftTargets(),) if replay_objectives is None else tuple(replay_objectives)
        self.perturbations = tuple(perturbations)
        self.replayer = Replayer(source, tuple(replay_perturbations), teacher, teacher_sees_perturbed=False)
        self.from_scratch = False
        self.anneal = anneal
        self.steps_per_dream = steps_per_dream

    @property
    def replays(self) -> bool:
        """True when something is replayed from the second experience on."""
        return self.replay > 0 or self.replayer.source == "day"

    @property
    def needs_teacher(self) -> bool:
        """True when a copy of the learner must be kept at dawn."""
        return self.replays and (self.replayer.source == "day" or wants_teacher(self.replay_objectives))

    def check(self, network: nn.Module) -> None:
        """Refuse a learner that cannot live like this; any can."""
        return None

    def length(self, samples: int) -> int:
        """Steps for an experience of so many training samples (per device)."""
        return self.steps if self.steps is not None else self.epochs * math.ceil(samples / self.batch_size)

    def stride(self, context: SleepContext) -> int:
        """Steps whose dreams are made at once: a memory changes with every step, a generator only at dusk."""
        moves = self.replayer.sources(context)[0] or self.replayer.teacher == "average" if self.replays else False
        return 1 if moves else self.steps_per_dream

    def dream(self, context: SleepContext, steps: int, rng: torch.Generator) -> Dream | None:
        """Replayer what is replayed in the next ``steps`` steps; None when there is nothing to replay."""
        if not self.replay or self.replayer.source == "day" or not context.old_classes.any():
            return None
        return self.replayer(context, context.old_classes, steps * self.replay, rng, self.replay_objectives)

    def losses(self, context: SleepContext, step: Step, rng: torch.Generator) -> Losses:
        """Judge learner and generator.

        Args:
            context: the life so far.
            step: with a day, and with a dream when there is something to replay.
            rng: generator on the training device.
        """
        assert step.day is not None
        generated = (
            None
            if context.generator is None
            else context.generator.loss(step.day.x, step.day.groups, rng, self._rehearsal(context, step.dream))
        )
        problem = self.replayer.problem
        day = Dream(step.day.x, step.day.y, group=step.day.group)
        if self.perturbations:
            x, p = perturb_labelled(
                problem, bound(self.perturbations, context.network), day, len(context.new_classes), rng
            )
            day = day._replace(x=x, p=p)
        past = step.dream
        if self.replayer.source == "day" and context.old_classes.any():
            past = self.replayer.own_day(context, day.x, rng, wants_features(self.replay_objectives))
        if not self.objectives and past is None:
            return Losses.of(generator=generated)
        answer, again = self._ask(context, day, past)
        learner = judge(self.objectives, answer, day, problem.active(context.active, day))
        kept = answer.logits.detach()
        surprise = None if learner is None else learner.detach()
        if past is None or again is None:
            return Losses.of(answer=kept, surprise=surprise, learner=learner, generator=generated)
        replay = judge(self.replay_objectives, again, past, problem.active(context.active, past))
        weight, other = self._weights(context)
        return Losses.of(
            answer=kept,
            surprise=surprise,
            learner=None if learner is None else weight * learner,
            replay=None if replay is None else other * replay,
            generator=generated,
        )

    def _weights(self, context: SleepContext) -> tuple[float, float]:
        if self.replay_weight == "experience":
            return 1 / context.experiences_seen, 1 - 1 / context.experiences_seen
        return (0.5, 0.5) if self.replay_weight == "equal" else (1.0, float(self.replay_weight))

    def _rehearsal(self, context: SleepContext, past: Dream | None) -> Dream | None:
        """What a generator that learns from dreams may learn from: faithful ones, as the step has them anyway."""
        perturbed_on_way = any(part.space != "pixel" for part in self.replayer.perturbations or ())
        if (
            past is None
            or past.is_features != context.generator.is_features
            or perturbed_on_way
            or not self.replayer.sources(context)[1]
        ):
            return None
        return past if past.clean is None else past._replace(x=past.clean, p=None, clean=None)

    def _ask(self, context: SleepContext, day: Dream, past: Dream | None) -> tuple[Output, Output | None]:
        """The learner's answers to day and past, in one pass where both enter it at the same place."""
        if past is None:
            return forward(context.network, day.x, features=wants_features(self.objectives)), None
        features = wants_features((*self.objectives, *self.replay_objectives))
        if past.is_features:
            return forward(context.network, day.x, features=features), forward(context.network, past.x, True, features)
        if past.x is day.x:
            answer = forward(context.network, day.x, features=features)
            return answer, answer
        both = forward(context.network, torch.cat([day.x, past.x]), features=features)
        count = len(day.y)
        return _part(both, slice(None, count)), _part(both, slice(count, None))


def _part(answer: Output, rows: slice) -> Output:
    features: Tensor | None = None if answer.features is None else answer.features[rows]
    return Output(answer.logits[rows], features)

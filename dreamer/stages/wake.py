"""Wake: the learner meets the experience; the generator learns it too; the past may be replayed in the same step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dreamer.networks.base import ask
from dreamer.objectives import CrossEntropy, Distillation, Objective
from dreamer.objectives.base import judge
from dreamer.perturbations.base import Perturbation, faced
from dreamer.stages._recall import Recall, Source, bend_labelled, rivals, wants_features, wants_teacher
from dreamer.stages._sleep import check_anneal
from dreamer.types import Answer, Dream, Losses, Mind, Step

Share = Literal["experience", "equal"]
Lives = Literal["experience", "cumulative", "joint"]


class Wake:
    """Live through an experience.

    With ``replay`` it is experience replay (from a memory; Chaudhry et al. 2019) or deep generative replay (from a
    generator; Shin et al. 2017, arXiv 1705.08690), with ``source="day"`` learning without forgetting (Li and Hoiem
    2016, arXiv 1606.09282; as replay of the day's own samples in van de Ven et al. 2022); without, plain fine-tuning.

    Args:
        epochs: passes over the experience's training data; used when ``steps`` is None.
        steps: optimiser steps per experience; the data are passed over as often as that takes.
        batch_size: real samples per step (per device).
        lives: through what: its ``experience``; ``cumulative`` all experiences so far; ``joint`` all of the stream at
            once. The last two keep all data, and their cost grows; they are there to be compared with.
        replay: replayed samples per step; 0 for none. The first experience has nothing to replay.
        share: weight of the day's loss against the replay's: ``experience`` gives it one n-th in experience n (van
            de Ven et al. 2020), ``equal`` one half; a number weighs the replay with it, and the day with 1.
        source: where replay comes from (see :class:`dreamer.stages._recall.Recall`); with ``day`` as many samples are
            replayed as the day has, whatever ``replay`` says, and the teacher is asked what it sees in them.
        objectives: what the learner learns from real samples, by default cross-entropy; empty where nothing is learnt
            from them while awake.
        replay_objectives: what it learns from replayed ones, by default distillation.
        teacher: who teaches while replaying: the copy from ``dawn``, or the learner's moving ``average``.
        perturbations: augmentation of the real samples.
        replay_perturbations: bend the replayed samples; the teacher labels them as they were.
        anneal: share of the learning rate that is left at the stage's end, reached along a cosine; 1 keeps it.
        steps_per_dream: steps whose dreams are made at once, from a generator that rests meanwhile.

    Raises:
        ValueError: when a count is not positive (``replay``, a ``share``: not negative).
    """

    kind: Literal["wake"] = "wake"
    by_gradient: bool = True

    def __init__(
        self,
        epochs: int = 1,
        steps: int | None = None,
        batch_size: int = 128,
        lives: Lives = "experience",
        replay: int = 0,
        share: Share | float = "experience",
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
        if not isinstance(share, str) and share < 0:
            raise ValueError(f"expected a share of at least 0, got {share}")
        check_anneal("wake", anneal)
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.lives: Lives = lives
        self.replay = replay
        self.share = share
        self.objectives = (CrossEntropy(),) if objectives is None else tuple(objectives)
        self.replay_objectives = (Distillation(),) if replay_objectives is None else tuple(replay_objectives)
        self.perturbations = tuple(perturbations)
        self.recall = Recall(source, tuple(replay_perturbations), teacher, label_bent=False)
        self.fresh = False
        self.anneal = anneal
        self.steps_per_dream = steps_per_dream

    @property
    def replays(self) -> bool:
        """True when something is replayed from the second experience on."""
        return self.replay > 0 or self.recall.source == "day"

    @property
    def needs_teacher(self) -> bool:
        """True when a copy of the learner must be kept at dawn."""
        return self.replays and (self.recall.source == "day" or wants_teacher(self.replay_objectives))

    def check(self, network: nn.Module) -> None:
        """Refuse a learner that cannot live like this; any can."""
        return None

    def length(self, samples: int) -> int:
        """Steps for an experience of so many training samples (per device)."""
        return self.steps if self.steps is not None else self.epochs * math.ceil(samples / self.batch_size)

    def stride(self, mind: Mind) -> int:
        """Steps whose dreams are made at once: a memory changes with every step, a generator only at dusk."""
        moves = self.recall.sources(mind)[0] or self.recall.teacher == "average" if self.replays else False
        return 1 if moves else self.steps_per_dream

    def dream(self, mind: Mind, steps: int, rng: torch.Generator) -> Dream | None:
        """Recall what is replayed in the next ``steps`` steps; None when there is nothing to replay."""
        if not self.replay or self.recall.source == "day" or not mind.known.any():
            return None
        return self.recall(mind, mind.known, steps * self.replay, rng, self.replay_objectives)

    def losses(self, mind: Mind, step: Step, rng: torch.Generator) -> Losses:
        """Judge learner and generator.

        Args:
            mind: the life so far.
            step: with a day, and with a dream when there is something to replay.
            rng: generator on the training device.
        """
        assert step.day is not None
        x, y = step.day
        generated = (
            None if mind.generator is None else mind.generator.loss(x, y, rng, self._rehearsal(mind, step.dream))
        )
        day = Dream(x, y)
        if self.perturbations:
            x, p = bend_labelled(faced(self.perturbations, mind.network), day, len(mind.today), rng)
            day = Dream(x, y, p)
        past = step.dream
        if self.recall.source == "day" and mind.known.any():
            past = self.recall.own_day(mind, day.x, rng, wants_features(self.replay_objectives))
        if not self.objectives and past is None:
            return Losses.of(generator=generated)
        answer, again = self._ask(mind, day, past)
        learner = judge(self.objectives, answer, day, rivals(mind, day))
        kept = answer.logits.detach()
        surprise = None if learner is None else learner.detach()
        if past is None or again is None:
            return Losses.of(answer=kept, surprise=surprise, learner=learner, generator=generated)
        replay = judge(self.replay_objectives, again, past, rivals(mind, past))
        weight, other = self._weights(mind)
        return Losses.of(
            answer=kept,
            surprise=surprise,
            learner=None if learner is None else weight * learner,
            replay=None if replay is None else other * replay,
            generator=generated,
        )

    def _weights(self, mind: Mind) -> tuple[float, float]:
        if self.share == "experience":
            return 1 / mind.days, 1 - 1 / mind.days
        return (0.5, 0.5) if self.share == "equal" else (1.0, float(self.share))

    def _rehearsal(self, mind: Mind, past: Dream | None) -> Dream | None:
        """What a generator that learns from dreams may learn from: faithful ones, as the step has them anyway."""
        bent_on_way = any(part.space != "pixel" for part in self.recall.perturbations or ())
        if past is None or past.hidden != mind.generator.hidden or bent_on_way or not self.recall.sources(mind)[1]:
            return None
        return past if past.faithful is None else past._replace(x=past.faithful, p=None, faithful=None)

    def _ask(self, mind: Mind, day: Dream, past: Dream | None) -> tuple[Answer, Answer | None]:
        """The learner's answers to day and past, in one pass where both enter it at the same place."""
        if past is None:
            return ask(mind.network, day.x, features=wants_features(self.objectives)), None
        features = wants_features((*self.objectives, *self.replay_objectives))
        if past.hidden:
            return ask(mind.network, day.x, features=features), ask(mind.network, past.x, True, features)
        if past.x is day.x:
            answer = ask(mind.network, day.x, features=features)
            return answer, answer
        both = ask(mind.network, torch.cat([day.x, past.x]), features=features)
        count = len(day.y)
        return _part(both, slice(None, count)), _part(both, slice(count, None))


def _part(answer: Answer, rows: slice) -> Answer:
    features: Tensor | None = None if answer.features is None else answer.features[rows]
    return Answer(answer.logits[rows], features)

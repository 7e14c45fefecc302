"""Wake: the learner trains on the experience; so does the generator; the past may be replayed in the same step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.sequences import nth_or_last
from dreamer.core.types import Dream, Losses, Output, SleepContext, Step
from dreamer.networks.base import embeds, forward
from dreamer.objectives import HardTargets, Objective, SoftTargets
from dreamer.objectives.base import total_loss
from dreamer.perturbations.base import Perturbation, bound
from dreamer.stages.base import check_rates
from dreamer.stages.replay import Replayer, Source, embedded, perturb_labelled, wants_features, wants_teacher

ReplayWeight = Literal["experience", "equal"]
Data = Literal["experience", "cumulative", "joint"]


class Wake:
    """Train on an experience.

    With ``replay`` it is experience replay (from a memory; Chaudhry et al. 2019) or deep generative replay (from a
    generator; Shin et al. 2017, arXiv 1705.08690), with ``source="day"`` learning without forgetting (Li and Hoiem
    2016, arXiv 1606.09282; as replay of the current samples in van de Ven et al. 2022); without, plain fine-tuning.

    Args:
        epochs: passes over the experience's training data; used when ``steps`` is None.
        steps: optimiser steps per experience; the data are passed over as often as that takes.
        batch_size: real samples per step (per device).
        data: which data: those of the current ``experience``; ``cumulative``, of all experiences so far; ``joint``, of
            the whole stream. The last two keep all data, and their cost grows; they are there for comparison.
        replay: replayed samples per step; 0 for none. The first experience has nothing to replay.
        replay_weight: weight of the loss on real samples: ``experience`` gives it one n-th in experience n, and replay
            the rest (van de Ven et al. 2020), ``equal`` one half; a number is the weight of replay, beside 1.
        source: where replay comes from (see :class:`dreamer.stages.replay.Replayer`); with ``day`` the real
            samples are replayed, whatever ``replay`` says, with the teacher's outputs for them.
        objectives: what the learner learns from real samples, by default the problem's hard loss (cross-entropy of
            classes); empty where nothing is learnt from them.
        replay_objectives: what it learns from replayed ones, by default the problem's soft loss (distillation).
        teacher: of what is replayed: the copy from ``dawn``, or the learner's moving ``average``.
        perturbations: augmentation of the real samples.
        replay_perturbations: perturb the replayed samples; the teacher sees the clean ones.
        anneal: fraction of the learning rate that is left at the stage's end, reached along a cosine; 1 keeps it.
        lr_scale: factor of the optimiser's learning rate; a list gives one for each experience, the last for all
            further ones.
        warmup: steps at the stage's start over which the learning rate rises linearly; 0 starts with all of it.
        steps_per_dream: steps whose dreams are made at once, from a generator that rests meanwhile.

    Raises:
        ValueError: when a count is not positive (``replay``, a ``replay_weight``, ``warmup``: not negative), or an
            ``lr_scale`` is not above 0.
    """

    kind: Literal["wake"] = "wake"
    by_gradient: bool = True

    @checked
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
        lr_scale: float | Sequence[float] = 1.0,
        warmup: int = 0,
        steps_per_dream: int = 16,
    ):
        at_least(1, epochs=epochs, steps=steps, batch_size=batch_size, steps_per_dream=steps_per_dream)
        at_least(0, replay=replay, replay_weight=None if isinstance(replay_weight, str) else replay_weight)
        check_rates(anneal, warmup)
        scales = (float(lr_scale),) if isinstance(lr_scale, int | float) else tuple(map(float, lr_scale))
        if not scales or not all(0 < scale < math.inf for scale in scales):
            raise ValueError(f"expected an lr_scale above 0 for each experience, got {lr_scale}")
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
        self.from_dawn = 0.0
        self.anneal = anneal
        self.lr_scales = scales
        self.warmup = warmup
        self.steps_per_dream = steps_per_dream

    @property
    def replays(self) -> bool:
        """True when something is replayed from the second experience on."""
        return self.replay > 0 or self.replayer.source == "day"

    @property
    def needs_teacher(self) -> bool:
        """True when a copy of the learner must be kept at dawn."""
        return self.replays and (self.replayer.source == "day" or wants_teacher(self.replay_objectives))

    def lr_scale_at(self, experience: int) -> float:
        """The factor of the learning rate in an experience."""
        return nth_or_last(self.lr_scales, experience)

    def check(self, network: nn.Module) -> None:
        """Raise a ValueError when a learner cannot train like this; any can."""
        return None

    def length(self, samples: int) -> int:
        """Steps for an experience of so many training samples (per device)."""
        return self.steps if self.steps is not None else self.epochs * math.ceil(samples / self.batch_size)

    def stride(self, context: SleepContext) -> int:
        """Steps whose dreams are made at once: a memory changes with every step, a generator only at dusk."""
        replayer = self.replayer
        moves = self.replays and (
            replayer.sources(context)[0] or replayer.teacher == "average" or replayer.follows_learner(context)
        )
        return 1 if moves else self.steps_per_dream

    def dream(self, context: SleepContext, steps: int, rng: torch.Generator) -> Dream | None:
        """What is replayed in the next ``steps`` steps, or None; no teacher has seen it yet."""
        if not self.replay or self.replayer.source == "day" or not context.old_classes.any():
            return None
        return self.replayer(context, context.old_classes, steps * self.replay, rng)

    def teach(self, context: SleepContext, dream: Dream) -> Dream:
        """What is replayed with the teachers' outputs."""
        return self.replayer.teach(context, dream, self.replay_objectives)

    def losses(self, context: SleepContext, step: Step, rng: torch.Generator) -> Losses:
        """Compute the losses of learner and generator."""
        assert step.real is not None
        problem = self.replayer.problem
        generated = self._generator_loss(context, step, rng)
        real = Dream(step.real.x, step.real.y, group=step.real.group)
        augmentation = bound([part for part in self.perturbations if part.space != "embedding"], context.network)
        if augmentation:
            x, p = perturb_labelled(problem, augmentation, real, len(context.new_classes), rng)
            real = real._replace(x=x, p=p)
        past = None if step.dream is None else self.replayer.entering(context, step.dream, rng)
        if self.replayer.source == "day" and context.old_classes.any():
            past = self.replayer.real_samples(context, real.x, rng, wants_features(self.replay_objectives))
        if not self.objectives and past is None:
            return Losses.of(generator=generated)
        entering = embedded(problem, context.network, self.perturbations, real, rng)
        if past is not None and past.x is real.x:
            past = past._replace(x=entering.x)
        real = entering
        output, past_output = self._forward(context, real, past)
        learner = total_loss(self.objectives, output, real, problem.active(context.active, real))
        outputs, real_loss = output.logits.detach(), None if learner is None else learner.detach()
        if past is None or past_output is None:
            return Losses.of(outputs=outputs, real_loss=real_loss, learner=learner, generator=generated)
        replay = total_loss(self.replay_objectives, past_output, past, problem.active(context.active, past))
        weight, other = self._weights(context)
        return Losses.of(
            outputs=outputs,
            real_loss=real_loss,
            learner=None if learner is None else weight * learner,
            replay=None if replay is None else other * replay,
            generator=generated,
        )

    def _generator_loss(self, context: SleepContext, step: Step, rng: torch.Generator) -> Tensor | None:
        real, generator = step.real, context.generator
        if real is None or generator is None:
            return None
        past = self._rehearsal(context, step.dream)
        loss: Tensor | None = generator.loss(real.x, real.groups, rng, past, context.experiences_seen)
        return loss

    def _rehearsal(self, context: SleepContext, past: Dream | None) -> Dream | None:
        """What a generator that learns from dreams may learn from: clean ones, where the step has them anyway."""
        perturbed_codes = any(part.space not in ("pixel", "embedding") for part in self.replayer.perturbations or ())
        if (
            past is None
            or past.is_features != context.generator.is_features
            or perturbed_codes
            or not self.replayer.sources(context)[1]
        ):
            return None
        return past if past.clean is None else past._replace(x=past.clean, p=None, clean=None)

    def _weights(self, context: SleepContext) -> tuple[float, float]:
        if self.replay_weight == "experience":
            return 1 / context.experiences_seen, 1 - 1 / context.experiences_seen
        return (0.5, 0.5) if self.replay_weight == "equal" else (1.0, float(self.replay_weight))

    def _forward(self, context: SleepContext, real: Dream, past: Dream | None) -> tuple[Output, Output | None]:
        """The learner's outputs for real and replayed samples, in one pass where both enter it at the same place."""
        network = context.network
        if past is None:
            return forward(network, real.x, features=wants_features(self.objectives)), None
        features = wants_features((*self.objectives, *self.replay_objectives))
        if past.is_features:
            return forward(network, real.x, features=features), forward(network, past.x, True, features)
        if past.x is real.x:
            output = forward(network, real.x, features=features)
            return output, output
        entering = [real.x, past.x]
        if real.x.is_floating_point() != past.x.is_floating_point():
            entering = [x if x.is_floating_point() else embeds(network).embed(x) for x in entering]
        both = forward(network, torch.cat(entering), features=features)
        count = len(real.y)
        return _rows(both, slice(None, count)), _rows(both, slice(count, None))


def _rows(output: Output, rows: slice) -> Output:
    features: Tensor | None = None if output.features is None else output.features[rows]
    return Output(output.logits[rows], features)

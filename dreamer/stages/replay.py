"""Fetching a batch from memory and generator, bending it, and asking the teachers about it: what all stages share."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from dreamer.core.types import Dream, Output, Perturbations, SleepContext
from dreamer.generators import Generator
from dreamer.networks.base import forward
from dreamer.objectives.base import Objective
from dreamer.perturbations import LatentMixing, Noise, Perturbation, perturb
from dreamer.perturbations.base import bound, scaled
from dreamer.problems import Classification, Problem

Source = Literal["auto", "memory", "generator", "both", "day"]
Teacher = Literal["dawn", "dusk", "both", "average"]
Stage = TypeVar("Stage")


@dataclass(frozen=True)
class Replayer:
    """How a stage recalls.

    Attributes:
        source: ``memory``, ``generator``, ``both`` (half and half), ``auto``: whatever the life has, or ``day``: awake,
            the day's own samples under a teacher's eyes.
        perturbations: latent and noise ones bend the generator's codes on their way (latent ones also what a memory
            keeps of the learner's features), the others the samples; None mixes codes where there are any, and adds
            noise where there are none.
        teacher: who labels softly: ``dawn`` the copy from before the day, ``dusk`` the one from after it, ``both``
            dawn for the classes it met and dusk for the day's own, each among its own classes; ``average`` the moving
            average of the learner that is surest of a sample's label.
        teacher_sees_perturbed: show the teacher the bent sample rather than the clean one.
        strength: how strongly dreams are bent, by night: the n-th night takes the n-th number, or the last.
        problem: what the learner is asked.
    """

    source: Source
    perturbations: tuple[Perturbation, ...] | None
    teacher: Teacher
    teacher_sees_perturbed: bool
    strength: tuple[float, ...] = (1.0,)
    problem: Problem = field(default_factory=Classification)

    def sources(self, context: SleepContext) -> tuple[bool, bool]:
        """Whether memory and generator take part.

        Raises:
            ValueError: when the life lacks what the stage asks for.
        """
        wanted = {
            "auto": (context.memory is not None, context.generator is not None),
            "memory": (True, False),
            "generator": (False, True),
            "both": (True, True),
            "day": (False, False),
        }[self.source]
        for use, part, name in zip(wanted, (context.memory, context.generator), ("memory", "generator"), strict=True):
            if use and part is None:
                raise ValueError(f"the stage recalls from source={self.source!r}, but the life has no {name}")
        if not any(wanted) and self.source != "day":
            raise ValueError("a stage that recalls needs a memory or a generator, but the life has neither")
        return wanted

    def chosen(self, codes: bool) -> tuple[Perturbation, ...]:
        """The perturbations that were named; by default what suits latent codes, or, without any, samples."""
        if self.perturbations is not None:
            return self.perturbations
        return (LatentMixing(),) if codes else (Noise(clip=None),)

    def unlabelled(self, generator: Generator | None) -> bool:
        """True when a teacher must say what the targets of dreams are, because the generator does not know."""
        knows = generator is None or (generator.conditional and self.problem.groups == "class")
        return not knows and self.source not in ("memory", "day")

    def perturbations_at(self, context: SleepContext) -> tuple[Perturbation, ...]:
        """The perturbations that apply in this night, bound to the learner where they look at it."""
        remember, invent = self.sources(context)
        chosen = self.chosen(
            bool((remember and context.memory.is_features) or (invent and "latent" in context.generator.spaces))
        )
        strength = self.strength[min(max(context.night, 0), len(self.strength) - 1)]
        if strength != 1:
            chosen = tuple(scaled(part, strength) for part in chosen)
        return bound(chosen, context.network)

    def __call__(
        self, context: SleepContext, classes: Tensor, count: int, rng: torch.Generator, objectives: Sequence[Objective]
    ) -> Dream:
        """Replayer a batch.

        Args:
            context: the life so far.
            classes: (G,) bool, the groups that a generator may dream of.
            count: B.
            rng: generator on the training device.
            objectives: what will be learnt from it; the teacher adds what they need.
        """
        remember, invent = self.sources(context)
        perturbations = self.perturbations_at(context)
        remembered = count // 2 if remember and invent else count * remember
        parts = []
        if remembered:
            parts.append(self._remember(context, remembered, perturbations, rng))
        if count - remembered:
            parts.append(self._invent(context, classes, count - remembered, perturbations, rng))
        clean = self._join(parts, len(classes))
        pixel = [] if clean.is_features else [part for part in perturbations if part.space == "pixel"]
        dream = clean
        if pixel:
            x, p = perturb_labelled(self.problem, pixel, clean, len(classes), rng)
            dream = clean._replace(x=x, p=p, clean=clean.x)
        if not wants_teacher(objectives):
            return dream
        shown = dream.x if self.teacher_sees_perturbed else clean.x
        taught = self.teach(context, shown, clean, wants_features(objectives))
        return dream._replace(teacher=taught.logits, teacher_features=taught.features)

    def _remember(
        self, context: SleepContext, count: int, perturbations: Sequence[Perturbation], rng: torch.Generator
    ) -> Dream:
        drawn: Dream = context.memory.draw(count, rng)
        latent = [part for part in perturbations if part.space == "latent"]
        if not (drawn.is_features and latent):
            return drawn
        x, p = perturb_labelled(self.problem, latent, drawn, len(context.old_classes), rng)
        return drawn._replace(x=x, p=p)

    def _invent(
        self,
        context: SleepContext,
        classes: Tensor,
        count: int,
        perturbations: Sequence[Perturbation],
        rng: torch.Generator,
    ) -> Dream:
        on_way = {space: [part for part in perturbations if part.space == space] for space in ("noise", "latent")}
        bound = {space: functools.partial(perturb, chosen) if chosen else None for space, chosen in on_way.items()}
        asked = balanced_labels(classes, count, rng)
        dream: Dream = context.generator.dream(asked, rng, Perturbations(**bound))
        return self._named(context, dream, asked) if self.unlabelled(context.generator) else dream

    def own_day(self, context: SleepContext, x: Tensor, rng: torch.Generator, features: bool) -> Dream:
        """The day's own (B, *S) samples as the dawn teacher sees them (learning without forgetting)."""
        asked = balanced_labels(context.old_classes, len(x), rng)
        dream = self._named(context, Dream(x, asked), asked)
        taught = self.teach(context, x, dream, features)
        return dream._replace(teacher=taught.logits, teacher_features=taught.features)

    def _named(self, context: SleepContext, dream: Dream, asked: Tensor) -> Dream:
        """Dreams whose targets nobody knows, with those that the teacher sees in them.

        Where tasks are known, a task is drawn for every dream with ``asked``, and the label is the best of its classes.
        """
        teacher = context.dawn if context.night < 0 else context.dusk
        if teacher is None:
            raise ValueError("unlabelled dreams need a teacher who names them, but there is none yet")
        candidates = context.old_classes if context.night < 0 else context.old_classes | context.new_classes
        of_task = context.active_classes(asked)
        candidates = candidates.expand(len(asked), -1) if of_task is None else candidates & of_task
        y = self.problem.name(forward(teacher, dream.x, dream.is_features).logits.float(), candidates)
        # mixed codes have mixed groups, which are no targets where groups are domains
        return dream._replace(y=y) if self.problem.groups == "class" else dream._replace(y=y, p=None, group=asked)

    def teach(self, context: SleepContext, x: Tensor, samples: Dream, features: bool = False) -> Output:
        """The teachers' outputs for the groups that they have seen, ``-inf`` elsewhere, and their features if asked.

        Args:
            context: the life so far.
            x: (B, *S) samples as they are shown to the teachers, or (B, H) features where ``samples`` are.
            samples: what they are; their groups, or targets, decide which teacher speaks.
            features: give the teachers' features too.

        Raises:
            ValueError: when there is no teacher yet.
        """
        is_features = samples.is_features
        if self.teacher == "average":
            return self._surest(context, x, samples, features)
        dawn = (
            None if context.dawn is None or self.teacher == "dusk" else forward(context.dawn, x, is_features, features)
        )
        dusk = (
            None if context.dusk is None or self.teacher == "dawn" else forward(context.dusk, x, is_features, features)
        )
        own = context.new_classes if dawn is not None else context.old_classes | context.new_classes
        dawn = None if dawn is None else dawn._replace(logits=self.problem.known(dawn.logits, context.old_classes))
        dusk = None if dusk is None else dusk._replace(logits=self.problem.known(dusk.logits, own))
        if dawn is None or dusk is None:
            only = dusk if dawn is None else dawn
            if only is None:
                raise ValueError(f"a stage asks its teacher={self.teacher!r}, but there is none yet")
            return only
        # a class that the day brought back in a new look is the dusk's
        return _choose((context.old_classes & ~context.new_classes)[samples.groups].to(torch.int64), (dusk, dawn))

    def _surest(self, context: SleepContext, x: Tensor, samples: Dream, features: bool) -> Output:
        """The average that agrees best with a sample's target speaks for it (CLS-ER, Arani et al. 2022)."""
        if not context.averages:
            raise ValueError("a stage asks its teacher='average', but the life keeps no moving average of the learner")
        outputs = [forward(average, x, samples.is_features, features) for average in context.averages]
        sure = torch.stack([self.problem.sureness(output.logits, samples.y) for output in outputs])
        seen = context.old_classes | context.new_classes
        known = [output._replace(logits=self.problem.known(output.logits, seen)) for output in outputs]
        return _choose(sure.argmax(dim=0), known)

    def _join(self, parts: Sequence[Dream], groups: int) -> Dream:
        if len(parts) == 1:
            return parts[0]
        mixed = any(part.p is not None for part in parts)
        kept = [part.logits for part in parts if part.logits is not None]
        domains = [part.group for part in parts if part.group is not None]
        return Dream(
            torch.cat([part.x for part in parts]),
            torch.cat([part.y for part in parts]),
            torch.cat([self.problem.soft_targets(part, groups) for part in parts]) if mixed else None,
            logits=torch.cat(kept) if len(kept) == len(parts) else None,
            is_features=parts[0].is_features,
            group=torch.cat(domains) if len(domains) == len(parts) else None,
        )


def for_problem(stage: Stage, problem: Problem) -> Stage:
    """A copy of a stage whose objectives and teachers judge what this problem asks."""
    bound = copy.copy(stage)
    for name in ("objectives", "replay_objectives"):
        if hasattr(bound, name):
            setattr(bound, name, tuple(objective.for_problem(problem) for objective in getattr(bound, name)))
    bound.replayer = replace(bound.replayer, problem=problem)
    return bound


def balanced_labels(classes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """(count,) int64 groups in random order, each of the (G,) bool ``classes`` equally often, give or take one."""
    present = classes.nonzero().flatten()
    shuffled = present[torch.randperm(len(present), generator=rng, device=rng.device)]
    labels = shuffled.repeat(count // len(present) + 1)[:count]
    return labels[torch.randperm(count, generator=rng, device=rng.device)]


def perturb_labelled(
    problem: Problem, perturbations: Sequence[Perturbation], samples: Dream, groups: int, rng: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Perturb (B, *S) samples; their soft targets come back only when something has mixed them."""
    before = problem.soft_targets(samples, groups)
    x, p = perturb(perturbations, samples.x, before, rng)
    # perturbations that leave labels alone hand back the very same tensor
    return x, samples.p if p is before else p


def wants_teacher(objectives: Sequence[Objective]) -> bool:
    """True when an objective needs a teacher's logits."""
    return any(objective.needs_teacher for objective in objectives)


def wants_features(objectives: Sequence[Objective]) -> bool:
    """True when an objective looks at features."""
    return any(objective.needs_features for objective in objectives)


def _choose(index: Tensor, answers: Sequence[Output]) -> Output:
    """For every sample the answer of the (B,) int64 index."""
    row = torch.arange(len(index), device=index.device)
    logits = torch.stack([answer.logits for answer in answers])[index, row]
    features = [answer.features for answer in answers if answer.features is not None]
    return Output(logits, torch.stack(features)[index, row] if features else None)

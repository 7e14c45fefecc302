"""Fetching a batch from memory and generator, bending it, and asking the teachers about it: what all stages share."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.types import Dream, Output, Perturbations, SleepContext
from dreamer.generators import Generator
from dreamer.networks.base import forward
from dreamer.objectives.base import Objective
from dreamer.perturbations import LatentMixing, Noise, Perturbation, perturb
from dreamer.perturbations.base import bound, scaled

Source = Literal["auto", "memory", "generator", "both", "day"]
Teacher = Literal["dawn", "dusk", "both", "average"]


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
    """

    source: Source
    perturbations: tuple[Perturbation, ...] | None
    teacher: Teacher
    teacher_sees_perturbed: bool
    strength: tuple[float, ...] = (1.0,)

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
        default: Perturbation = LatentMixing() if codes else Noise(clip=None)
        return (default,)

    def unlabelled(self, generator: Generator | None) -> bool:
        """True when a teacher must say what the dreams are, because the generator does not know."""
        return generator is not None and not generator.conditional and self.source not in ("memory", "day")

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
            classes: (K,) bool, the classes that a generator may dream of.
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
        clean = _join(parts, len(classes))
        pixel = [] if clean.is_features else [part for part in perturbations if part.space == "pixel"]
        dream = clean
        if pixel:
            x, p = perturb_labelled(pixel, clean, len(classes), rng)
            dream = clean._replace(x=x, p=p, clean=clean.x)
        if not wants_teacher(objectives):
            return dream
        shown = dream.x if self.teacher_sees_perturbed else clean.x
        taught = self.teach(context, shown, clean.y, clean.is_features, wants_features(objectives))
        return dream._replace(teacher=taught.logits, teacher_features=taught.features)

    def _remember(
        self, context: SleepContext, count: int, perturbations: Sequence[Perturbation], rng: torch.Generator
    ) -> Dream:
        drawn: Dream = context.memory.draw(count, rng)
        latent = [part for part in perturbations if part.space == "latent"]
        if not (drawn.is_features and latent):
            return drawn
        x, p = perturb_labelled(latent, drawn, len(context.old_classes), rng)
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
        if context.generator.conditional:
            return dream
        return dream._replace(y=self._name(context, dream, asked))

    def own_day(self, context: SleepContext, x: Tensor, rng: torch.Generator, features: bool) -> Dream:
        """The day's own (B, *S) samples as the dawn teacher sees them (learning without forgetting)."""
        dream = Dream(x, balanced_labels(context.old_classes, len(x), rng))
        dream = dream._replace(y=self._name(context, dream, dream.y))
        taught = self.teach(context, x, dream.y, features=features)
        return dream._replace(teacher=taught.logits, teacher_features=taught.features)

    def _name(self, context: SleepContext, dream: Dream, asked: Tensor) -> Tensor:
        """(B,) labels of dreams that nobody asked for, as the teacher sees them.

        Where tasks are known, a task is drawn for every dream with ``asked``, and the label is the best of its classes.
        """
        teacher = context.dawn if context.night < 0 else context.dusk
        if teacher is None:
            raise ValueError("unlabelled dreams need a teacher who names them, but there is none yet")
        candidates = context.old_classes if context.night < 0 else context.old_classes | context.new_classes
        of_task = context.active_classes(asked)
        candidates = candidates.expand(len(asked), -1) if of_task is None else candidates & of_task
        logits = forward(teacher, dream.x, dream.is_features).logits.float()
        return logits.masked_fill(~candidates, -torch.inf).argmax(dim=1)

    def teach(
        self, context: SleepContext, x: Tensor, y: Tensor, is_features: bool = False, features: bool = False
    ) -> Output:
        """The teachers' logits among the classes that they met, ``-inf`` elsewhere, and their features if asked.

        Args:
            context: the life so far.
            x: (B, *S) samples, or (B, H) features when ``is_features``.
            y: (B,) labels; they decide which teacher speaks.
            is_features: see :class:`dreamer.core.types.Dream`.
            features: give the teachers' features too.

        Raises:
            ValueError: when there is no teacher yet.
        """
        if self.teacher == "average":
            return _surest(context, x, y, is_features, features)
        dawn = (
            None if context.dawn is None or self.teacher == "dusk" else forward(context.dawn, x, is_features, features)
        )
        dusk = (
            None if context.dusk is None or self.teacher == "dawn" else forward(context.dusk, x, is_features, features)
        )
        own = context.new_classes if dawn is not None else context.old_classes | context.new_classes
        dawn = None if dawn is None else dawn._replace(logits=_masked(dawn.logits, context.old_classes))
        dusk = None if dusk is None else dusk._replace(logits=_masked(dusk.logits, own))
        if dawn is None or dusk is None:
            only = dusk if dawn is None else dawn
            if only is None:
                raise ValueError(f"a stage asks its teacher={self.teacher!r}, but there is none yet")
            return only
        # a class that the day brought back in a new look is the dusk's
        return _choose((context.old_classes & ~context.new_classes)[y].to(torch.int64), (dusk, dawn))


def balanced_labels(classes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """(count,) int64 labels in random order, each of the (K,) bool ``classes`` equally often, give or take one."""
    present = classes.nonzero().flatten()
    shuffled = present[torch.randperm(len(present), generator=rng, device=rng.device)]
    labels = shuffled.repeat(count // len(present) + 1)[:count]
    return labels[torch.randperm(count, generator=rng, device=rng.device)]


def perturb_labelled(
    perturbations: Sequence[Perturbation], samples: Dream, num_classes: int, rng: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Perturb (B, *S) samples; their label distributions come back only when something has mixed them."""
    before = _distribution(samples, num_classes)
    x, p = perturb(perturbations, samples.x, before, rng)
    # perturbations that leave labels alone hand back the very same tensor
    return x, samples.p if p is before else p


def active_classes(context: SleepContext, samples: Dream) -> Tensor | None:
    """(B, K) bool, the outputs that compete for (B, *S) samples: those for any class that is in one; None for all."""
    if context.active is None or samples.p is None:
        return context.active_classes(samples.y)
    return (samples.p > 0).to(torch.float32) @ context.active.to(torch.float32) > 0


def wants_teacher(objectives: Sequence[Objective]) -> bool:
    """True when an objective needs a teacher's logits."""
    return any(objective.needs_teacher for objective in objectives)


def wants_features(objectives: Sequence[Objective]) -> bool:
    """True when an objective looks at features."""
    return any(objective.needs_features for objective in objectives)


def _surest(context: SleepContext, x: Tensor, y: Tensor, is_features: bool, features: bool) -> Output:
    """The average that gives a sample's label the largest probability speaks for it (CLS-ER, Arani et al. 2022)."""
    if not context.averages:
        raise ValueError("a stage asks its teacher='average', but the life keeps no moving average of the learner")
    answers = [forward(average, x, is_features, features) for average in context.averages]
    sure = torch.stack([functional.softmax(answer.logits.float(), dim=1).gather(1, y[:, None]) for answer in answers])
    met = context.old_classes | context.new_classes
    return _choose(
        sure.argmax(dim=0).flatten(), [answer._replace(logits=_masked(answer.logits, met)) for answer in answers]
    )


def _choose(index: Tensor, answers: Sequence[Output]) -> Output:
    """For every sample the answer of the (B,) int64 index."""
    row = torch.arange(len(index), device=index.device)
    logits = torch.stack([answer.logits for answer in answers])[index, row]
    features = [answer.features for answer in answers if answer.features is not None]
    return Output(logits, torch.stack(features)[index, row] if features else None)


def _masked(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.float().masked_fill(~classes, -torch.inf)


def _join(parts: Sequence[Dream], num_classes: int) -> Dream:
    if len(parts) == 1:
        return parts[0]
    mixed = any(part.p is not None for part in parts)
    kept = [part.logits for part in parts if part.logits is not None]
    return Dream(
        torch.cat([part.x for part in parts]),
        torch.cat([part.y for part in parts]),
        torch.cat([_distribution(part, num_classes) for part in parts]) if mixed else None,
        logits=torch.cat(kept) if len(kept) == len(parts) else None,
        is_features=parts[0].is_features,
    )


def _distribution(dream: Dream, num_classes: int) -> Tensor:
    return functional.one_hot(dream.y, num_classes).to(torch.float32) if dream.p is None else dream.p

"""Fetching a batch from memory and generator, bending it, and asking the teachers about it: what all stages share."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.generators import Generator
from dreamer.networks.base import ask
from dreamer.objectives.base import Objective
from dreamer.perturbations import LatentMixing, Noise, Perturbation, bend
from dreamer.perturbations.base import faced, scaled
from dreamer.types import Answer, Bends, Dream, Mind

Source = Literal["auto", "memory", "generator", "both", "day"]
Teacher = Literal["dawn", "dusk", "both", "average"]


@dataclass(frozen=True)
class Recall:
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
        label_bent: show the teacher the bent sample rather than the faithful one.
        strength: how strongly dreams are bent, by night: the n-th night takes the n-th number, or the last.
    """

    source: Source
    perturbations: tuple[Perturbation, ...] | None
    teacher: Teacher
    label_bent: bool
    strength: tuple[float, ...] = (1.0,)

    def sources(self, mind: Mind) -> tuple[bool, bool]:
        """Whether memory and generator take part.

        Raises:
            ValueError: when the life lacks what the stage asks for.
        """
        wanted = {
            "auto": (mind.memory is not None, mind.generator is not None),
            "memory": (True, False),
            "generator": (False, True),
            "both": (True, True),
            "day": (False, False),
        }[self.source]
        for use, part, name in zip(wanted, (mind.memory, mind.generator), ("memory", "generator"), strict=True):
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
        """True when a teacher must say what the dreams are, because the generator does not know."""
        return generator is not None and not generator.conditional and self.source not in ("memory", "day")

    def bends(self, mind: Mind) -> tuple[Perturbation, ...]:
        """The perturbations that apply in this night, bound to the learner where they look at it."""
        remember, invent = self.sources(mind)
        chosen = self.chosen(bool((remember and mind.memory.hidden) or (invent and "latent" in mind.generator.spaces)))
        strength = self.strength[min(max(mind.night, 0), len(self.strength) - 1)]
        if strength != 1:
            chosen = tuple(scaled(part, strength) for part in chosen)
        return faced(chosen, mind.network)

    def __call__(
        self, mind: Mind, classes: Tensor, count: int, rng: torch.Generator, objectives: Sequence[Objective]
    ) -> Dream:
        """Recall a batch.

        Args:
            mind: the life so far.
            classes: (K,) bool, the classes that a generator may dream of.
            count: B.
            rng: generator on the training device.
            objectives: what will be learnt from it; the teacher adds what they need.
        """
        remember, invent = self.sources(mind)
        bends = self.bends(mind)
        remembered = count // 2 if remember and invent else count * remember
        parts = []
        if remembered:
            parts.append(self._remember(mind, remembered, bends, rng))
        if count - remembered:
            parts.append(self._invent(mind, classes, count - remembered, bends, rng))
        faithful = _join(parts, len(classes))
        pixel = [] if faithful.hidden else [part for part in bends if part.space == "pixel"]
        dream = faithful
        if pixel:
            x, p = bend_labelled(pixel, faithful, len(classes), rng)
            dream = faithful._replace(x=x, p=p, faithful=faithful.x)
        if not wants_teacher(objectives):
            return dream
        shown = dream.x if self.label_bent else faithful.x
        taught = self.teach(mind, shown, faithful.y, faithful.hidden, wants_features(objectives))
        return dream._replace(teacher=taught.logits, teacher_features=taught.features)

    def _remember(self, mind: Mind, count: int, bends: Sequence[Perturbation], rng: torch.Generator) -> Dream:
        drawn: Dream = mind.memory.draw(count, rng)
        latent = [part for part in bends if part.space == "latent"]
        if not (drawn.hidden and latent):
            return drawn
        x, p = bend_labelled(latent, drawn, len(mind.known), rng)
        return drawn._replace(x=x, p=p)

    def _invent(
        self, mind: Mind, classes: Tensor, count: int, bends: Sequence[Perturbation], rng: torch.Generator
    ) -> Dream:
        on_way = {space: [part for part in bends if part.space == space] for space in ("noise", "latent")}
        bound = {space: functools.partial(bend, chosen) if chosen else None for space, chosen in on_way.items()}
        asked = balanced_labels(classes, count, rng)
        dream: Dream = mind.generator.dream(asked, rng, Bends(**bound))
        if mind.generator.conditional:
            return dream
        return dream._replace(y=self._name(mind, dream, asked))

    def own_day(self, mind: Mind, x: Tensor, rng: torch.Generator, features: bool) -> Dream:
        """The day's own (B, *S) samples as the dawn teacher sees them (learning without forgetting)."""
        dream = Dream(x, balanced_labels(mind.known, len(x), rng))
        dream = dream._replace(y=self._name(mind, dream, dream.y))
        taught = self.teach(mind, x, dream.y, features=features)
        return dream._replace(teacher=taught.logits, teacher_features=taught.features)

    def _name(self, mind: Mind, dream: Dream, asked: Tensor) -> Tensor:
        """(B,) labels of dreams that nobody asked for, as the teacher sees them.

        Where tasks are known, a task is drawn for every dream with ``asked``, and the label is the best of its classes.
        """
        teacher = mind.dawn if mind.night < 0 else mind.dusk
        if teacher is None:
            raise ValueError("unlabelled dreams need a teacher who names them, but there is none yet")
        candidates = mind.known if mind.night < 0 else mind.known | mind.today
        of_task = mind.competing(asked)
        candidates = candidates.expand(len(asked), -1) if of_task is None else candidates & of_task
        logits = ask(teacher, dream.x, dream.hidden).logits.float()
        return logits.masked_fill(~candidates, -torch.inf).argmax(dim=1)

    def teach(self, mind: Mind, x: Tensor, y: Tensor, hidden: bool = False, features: bool = False) -> Answer:
        """The teachers' logits among the classes that they met, ``-inf`` elsewhere, and their features if asked.

        Args:
            mind: the life so far.
            x: (B, *S) samples, or (B, H) features when ``hidden``.
            y: (B,) labels; they decide which teacher speaks.
            hidden: see :class:`dreamer.types.Dream`.
            features: give the teachers' features too.

        Raises:
            ValueError: when there is no teacher yet.
        """
        if self.teacher == "average":
            return _surest(mind, x, y, hidden, features)
        dawn = None if mind.dawn is None or self.teacher == "dusk" else ask(mind.dawn, x, hidden, features)
        dusk = None if mind.dusk is None or self.teacher == "dawn" else ask(mind.dusk, x, hidden, features)
        own = mind.today if dawn is not None else mind.known | mind.today
        dawn = None if dawn is None else dawn._replace(logits=_masked(dawn.logits, mind.known))
        dusk = None if dusk is None else dusk._replace(logits=_masked(dusk.logits, own))
        if dawn is None or dusk is None:
            only = dusk if dawn is None else dawn
            if only is None:
                raise ValueError(f"a stage asks its teacher={self.teacher!r}, but there is none yet")
            return only
        # a class that the day brought back in a new look is the dusk's
        return _choose((mind.known & ~mind.today)[y].to(torch.int64), (dusk, dawn))


def balanced_labels(classes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """(count,) int64 labels in random order, each of the (K,) bool ``classes`` equally often, give or take one."""
    present = classes.nonzero().flatten()
    shuffled = present[torch.randperm(len(present), generator=rng, device=rng.device)]
    labels = shuffled.repeat(count // len(present) + 1)[:count]
    return labels[torch.randperm(count, generator=rng, device=rng.device)]


def bend_labelled(
    perturbations: Sequence[Perturbation], samples: Dream, num_classes: int, rng: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Bend (B, *S) samples; their label distributions come back only when something has mixed them."""
    before = _distribution(samples, num_classes)
    x, p = bend(perturbations, samples.x, before, rng)
    # perturbations that leave labels alone hand back the very same tensor
    return x, samples.p if p is before else p


def rivals(mind: Mind, samples: Dream) -> Tensor | None:
    """(B, K) bool, the outputs that compete for (B, *S) samples: those for any class that is in one; None for all."""
    if mind.active is None or samples.p is None:
        return mind.competing(samples.y)
    return (samples.p > 0).to(torch.float32) @ mind.active.to(torch.float32) > 0


def wants_teacher(objectives: Sequence[Objective]) -> bool:
    """True when an objective needs a teacher's logits."""
    return any(objective.needs_teacher for objective in objectives)


def wants_features(objectives: Sequence[Objective]) -> bool:
    """True when an objective looks at features."""
    return any(objective.needs_features for objective in objectives)


def _surest(mind: Mind, x: Tensor, y: Tensor, hidden: bool, features: bool) -> Answer:
    """The average that gives a sample's label the largest probability speaks for it (CLS-ER, Arani et al. 2022)."""
    if not mind.averages:
        raise ValueError("a stage asks its teacher='average', but the life keeps no moving average of the learner")
    answers = [ask(average, x, hidden, features) for average in mind.averages]
    sure = torch.stack([functional.softmax(answer.logits.float(), dim=1).gather(1, y[:, None]) for answer in answers])
    met = mind.known | mind.today
    return _choose(
        sure.argmax(dim=0).flatten(), [answer._replace(logits=_masked(answer.logits, met)) for answer in answers]
    )


def _choose(index: Tensor, answers: Sequence[Answer]) -> Answer:
    """For every sample the answer of the (B,) int64 index."""
    row = torch.arange(len(index), device=index.device)
    logits = torch.stack([answer.logits for answer in answers])[index, row]
    features = [answer.features for answer in answers if answer.features is not None]
    return Answer(logits, torch.stack(features)[index, row] if features else None)


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
        hidden=parts[0].hidden,
    )


def _distribution(dream: Dream, num_classes: int) -> Tensor:
    return functional.one_hot(dream.y, num_classes).to(torch.float32) if dream.p is None else dream.p

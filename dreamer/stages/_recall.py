"""Fetching a batch from memory and generator, bending it, and asking the teachers about it: what all stages share."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.objectives.base import Objective
from dreamer.perturbations import LatentMixing, Noise, Perturbation, bend
from dreamer.types import Dream, Mind

Source = Literal["auto", "memory", "generator", "both"]


@dataclass(frozen=True)
class Recall:
    """How a stage recalls.

    Attributes:
        source: ``memory``, ``generator``, ``both`` (half and half), or ``auto``: whatever the life has.
        perturbations: latent ones bend the generator's codes, the others the samples; None mixes codes where there are
            any, and adds noise where there are none.
        teacher: who labels softly: ``dawn`` the copy from before the day, ``dusk`` the one from after it, ``both``
            dawn for the classes it met and dusk for the day's own, each among its own classes.
        label_bent: show the teacher the bent sample rather than the faithful one.
    """

    source: Source
    perturbations: tuple[Perturbation, ...] | None
    teacher: Literal["dawn", "dusk", "both"]
    label_bent: bool

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
        }[self.source]
        for use, part, name in zip(wanted, (mind.memory, mind.generator), ("memory", "generator"), strict=True):
            if use and part is None:
                raise ValueError(f"the stage recalls from source={self.source!r}, but the life has no {name}")
        if not any(wanted):
            raise ValueError("a stage that recalls needs a memory or a generator, but the life has neither")
        return wanted

    def bends(self, mind: Mind) -> tuple[Perturbation, ...]:
        """The perturbations that apply."""
        if self.perturbations is not None:
            return self.perturbations
        return (LatentMixing(),) if self.sources(mind)[1] and mind.generator.has_latents else (Noise(clip=None),)

    def __call__(self, mind: Mind, classes: Tensor, count: int, rng: torch.Generator, teach: bool) -> Dream:
        """Recall a batch.

        Args:
            mind: the life so far.
            classes: (K,) bool, the classes that a generator may dream of.
            count: B.
            rng: generator on the training device.
            teach: add the teachers' logits.
        """
        remember, invent = self.sources(mind)
        bends = self.bends(mind)
        remembered = count // 2 if remember and invent else count * remember
        parts = []
        if remembered:
            x, y = mind.memory.draw(remembered, rng)
            parts.append(Dream(x, y))
        if count - remembered:
            y = balanced_labels(classes, count - remembered, rng)
            latent = [bent for bent in bends if bent.space == "latent"]
            parts.append(mind.generator.dream(y, rng, functools.partial(bend, latent) if latent else None))
        faithful = _join(parts, len(classes))
        pixel = [bent for bent in bends if bent.space == "pixel"]
        dream = faithful
        if pixel:
            x, p = bend_labelled(pixel, faithful, len(classes), rng)
            dream = Dream(x, faithful.y, p)
        if not teach:
            return dream
        return dream._replace(teacher=self._teach(mind, dream.x if self.label_bent else faithful.x, faithful.y))

    def _teach(self, mind: Mind, x: Tensor, y: Tensor) -> Tensor:
        dawn = None if mind.dawn is None or self.teacher == "dusk" else _masked(mind.dawn(x), mind.known)
        own = mind.today if dawn is not None else mind.known | mind.today
        dusk = None if mind.dusk is None or self.teacher == "dawn" else _masked(mind.dusk(x), own)
        if dawn is None or dusk is None:
            only = dusk if dawn is None else dawn
            if only is None:
                raise ValueError(f"a stage asks its teacher={self.teacher!r}, but there is none yet")
            return only
        # a class that the day brought back in a new look is the dusk's
        return torch.where((mind.known & ~mind.today)[y][:, None], dawn, dusk)


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


def wants_teacher(objectives: Sequence[Objective]) -> bool:
    """True when an objective needs a teacher's logits."""
    return any(objective.needs_teacher for objective in objectives)


def _masked(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.float().masked_fill(~classes, -torch.inf)


def _join(parts: Sequence[Dream], num_classes: int) -> Dream:
    if len(parts) == 1:
        return parts[0]
    mixed = any(part.p is not None for part in parts)
    return Dream(
        torch.cat([part.x for part in parts]),
        torch.cat([part.y for part in parts]),
        torch.cat([_distribution(part, num_classes) for part in parts]) if mixed else None,
    )


def _distribution(dream: Dream, num_classes: int) -> Tensor:
    return functional.one_hot(dream.y, num_classes).to(torch.float32) if dream.p is None else dream.p

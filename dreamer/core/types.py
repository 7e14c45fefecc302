"""The letters of tensor shapes, and the types that all rooms pass to each other.

Letters used in all shapes of this project:

====  =======================================================================
B     samples in a batch
*S    the shape of one sample, whatever it is: (1, 28, 28), (64,), (16,) ...
K     outputs of the learner for a sample: classes, numbers
G     groups that balance a replay: the K classes, or the stream's domains
D     latent dimensions of a generator
H     features of the learner, the inputs of its last layers
E     experiences of the stream
N     samples of a data set
====  =======================================================================

Pixels, where samples are images, lie in [0, 1]; a network that wants normalised pixels normalises inside.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

Kind = Literal["wake", "nrem", "rem"]
KINDS: tuple[Kind, ...] = ("wake", "nrem", "rem")

Perturb = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""Perturbs (B, ...) samples or codes with their (B, K) label distributions; every perturbation is one."""

UNLABELLED = -1
"""The label of a dream from an unconditional generator: a teacher assigns it."""


class Perturbations(NamedTuple):
    """How a generator's dreams are perturbed before they are decoded.

    Attributes:
        noise: perturbs the standard-normal numbers from which a code or a sample is made; None leaves them.
        latent: perturbs the (B, D) codes; None leaves them.
    """

    noise: Perturb | None = None
    latent: Perturb | None = None


class Batch(NamedTuple):
    """Real samples.

    Attributes:
        x: (B, *S) samples.
        y: their targets: (B,) int64 labels in [0, K), or whatever the problem needs (see ``dreamer.problems``).
        group: (B,) int64, the domains that they are of; None where the labels ``y`` balance a replay.
        fields: what else belongs to a sample, by name, each with B entries; None where nothing does.
    """

    x: Tensor
    y: Tensor
    group: Tensor | None = None
    fields: Mapping[str, Tensor] | None = None

    @property
    def groups(self) -> Tensor:
        """(B,) int64 groups in [0, G) by which a replay is balanced: domains, or classes."""
        return self.y if self.group is None else self.group


class Dream(NamedTuple):
    """A batch made in sleep (or replayed while awake): samples, and labels, hard, soft or both.

    Attributes:
        x: (B, *S) samples; (B, H) features of the learner where ``is_features``.
        y: their targets: (B,) int64 labels in [0, K), the class that was dreamt of, :data:`UNLABELLED` until a teacher
            assigns it; or whatever the problem needs.
        p: (B, K) targets where a perturbation has mixed them: distributions over the classes, or numbers; None: ``y``.
        teacher: (B, K) logits of a teacher, ``-inf`` for classes that it has not seen; None without a teacher.
        teacher_features: (B, H) features of the teacher; None unless an objective needs them.
        logits: (B, K) the learner's own logits from when it first saw the samples; None where they were not kept.
        clean: (B, *S) the samples before they were perturbed; None where ``x`` was not.
        is_features: True when ``x`` are features, which enter the learner's last layers (latent replay).
        group: (B,) int64, the domains that they are of; None where the labels ``y`` balance a replay.
        fields: what else was kept with a sample, by name, each with B entries; None where nothing was.
    """

    x: Tensor
    y: Tensor
    p: Tensor | None = None
    teacher: Tensor | None = None
    teacher_features: Tensor | None = None
    logits: Tensor | None = None
    clean: Tensor | None = None
    is_features: bool = False
    group: Tensor | None = None
    fields: Mapping[str, Tensor] | None = None

    @property
    def groups(self) -> Tensor:
        """(B,) int64 groups in [0, G) by which a replay is balanced: domains, or classes."""
        return self.y if self.group is None else self.group

    def rows(self, rows: slice) -> Dream:
        """Some of the batch."""
        fields = None if self.fields is None else {name: column[rows] for name, column in self.fields.items()}
        cut = Dream._make(part[rows] if isinstance(part, Tensor) else part for part in self)
        return cut._replace(fields=fields)


class Output(NamedTuple):
    """The output of a network for a batch.

    Attributes:
        logits: (B, K).
        features: (B, H) inputs of its last layers; None unless requested.
    """

    logits: Tensor
    features: Tensor | None = None


class DreamBlock:
    """The dreams of several steps, which are made at once.

    The loader draws them. In the first step that learns from them the teachers label all of them together: fewer and
    larger batches for the teachers, and the same numbers wherever a run is resumed.

    Args:
        first: number of the first step.
    """

    def __init__(self, dreams: Dream, first: int, steps: int):
        self.dreams = dreams
        self.first = first
        self.per_step = len(dreams.y) // steps
        self.taught = False

    def teach(self, teach: Callable[[Dream], Dream]) -> None:
        """Let a function add the teachers' outputs to all dreams; once."""
        if not self.taught:
            self.dreams, self.taught = teach(self.dreams), True

    def at(self, step: int) -> Dream:
        """The dreams of a step."""
        start = (step - self.first) * self.per_step
        return self.dreams.rows(slice(start, start + self.per_step))


class Step(NamedTuple):
    """The batch of one training step, as the loader gives it.

    Attributes:
        stage: index of the stage in the hypnogram (the Lightning epoch).
        step: number of the step within the stage, from 0.
        real: the real batch; None in sleep.
        dream: the replayed or generated batch; None in a wake step without replay.
        block: the dreams of this step and of those that were made together with them; None without dreams.
    """

    stage: int
    step: int
    real: Batch | None
    dream: Dream | None
    block: DreamBlock | None = None


class Change(NamedTuple):
    """A change of weights that comes from no gradient.

    Attributes:
        weight: a parameter of the learner.
        delta: what is added to it, of the same shape.
    """

    weight: Tensor
    delta: Tensor


@dataclass(frozen=True)
class Losses:
    """What a stage returns; one caller differentiates :attr:`total` and applies :attr:`changes`.

    Attributes:
        total: scalar, the sum that is differentiated; None where a stage learns without gradients.
        parts: the named summands, detached, for the logs.
        outputs: (B, K) detached outputs for the real batch, for memories that keep them; None in sleep.
        real_loss: detached scalar, the learner's loss on real samples alone, for data-driven schedules; None in sleep.
        changes: changes of weights without gradients.
    """

    total: Tensor | None
    parts: dict[str, Tensor]
    outputs: Tensor | None = None
    real_loss: Tensor | None = None
    changes: tuple[Change, ...] = ()

    @classmethod
    def of(cls, *, outputs: Tensor | None = None, real_loss: Tensor | None = None, **terms: Tensor | None) -> Losses:
        """Sum the given scalar terms; terms that are None are left out, and without any ``total`` is None."""
        present = {name: term for name, term in terms.items() if term is not None}
        total = functools.reduce(operator.add, present.values()) if present else None
        return cls(total, {name: term.detach() for name, term in present.items()}, outputs, real_loss)


@dataclass(frozen=True)
class Stage:
    """A stretch of optimiser steps of one kind: one Lightning epoch.

    Attributes:
        index: position in the hypnogram, from 0.
        kind: ``wake``, ``nrem`` or ``rem``.
        experience: the experience that is learnt (wake) or was learnt last (sleep), from 0.
        steps: batches of the stage, at least 1.
        night: number of the night from 0; -1 when awake.
        cycle: number of the nrem/rem cycle within the night, from 0; 0 when awake.
        index_in_night: position of the stage within the night's list of stages; 0 when awake.
        first_step: wake steps of this experience that lie before this stage (an experience can be cut by nights).
        opens: True when the stage is the first of its experience.
        evaluated: True when the accuracy matrix gets a row after this stage.
        tentative: True for a stage of a night that the schedule may still drop.
    """

    index: int
    kind: Kind
    experience: int
    steps: int
    night: int = -1
    cycle: int = 0
    index_in_night: int = 0
    first_step: int = 0
    opens: bool = False
    evaluated: bool = False
    tentative: bool = False

    @property
    def label(self) -> str:
        """``wake 2`` or ``night 1``: the name of the accuracy row that this stage writes."""
        return f"wake {self.experience}" if self.kind == "wake" else f"night {self.night}"

    def shifted(self, steps: int) -> Stage:
        """The stage with so many more steps of its experience before it."""
        return replace(self, first_step=self.first_step + steps) if steps else self


class Classes(NamedTuple):
    """Which classes, or domains, a stage is about.

    Attributes:
        old: (G,) bool, seen before the current experience.
        new: (G,) bool, of the current experience.
        active: (G, K) bool, row g says which outputs are active for a sample of group g; None when all always are.
    """

    old: Tensor
    new: Tensor
    active: Tensor | None = None


@dataclass(frozen=True)
class SleepContext:
    """What a stage may read, and may not change.

    Attributes:
        network: the learner; maps (B, *S) to (B, K) logits.
        dawn: frozen copy of the learner from before the experience; None without teachers or in the first experience.
        dusk: frozen copy of the learner from after the wake stage; None without teachers or before the first dusk.
        averages: moving averages of the learner (see ``dreamer.plasticity``), the slowest last; empty without any.
        memory: the rehearsal memory, or None (see ``dreamer.memory``).
        generator: what makes dreams, or None (see ``dreamer.generators``).
        old_classes: (G,) bool, classes (or domains) seen before the current experience.
        new_classes: (G,) bool, those of the current experience.
        active: (G, K) bool, row g says which outputs are active for a sample of group g; None when all always are.
        experiences_seen: experiences so far, the current one included.
        night: number of the night from 0; -1 when awake.
    """

    network: nn.Module
    dawn: nn.Module | None
    dusk: nn.Module | None
    averages: tuple[nn.Module, ...]
    memory: Any
    generator: Any
    old_classes: Tensor
    new_classes: Tensor
    active: Tensor | None
    experiences_seen: int
    night: int = -1

    @property
    def seen_classes(self) -> Tensor:
        """(G,) bool, old and new classes."""
        return self.old_classes | self.new_classes

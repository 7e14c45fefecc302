"""Replay, as all stages do it: draw samples from memory and generator, perturb them, and add the teachers' outputs."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from dreamer.core.sequences import nth_or_last
from dreamer.core.tokens import NAMED
from dreamer.core.types import Dream, Output, Perturbations, SleepContext
from dreamer.generators import Generator
from dreamer.generators.base import Teachers
from dreamer.networks.base import Frozen, embeds, forward
from dreamer.objectives.base import Objective
from dreamer.perturbations import LatentMixing, Noise, Perturbation, perturb
from dreamer.perturbations.base import bound, scaled
from dreamer.problems import Classification, Problem

Source = Literal["auto", "memory", "generator", "both", "day"]
Teacher = Literal["dawn", "dusk", "both", "average"]
Stage = TypeVar("Stage", bound="Replaying")


@dataclass(frozen=True)
class Replayer:
    """How a stage replays.

    It works in two halves: calling it draws and perturbs samples, :meth:`teach` adds the teachers' outputs. The
    first half is the data loader's, the second belongs to the training step.

    Attributes:
        source: ``memory``, ``generator``, ``both`` (half and half), ``auto`` (whichever of them the run has), or
            ``day``: in wake, the real samples of the step, with a teacher's outputs for them.
        perturbations: latent and noise ones perturb the generator's codes before they are decoded (latent ones also
            features of the learner that a memory keeps), the others the samples; None mixes codes where there are any,
            and adds noise where there are none.
        teacher: ``dawn`` is the copy from before the experience, ``dusk`` the one from after it, ``both`` takes dawn
            for the old classes and dusk for the new ones, each among its own classes, and for a class that came back,
            as all do in domain-incremental streams, the one that is surer of the sample's label; ``average`` is the
            moving average of the learner that agrees best with it.
        strength: factor of the perturbations' amounts: the n-th number for the n-th night, the last for all further
            ones.
    """

    source: Source
    perturbations: tuple[Perturbation, ...] | None
    teacher: Teacher
    teacher_sees_perturbed: bool
    strength: tuple[float, ...] = (1.0,)
    problem: Problem = field(default_factory=Classification)

    # ---------------------------------------------------------------- what is replayed

    def __call__(self, context: SleepContext, classes: Tensor, count: int, rng: torch.Generator) -> Dream:
        """Draw samples and perturb them.

        Args:
            classes: (G,) bool, the classes, or domains, that a generator may dream of.
            count: B.
        """
        use_memory, use_generator = self.sources(context)
        perturbations = self.perturbations_at(context)
        from_memory = count // 2 if use_memory and use_generator else count * use_memory
        parts = []
        if from_memory:
            parts.append(self._remembered(context, from_memory, perturbations, rng))
        if count - from_memory:
            parts.append(self._generated(context, classes, count - from_memory, perturbations, rng))
        clean = self._join(parts, len(classes))
        clean = self._rewritten(context, clean, [part for part in perturbations if part.space == "token"], rng)
        pixel = [] if clean.is_features else [part for part in perturbations if part.space == "pixel"]
        if not pixel:
            return clean
        x, p = perturb_labelled(self.problem, pixel, clean, len(classes), rng)
        return clean._replace(x=x, p=p, clean=clean.x)

    def _rewritten(
        self, context: SleepContext, dream: Dream, perturbations: Sequence[Perturbation], rng: torch.Generator
    ) -> Dream:
        """Texts that were perturbed among those of one teacher, who writes in them, and says what comes next."""
        by_teacher = [(teacher, rows) for teacher, rows, _ in self._taught(context, dream)]
        for part in perturbations:
            x, y = dream.x.clone(), dream.y.clone()
            for who, rows in by_teacher or [(context.network, slice(None))]:
                writer = bound([part], who.network if isinstance(who, Frozen) else who)
                x[rows], y[rows] = perturb(writer, dream.x[rows], dream.y[rows], rng)
            if part.rewrites:  # type: ignore[attr-defined]
                dream = dream._replace(x=x, y=y, teacher=None, clean=None, fields=None)
            else:
                dream = dream._replace(x=x, y=y, clean=dream.x if dream.clean is None else dream.clean)
        return dream

    def sources(self, context: SleepContext) -> tuple[bool, bool]:
        """Whether memory and generator take part; a ``ValueError`` when the run has no such part."""
        wanted = {
            "auto": (context.memory is not None, context.generator is not None),
            "memory": (True, False),
            "generator": (False, True),
            "both": (True, True),
            "day": (False, False),
        }[self.source]
        for use, part, name in zip(wanted, (context.memory, context.generator), ("memory", "generator"), strict=True):
            if use and part is None:
                raise ValueError(f"the stage replays from source={self.source!r}, but there is no {name}")
        if not any(wanted) and self.source != "day":
            raise ValueError("a stage that replays needs a memory or a generator, but there is neither")
        return wanted

    def chosen(self, codes: bool) -> tuple[Perturbation, ...]:
        """The configured perturbations; by default what suits latent codes, or, where there are none, samples."""
        if self.perturbations is not None:
            return self.perturbations
        default: Perturbation = LatentMixing() if codes else Noise(clip=None)
        return (default,)

    def unlabelled(self, generator: Generator | None) -> bool:
        """True when a teacher must name the targets of dreams, because the generator does not know them."""
        if generator is None or self.source in ("memory", "day"):
            return False
        return not (generator.own_targets or (generator.conditional and self.problem.groups == "class"))

    def written(self, generator: Generator | None) -> bool:
        """True when what is replayed is made by copies of the learner."""
        return generator is not None and generator.by_teachers and self.source not in ("memory", "day")

    def follows_learner(self, context: SleepContext) -> bool:
        """True when what is replayed depends on the learner of the step, and so is drawn for that step alone."""
        # texts are rewritten by copies of the learner where there are any
        by_learner = self.teacher == "average" or self._copies(context) == (None, None)
        return any(
            hasattr(part, "bind_model") and (part.space != "token" or by_learner) for part in self.perturbations or ()
        )

    def _copies(self, context: SleepContext) -> tuple[torch.nn.Module | None, torch.nn.Module | None]:
        """Dawn and dusk, as far as they teach in this stage and are there."""
        dawn = None if self.teacher == "dusk" else context.dawn
        return dawn, None if self.teacher == "dawn" else context.dusk

    def perturbations_at(self, context: SleepContext) -> tuple[Perturbation, ...]:
        """The perturbations that apply in this night, bound to the learner where they need its outputs."""
        use_memory, use_generator = self.sources(context)
        chosen = self.chosen(
            bool(
                (use_memory and context.memory.is_features) or (use_generator and "latent" in context.generator.spaces)
            )
        )
        strength = nth_or_last(self.strength, context.night)
        if strength != 1:
            chosen = tuple(scaled(part, strength) for part in chosen)
        return bound(chosen, context.network)

    def _remembered(
        self, context: SleepContext, count: int, perturbations: Sequence[Perturbation], rng: torch.Generator
    ) -> Dream:
        drawn: Dream = context.memory.draw(count, rng)
        latent = [part for part in perturbations if part.space == "latent"]
        if not (drawn.is_features and latent):
            return drawn
        x, p = perturb_labelled(self.problem, latent, drawn, len(context.old_classes), rng)
        return drawn._replace(x=x, p=p)

    def _generated(
        self,
        context: SleepContext,
        classes: Tensor,
        count: int,
        perturbations: Sequence[Perturbation],
        rng: torch.Generator,
    ) -> Dream:
        by_space = {space: [part for part in perturbations if part.space == space] for space in ("noise", "latent")}
        applied = {space: functools.partial(perturb, parts) if parts else None for space, parts in by_space.items()}
        labels = balanced_labels(classes, count, rng)
        dream: Dream = self._generator(context).dream(labels, rng, Perturbations(**applied))
        return self._named(context, dream, labels) if self.unlabelled(context.generator) else dream

    def _generator(self, context: SleepContext) -> Generator:
        """The generator, with those who make its dreams where copies of the learner do."""
        generator: Generator = context.generator
        if not generator.by_teachers:
            return generator
        dawn, dusk = self._copies(context)
        if dawn is None and dusk is None:
            raise ValueError("copies of the learner write what is replayed, but there is none yet")
        return generator.written_by(Teachers(dawn, dusk, context.old_classes & ~context.new_classes))

    def _named(self, context: SleepContext, dream: Dream, drawn: Tensor) -> Dream:
        """Dreams whose targets nobody knows, with those that a teacher gives them; perturbations need them.

        At night dawn names what is old and dusk what is new, as far as the generator tells them apart: unless the day
        replayed, dusk takes what is old for something new. Where tasks are given, ``drawn`` gives the task of each
        dream, and the label is the best of its classes.
        """
        names, sure = [], []
        for teacher, groups in self._namers(context):
            candidates = groups.expand(len(drawn), -1)
            if context.active is not None:
                candidates = candidates & context.active[drawn]
            logits = forward(teacher, dream.x, dream.is_features).logits.float()
            names.append(self.problem.name(logits, candidates))
            sure.append(self.problem.sureness(logits, names[-1]))
        y = names[0]
        if len(names) == 2:
            # in regression both are equally sure of what they say, and dusk speaks
            by_dusk = _by_dusk(context, drawn, *sure)
            y = torch.where(by_dusk.view(-1, *[1] * (y.ndim - 1)), names[1], y)
        # mixed codes have mixed groups, which are no targets where groups are domains
        return dream._replace(y=y) if self.problem.groups == "class" else dream._replace(y=y, p=None, group=drawn)

    def _namers(self, context: SleepContext) -> list[tuple[torch.nn.Module, Tensor]]:
        """Who names dreams that bear no labels: one copy of the learner, or dawn and dusk, with the groups of each."""
        awake, dawn, dusk = context.night < 0, context.dawn, context.dusk
        generator: Generator | None = context.generator
        if not awake and dawn is not None and dusk is not None and generator is not None and generator.tells_apart:
            return [(dawn, context.old_classes), (dusk, context.new_classes)]
        alone = dawn if awake else dusk
        if alone is None:
            raise ValueError("unlabelled dreams need a teacher that names them, but there is none yet")
        return [(alone, context.old_classes if awake else context.seen_classes)]

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

    def entering(self, context: SleepContext, dream: Dream, rng: torch.Generator) -> Dream:
        """The dream as it enters the learner: with perturbed embeddings in place of tokens, where parts act on these.

        They belong to the learner of the step, so that gradients reach them and a resumed stage has the same.
        """
        parts = [part for part in self.perturbations or () if part.space == "embedding"]
        strength = nth_or_last(self.strength, context.night)
        chosen = parts if strength == 1 else [scaled(part, strength) for part in parts]
        return embedded(self.problem, context.network, chosen, dream, rng)

    # ---------------------------------------------------------------- the teachers' outputs

    def teach(self, context: SleepContext, dream: Dream, objectives: Sequence[Objective]) -> Dream:
        """The dream with the teachers' outputs, as far as its objectives need them."""
        if not wants_teacher(objectives) or self._knows_its_teacher(dream):
            return dream
        shown = dream.x if self.teacher_sees_perturbed or dream.clean is None else dream.clean
        taught = self.soft_targets(context, shown, dream, wants_features(objectives))
        # the tokens that the writer named are not those of another teacher, who speaks of all
        fields = {name: values for name, values in (dream.fields or {}).items() if name != NAMED} or None
        return dream._replace(teacher=taught.logits, teacher_features=taught.features, fields=fields)

    def _knows_its_teacher(self, dream: Dream) -> bool:
        """Whether whoever made the dream is its teacher, and has given its outputs for what a teacher is shown."""
        perturbed = self.teacher_sees_perturbed and dream.clean is not None
        return dream.teacher is not None and self.teacher != "average" and not perturbed

    def real_samples(self, context: SleepContext, x: Tensor, rng: torch.Generator, features: bool) -> Dream:
        """The real (B, *S) samples with the dawn teacher's outputs (learning without forgetting)."""
        drawn = balanced_labels(context.old_classes, len(x), rng)
        dream = self._named(context, Dream(x, drawn), drawn)
        taught = self.soft_targets(context, x, dream, features)
        return dream._replace(teacher=taught.logits, teacher_features=taught.features)

    def soft_targets(self, context: SleepContext, x: Tensor, samples: Dream, features: bool = False) -> Output:
        """The teachers' outputs for the classes that they have seen, ``-inf`` elsewhere, and their features if needed.

        Args:
            x: (B, *S) samples as they are shown to the teachers, or (B, H) features where ``samples`` are.
            samples: what they are; their groups, or targets, decide which teacher counts.

        Raises:
            ValueError: when there is no teacher yet.
        """
        if self.teacher == "average":
            return self._best_average(context, x, samples, features)
        taught = self._taught(context, samples)
        if not taught:
            raise ValueError(f"a stage has teacher={self.teacher!r}, but there is none yet")
        if self.teacher == "both" and context.dawn is not None and context.dusk is not None:
            back = (context.old_classes & context.new_classes)[samples.groups]
            if back.any() and self.problem.groups == "class":
                return self._surer(context, (context.dawn, context.dusk), x, samples, features)
        outputs = [self._output(teacher, x[rows], samples, features, seen) for teacher, rows, seen in taught]
        return outputs[0] if len(outputs) == 1 else _in_order([rows for _, rows, _ in taught], outputs)

    def _taught(self, context: SleepContext, samples: Dream) -> list[tuple[torch.nn.Module, Any, Tensor]]:
        """The copies of the learner, each with the rows of the samples that it teaches and the groups it has seen."""
        dawn, dusk = self._copies(context)
        if self.teacher == "average" or (dawn is None and dusk is None):
            return []
        if dusk is None or dawn is None:
            seen = context.old_classes if dusk is None else context.seen_classes
            alone = dawn if dusk is None else dusk
            assert alone is not None
            return [(alone, slice(None), seen)]
        old = (context.old_classes & ~context.new_classes)[samples.groups]
        parts = ((dawn, old, context.old_classes), (dusk, ~old, context.new_classes))
        # not every network takes an empty batch
        return [(teacher, rows.nonzero().flatten(), seen) for teacher, rows, seen in parts if rows.any()]

    def _surer(
        self,
        context: SleepContext,
        teachers: tuple[torch.nn.Module, torch.nn.Module],
        x: Tensor,
        samples: Dream,
        features: bool,
    ) -> Output:
        """The outputs of dawn or dusk; for a class that came back, of the one that is surer of a sample's label."""
        outputs = [forward(teacher, x, samples.is_features, features) for teacher in teachers]
        dawn, dusk = (self.problem.sureness(output.logits, samples.y) for output in outputs)
        by_dusk = _by_dusk(context, samples.groups, dawn, dusk)
        seen = (context.old_classes, context.new_classes)
        restricted = [
            output._replace(logits=self.problem.restrict(output.logits, own))
            for output, own in zip(outputs, seen, strict=True)
        ]
        return _choose(by_dusk.long(), restricted)

    def _best_average(self, context: SleepContext, x: Tensor, samples: Dream, features: bool) -> Output:
        """For each sample the moving average that agrees best with its target (CLS-ER, Arani et al. 2022)."""
        if not context.averages:
            raise ValueError("a stage has teacher='average', but no plasticity part keeps one")
        outputs = [forward(average, x, samples.is_features, features) for average in context.averages]
        agreement = torch.stack([self.problem.sureness(output.logits, samples.y) for output in outputs])
        seen = context.seen_classes
        restricted = [output._replace(logits=self.problem.restrict(output.logits, seen)) for output in outputs]
        return _choose(agreement.argmax(dim=0), restricted)

    def _output(self, teacher: torch.nn.Module, x: Tensor, samples: Dream, features: bool, seen: Tensor) -> Output:
        output = forward(teacher, x, samples.is_features, features)
        return output._replace(logits=self.problem.restrict(output.logits, seen))


class Replaying(Protocol):
    """A stage, as far as it replays."""

    replayer: Replayer


def for_problem(stage: Stage, problem: Problem) -> Stage:
    """A copy of a stage whose objectives and teachers are for this problem."""
    fitted: Any = copy.copy(stage)
    for name in ("objectives", "replay_objectives"):
        if hasattr(fitted, name):
            setattr(fitted, name, tuple(objective.for_problem(problem) for objective in getattr(fitted, name)))
    fitted.replayer = replace(fitted.replayer, problem=problem)
    return fitted


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


def embedded(
    problem: Problem,
    network: torch.nn.Module,
    perturbations: Iterable[Perturbation],
    samples: Dream,
    rng: torch.Generator,
) -> Dream:
    """Texts with their perturbed (B, T, D) embeddings in place of tokens; as they are where no part acts on these.

    Args:
        network: the learner, whose embeddings they are.
        perturbations: those of the space ``embedding`` act, the others do not.
    """
    parts = [part for part in perturbations if part.space == "embedding"]
    if not parts:
        return samples
    own = torch.eye(len(samples.y), device=samples.y.device)
    x, weights = perturb(parts, embeds(network).embed(samples.x), own, rng)
    entering = samples._replace(x=x)
    return entering if weights is own or torch.equal(weights, own) else problem.mixed(entering, weights)


def wants_teacher(objectives: Sequence[Objective]) -> bool:
    """True when an objective needs a teacher's logits."""
    return any(objective.needs_teacher for objective in objectives)


def wants_features(objectives: Sequence[Objective]) -> bool:
    """True when an objective needs features."""
    return any(objective.needs_features for objective in objectives)


def _in_order(rows: Sequence[Tensor], outputs: Sequence[Output]) -> Output:
    """The outputs for disjoint (N,) int64 rows of a batch, joined in the order of the batch."""
    order = torch.cat(list(rows)).argsort()
    features = [output.features for output in outputs if output.features is not None]
    logits = torch.cat([output.logits for output in outputs])[order]
    return Output(logits, torch.cat(features)[order] if features else None)


def _by_dusk(context: SleepContext, groups: Tensor, dawn: Tensor, dusk: Tensor) -> Tensor:
    """(B,) bool, of which samples dusk speaks and not dawn: of new groups, and where it is surer of one that came back.

    Dusk may have forgotten how such a group was before, and dawn has not seen how it is now.

    Args:
        groups: (B,) int64.
        dawn: (B,) how sure dawn is of a sample; ``dusk`` likewise.
    """
    back = (context.old_classes & context.new_classes)[groups]
    return torch.where(back, dusk >= dawn, ~context.old_classes[groups])


def _choose(index: Tensor, outputs: Sequence[Output]) -> Output:
    """For every sample the output of the (B,) int64 index."""
    row = torch.arange(len(index), device=index.device)
    logits = torch.stack([output.logits for output in outputs])[index, row]
    features = [output.features for output in outputs if output.features is not None]
    return Output(logits, torch.stack(features)[index, row] if features else None)

"""The snake: generation after generation of a generator that eats the dreams of its predecessor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.config.binding import ComponentSpec, check
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch, Perturb, Perturbations
from dreamer.generators.base import Generator
from dreamer.perturbations.base import Perturbation, perturb
from dreamer.streams import registry as streams
from dreamer.studies.experiments.base import CellResult, Experiment
from dreamer.studies.experiments.gallery import write_gallery
from dreamer.studies.experiments.judge import MEASURES, DreamJudge
from dreamer.studies.experiments.real_data import Examine, real_data, tensors
from dreamer.studies.experiments.training import born, train_classifier, train_generator

Food = Literal["replace", "accumulate"]
_GIVEN = ("sample_shape", "num_classes")
_JUDGE, _TEACHER, _FRESH = 1_000_001, 1_000_002, 1_000_003
"""Which newborn; generations have smaller numbers."""


class Snake(Experiment):
    """The first generation learns n real samples; every other one is born anew and learns what its predecessor dreamt.

    The loops are those of Alemohammad et al. (2023, "Self-consuming generative models go MAD", arXiv 2307.01850) and
    Gerstgrasser et al. (2024, arXiv 2404.01413). What is measured are the dreams of each generation, before they are
    bent. The judge, in whose features they are measured, knows all real training data and has the same weights in every
    cell; the teacher knows the n real samples of the first generation; neither sees the data on which is examined.

    Args:
        stream: where real data come from: ``name`` of a stream, and its options; taken as one experience.
        generator: ``name`` and options; one that can be asked for a class.
        network: of judge, teacher and fresh classifiers: ``name`` and options; one with features.
        generations: how many, the first included.
        samples: n, drawn by the seed from the training data; None takes all of them.
        training_data: ``replace``: the last dreams; ``accumulate``: n real samples and all dreams so far.
        real: the share of real samples in training_data that replaces, in [0, 1].
        memory: that share comes from so many real samples of each class, always the same; None: from all n.
        keep: the share of the dreams of each class that is kept, those in whose label the teacher trusts most; in
            (0, 1], 1 keeps all.
        perturbations: bend the dreams that are eaten; their labels stay those that were asked for.
        steps: of each generation.
        classifier_steps: of judge, teacher and fresh classifiers.
        batch_size: of all of them.
        lr: of all of them, for Adam.
        examine: real data to compare with: ``test``, or held-out ``validation`` data while settings are being chosen.

    Raises:
        ValueError: for numbers out of range, or a generator that cannot be asked for a class.
    """

    measures = MEASURES
    pictured = "A row per class, in groups of columns the first, the middle and the last generation."

    def __init__(
        self,
        stream: Mapping[str, Any],
        generator: Mapping[str, Any],
        network: Mapping[str, Any],
        generations: int = 20,
        samples: int | None = None,
        training_data: Food = "replace",
        real: float = 0.0,
        memory: int | None = None,
        keep: float = 1.0,
        perturbations: Sequence[Perturbation] = (),
        steps: int = 400,
        classifier_steps: int = 300,
        batch_size: int = 64,
        lr: float = 0.001,
        examine: Examine = "test",
    ):
        if min(generations, steps, classifier_steps, batch_size) < 1:
            raise ValueError("expected generations, steps, classifier_steps and batch_size of at least 1")
        if not 0 <= real <= 1 or not 0 < keep <= 1:
            raise ValueError(f"expected real in [0, 1] and keep in (0, 1], got {real} and {keep}")
        if memory is not None and (memory < 1 or not real):
            raise ValueError(f"expected a memory of at least 1 and a share of real samples, got {memory} and {real}")
        if training_data == "accumulate" and (real or memory is not None):
            raise ValueError(
                "expected real and memory with training_data='replace' alone: what accumulates keeps all real samples"
            )
        streams.resolve(str(stream.get("name")))
        self.stream = dict(stream)
        self.generator: ComponentSpec = check(generator, Generator, "generator", given=_GIVEN)
        self.network: ComponentSpec = check(network, nn.Module, "network", given=_GIVEN)
        if not self.generator.target.conditional or self.generator.target.is_features:
            raise ValueError(f"expected a generator that can be asked for samples of a class, got {generator}")
        self.generations = generations
        self.samples = samples
        self.training_data: Food = training_data
        self.real = real
        self.memory = memory
        self.keep = keep
        self.perturbations = tuple(perturbations)
        self.steps = steps
        self.classifier_steps = classifier_steps
        self.batch_size = batch_size
        self.lr = lr
        self.examine = examine

    def live(self, seed: int, folder: Path) -> CellResult:
        """Let generation follow generation."""
        *parts, classes = real_data(self.stream, seed, self.samples, self.examine)
        whole, known, unseen = (tensors(part) for part in parts)
        given = {"sample_shape": known.x.shape[1:], "num_classes": classes}

        def taught(seen: Batch, which: int, luck: int = seed) -> nn.Module:
            network = born(self.network.build, luck, which, **given)
            rng = randoms(luck, Purpose.ORDER, which)
            return train_classifier(network, seen, self.classifier_steps, self.batch_size, self.lr, rng)

        judge = taught(whole, _JUDGE, luck=0)
        teacher = taught(known, _TEACHER) if self.keep < 1 else None
        examiner = DreamJudge(judge, known, unseen, classes, lambda seen, which: taught(seen, _FRESH + which))
        anchor = known if self.memory is None else _of_each_class(known, self.memory, seed)
        training_data, rows, shown = known, [], []
        for generation in range(1, self.generations + 1):
            newborn = born(self.generator.build, seed, generation, **given)
            assert isinstance(newborn, Generator)
            rng = randoms(seed, Purpose.ORDER, generation)
            mother = train_generator(newborn, training_data, self.steps, self.batch_size, self.lr, len(known.y), rng)
            dreams = self._dreams(mother, len(known.y), teacher, (), randoms(seed, Purpose.DREAM, generation))
            rows.append(examiner.measure(dreams, generation))
            if generation in (1, (self.generations + 1) // 2, self.generations):
                shown.append(dreams)
            if self.perturbations:
                rng = randoms(seed, Purpose.PERTURB, generation)
                dreams = self._dreams(mother, len(known.y), teacher, self.perturbations, rng)
            training_data = self._next(training_data, dreams, anchor, randoms(seed, Purpose.MEMORY, generation))
        course = {name: [row[name] for row in rows] for name in self.measures}
        told: CellResult = {
            "outcomes": rows[-1],
            "course": {self.axis: [float(t) for t in range(1, self.generations + 1)], **course},
            "yardsticks": examiner.yardsticks(randoms(seed, Purpose.ORDER, 0)),
        }
        picture = write_gallery(shown, classes, folder)
        return told if picture is None else {**told, "picture": picture}

    def _dreams(
        self,
        mother: Generator,
        count: int,
        teacher: nn.Module | None,
        bent_by: Sequence[Perturbation],
        rng: torch.Generator,
    ) -> Batch:
        """So many dreams of all classes alike, in random order, bent and chosen by the teacher."""
        classes = mother.dreamable.nonzero().flatten()
        each = -(-count // len(classes))
        asked = classes.repeat_interleave(round(each / self.keep))
        asked = asked[torch.randperm(len(asked), generator=rng)]
        pixel = [part for part in bent_by if part.space == "pixel"]
        noise, latent = (_bend([part for part in bent_by if part.space == space]) for space in ("noise", "latent"))
        x = torch.cat([mother.dream(part, rng, Perturbations(noise, latent)).x for part in asked.split(4096)])
        if teacher is not None:
            chosen = _trusted(teacher(x), asked, each)
            chosen = chosen[torch.randperm(len(chosen), generator=rng)]
            x, asked = x[chosen], asked[chosen]
        if pixel:
            x, _ = perturb(pixel, x, functional.one_hot(asked, mother.num_classes).to(x.dtype), rng)
        return Batch(x[:count], asked[:count])

    def _next(self, training_data: Batch, dreams: Batch, anchor: Batch, rng: torch.Generator) -> Batch:
        """What the next generation eats."""
        if self.training_data == "accumulate":
            return Batch(torch.cat([training_data.x, dreams.x]), torch.cat([training_data.y, dreams.y]))
        share = round(self.real * len(dreams.y))
        # as often as a small memory has to be gone through
        passes = [torch.randperm(len(anchor.y), generator=rng) for _ in range(-(-share // len(anchor.y)))]
        index = torch.cat([torch.zeros(0, dtype=torch.int64), *passes])[:share]
        rest = len(dreams.y) - share
        return Batch(torch.cat([anchor.x[index], dreams.x[:rest]]), torch.cat([anchor.y[index], dreams.y[:rest]]))


def _bend(perturbations: Sequence[Perturbation]) -> Perturb | None:
    return partial(perturb, perturbations) if perturbations else None


def _trusted(logits: Tensor, y: Tensor, each: int) -> Tensor:
    """Of each class of (B,) labels the positions of the ``each`` samples to whose label (B, K) logits give most."""
    order = logits.log_softmax(dim=1).gather(1, y[:, None]).flatten().argsort(descending=True)
    return torch.cat([order[y[order] == label][:each] for label in y.unique()])


def _of_each_class(samples: Batch, count: int, seed: int) -> Batch:
    """The same few samples of each class, in every generation and arm."""
    order = torch.randperm(len(samples.y), generator=randoms(seed, Purpose.MEMORY))
    index = torch.cat([order[samples.y[order] == label][:count] for label in samples.y.unique()])
    return Batch(samples.x[index], samples.y[index])

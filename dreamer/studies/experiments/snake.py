"""The snake: generation after generation of a generator that is trained on the dreams of its predecessor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from dreamer.studies.experiments.real_data import HeldOut, real_data, tensors
from dreamer.studies.experiments.training import initialise, train_classifier, train_generator

TrainingData = Literal["replace", "accumulate"]
_JUDGE, _TEACHER, _SCRATCH = 1_000_001, 1_000_002, 1_000_003
"""Numbers of initial weights; generations have smaller ones."""


@dataclass(eq=False)
class Snake(Experiment):
    """The first generation learns n real samples; every other one starts from scratch on what its predecessor dreamt.

    The loops are those of Alemohammad et al. (2023, "Self-consuming generative models go MAD", arXiv 2307.01850) and
    Gerstgrasser et al. (2024, arXiv 2404.01413). The dreams of each generation are measured before they are
    perturbed, in the features of a classifier that was trained on all real training data and has the same weights in
    every cell; the teacher was trained on the n real samples of the first generation; neither sees held-out data.

    Args:
        stream: where real data come from: ``name`` of a stream, and its options; taken as one experience.
        generator: ``name`` and options; a conditional one.
        network: of all classifiers: ``name`` and options; one with features.
        generations: how many, the first included.
        samples: n, drawn by the seed from the training data; None takes all of them.
        training_data: ``replace``: the last dreams; ``accumulate``: n real samples and all dreams so far.
        real: the fraction of real samples in training data that replace, in [0, 1].
        memory: that fraction comes from so many real samples of each class, always the same; None: from all n.
        keep: the fraction of the dreams of each class that is kept, those to whose label the teacher gives most; in
            (0, 1], 1 keeps all.
        perturbations: of the dreams that are trained on; their labels stay those that were drawn.
        steps: of each generation.
        classifier_steps: of all classifiers.
        batch_size: of all of them.
        lr: of all of them, for Adam.
        evaluate: real data to compare with: ``test``, or held-out ``validation`` data while settings are being chosen.

    Raises:
        ValueError: for numbers out of range, or a generator that is not conditional.
    """

    measures = MEASURES
    pictured = "A row per class, in groups of columns the first, the middle and the last generation."

    stream: Mapping[str, Any]
    generator: Mapping[str, Any]
    network: Mapping[str, Any]
    generations: int = 20
    samples: int | None = None
    training_data: TrainingData = "replace"
    real: float = 0.0
    memory: int | None = None
    keep: float = 1.0
    perturbations: Sequence[Perturbation] = ()
    steps: int = 400
    classifier_steps: int = 300
    batch_size: int = 64
    lr: float = 0.001
    evaluate: HeldOut = "test"

    def __post_init__(self) -> None:
        memory, real, keep = self.memory, self.real, self.keep
        if min(self.generations, self.steps, self.classifier_steps, self.batch_size) < 1:
            raise ValueError("expected generations, steps, classifier_steps and batch_size of at least 1")
        if not 0 <= real <= 1 or not 0 < keep <= 1:
            raise ValueError(f"expected real in [0, 1] and keep in (0, 1], got {real} and {keep}")
        if memory is not None and (memory < 1 or not real):
            raise ValueError(f"expected a memory of at least 1 and a fraction of real samples, got {memory} and {real}")
        if self.training_data == "accumulate" and (real or memory is not None):
            raise ValueError(
                "expected real and memory with training_data='replace' alone: what accumulates keeps all real samples"
            )
        streams.resolve(str(self.stream.get("name")))
        given = ("sample_shape", "num_classes")
        self._generator: ComponentSpec = check(self.generator, Generator, "generator", given=given)
        self._network: ComponentSpec = check(self.network, nn.Module, "network", given=("sample_shape", "outputs"))
        if not self._generator.target.conditional or self._generator.target.is_features:
            raise ValueError(f"expected a conditional generator, got {self.generator}")

    def run(self, seed: int, folder: Path) -> CellResult:
        """Train one generation after another."""
        *parts, classes = real_data(self.stream, seed, self.samples, self.evaluate)
        whole, first, unseen = (tensors(part) for part in parts)
        shape = first.x.shape[1:]

        def trained(seen: Batch, which: int, seed: int = seed) -> nn.Module:
            network = initialise(self._network.build, seed, which, sample_shape=shape, outputs=classes)
            rng = randoms(seed, Purpose.ORDER, which)
            return train_classifier(network, seen, self.classifier_steps, self.batch_size, self.lr, rng)

        classifier = trained(whole, _JUDGE, seed=0)
        teacher = trained(first, _TEACHER) if self.keep < 1 else None
        judge = DreamJudge(classifier, first, unseen, classes, lambda seen, which: trained(seen, _SCRATCH + which))
        anchor = first if self.memory is None else _of_each_class(first, self.memory, seed)
        training_data, rows, shown = first, [], []
        for generation in range(1, self.generations + 1):
            generator = initialise(self._generator.build, seed, generation, sample_shape=shape, num_classes=classes)
            assert isinstance(generator, Generator)
            count, rng = len(first.y), randoms(seed, Purpose.ORDER, generation)
            train_generator(generator, training_data, self.steps, self.batch_size, self.lr, count, rng)
            dreams = self._dreams(generator, count, teacher, (), randoms(seed, Purpose.DREAM, generation))
            rows.append(judge.measure(dreams, generation))
            if generation in (1, (self.generations + 1) // 2, self.generations):
                shown.append(dreams)
            if self.perturbations:
                rng = randoms(seed, Purpose.PERTURB, generation)
                dreams = self._dreams(generator, count, teacher, self.perturbations, rng)
            training_data = self._next(training_data, dreams, anchor, randoms(seed, Purpose.MEMORY, generation))
        curves = {name: [row[name] for row in rows] for name in self.measures}
        result: CellResult = {
            "outcomes": rows[-1],
            "curves": {self.axis: [float(t) for t in range(1, self.generations + 1)], **curves},
            "yardsticks": judge.yardsticks(randoms(seed, Purpose.ORDER, 0)),
        }
        picture = write_gallery(shown, classes, folder)
        return result if picture is None else {**result, "picture": picture}

    def _dreams(
        self,
        generator: Generator,
        count: int,
        teacher: nn.Module | None,
        perturbations: Sequence[Perturbation],
        rng: torch.Generator,
    ) -> Batch:
        """So many dreams of all classes alike, in random order, perturbed and chosen by the teacher."""
        classes = generator.dreamable.nonzero().flatten()
        each = -(-count // len(classes))
        y = classes.repeat_interleave(round(each / self.keep))
        y = y[torch.randperm(len(y), generator=rng)]
        pixel = [part for part in perturbations if part.space == "pixel"]
        noise, latent = (
            _perturb([part for part in perturbations if part.space == space]) for space in ("noise", "latent")
        )
        x = torch.cat([generator.dream(part, rng, Perturbations(noise, latent)).x for part in y.split(4096)])
        if teacher is not None:
            chosen = _trusted(teacher(x), y, each)
            chosen = chosen[torch.randperm(len(chosen), generator=rng)]
            x, y = x[chosen], y[chosen]
        if pixel:
            x, _ = perturb(pixel, x, functional.one_hot(y, generator.num_classes).to(x.dtype), rng)
        return Batch(x[:count], y[:count])

    def _next(self, training_data: Batch, dreams: Batch, anchor: Batch, rng: torch.Generator) -> Batch:
        """What the next generation is trained on."""
        if self.training_data == "accumulate":
            return Batch(torch.cat([training_data.x, dreams.x]), torch.cat([training_data.y, dreams.y]))
        real = round(self.real * len(dreams.y))
        # as often as a small memory has to be gone through
        passes = [torch.randperm(len(anchor.y), generator=rng) for _ in range(-(-real // len(anchor.y)))]
        index = torch.cat([torch.zeros(0, dtype=torch.int64), *passes])[:real]
        rest = len(dreams.y) - real
        return Batch(torch.cat([anchor.x[index], dreams.x[:rest]]), torch.cat([anchor.y[index], dreams.y[:rest]]))


def _perturb(perturbations: Sequence[Perturbation]) -> Perturb | None:
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

"""What was tried for docs/records.md, on held-out MNIST, outside any run: generators, and nights with given generators.

    python -m reproductions.record_trials DATA_ROOT [--only NAME ...]

*Generators*: one is trained on each pair of classes, then a classifier from scratch on their perturbed dreams, which is
as much as they allow. *Nights*: the classifier learns the pairs one after the other; the generators of the pairs so far
are there, whatever the classifier knows. Held out are 6 000 of the training images; the test images are never read. One
seed each: this is for choosing, and no result. Started again, the script continues with the trials that are missing
from ``docs/measurements/record_trials.json``. Without DATA_ROOT it only writes the tables.
"""

from __future__ import annotations

import argparse
import copy
import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer import config
from dreamer.core.types import Batch
from dreamer.generators import ClassConditionalVAE, Generator
from dreamer.perturbations import Affine
from dreamer.runs.run_config import run_config
from reproductions import records

RECORD = records.MEASUREMENTS / "record_trials.json"
PAGE = records.DOCS / "records.md"
PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
_BATCH, _AT_ONCE = 128, 16


@dataclass(frozen=True)
class Generators:
    """How the generators are trained; ``real`` puts images in the place of dreams."""

    steps: int = 1000
    lr: float = 2e-3
    falls: bool = True
    temperature: float = 1.2
    components: int = 10
    seed: int = 0
    real: bool = False
    perturbed: bool = True


@dataclass(frozen=True)
class Nights:
    """What a night begins with and how it goes; ``labels`` is their weight beside the teachers' distributions."""

    labels: float = 1.0
    from_dawn: float = 0.0
    from_scratch: bool = False
    shrink: float | None = None
    forget: bool = False
    steps: tuple[int, ...] = (1400,) * 5
    batch: int = _BATCH
    lr: float = 2e-3
    left: float = 1.0


LONGER = (200, 800, 1400, 2000, 2600)
TRIALS: dict[str, Generators | Nights] = {
    "real images in place of dreams, perturbed": Generators(real=True),
    "real images, not perturbed": Generators(real=True, perturbed=False),
    "1 000 steps at a rate of 0.001": Generators(lr=1e-3, falls=False),
    "1 000 steps, rate falling from 0.002 along a cosine": Generators(),
    "the same, temperature 1.0 in place of 1.2": Generators(temperature=1.0),
    "the same, 30 in place of 10 Gaussians a class": Generators(components=30),
    "2 000 steps, rate falling from 0.002": Generators(steps=2000),
    "as `dreams` was: from dusk, constant rate, labels and teachers": Nights(labels=0.5),
    "labels alone": Nights(),
    "labels, from dawn": Nights(from_dawn=1.0),
    "labels, half-way back to dawn": Nights(from_dawn=0.5),
    "labels, rate falls": Nights(left=0.02),
    "labels, rate falls, from dawn": Nights(from_dawn=1.0, left=0.02),
    "labels, nights lengthen": Nights(steps=LONGER),
    "labels, nights lengthen, rate falls, optimiser forgets": Nights(steps=LONGER, left=0.01, forget=True),
    "labels, half-way back, rate falls, optimiser forgets": Nights(from_dawn=0.5, left=0.01, forget=True),
    "the same with teachers": Nights(0.5, from_dawn=0.5, left=0.01, forget=True),
    "labels, from dawn, rate falls, optimiser forgets": Nights(from_dawn=1.0, left=0.01, forget=True),
    "labels, half-way back, optimiser forgets, constant rate": Nights(from_dawn=0.5, forget=True),
    "labels, shrunk to 0.3 and new weights added, rate falls": Nights(shrink=0.3, left=0.01),
    "labels, from scratch, rate falls": Nights(from_scratch=True, left=0.01),
    "labels, from scratch, nights lengthen, rate falls": Nights(from_scratch=True, steps=LONGER, left=0.01),
    "labels, half-way back, rate falls, 4 200 steps in the last night": Nights(
        from_dawn=0.5, left=0.01, steps=(200, 400, 800, 1400, 4200)
    ),
    "labels, half-way back, rate falls, half the steps of 256": Nights(
        from_dawn=0.5, left=0.01, steps=(100, 400, 700, 1000, 1300), batch=256, lr=3e-3
    ),
    "teachers too, half-way back, nights lengthen, rate falls": Nights(0.5, from_dawn=0.5, steps=LONGER, left=0.01),
    "labels, half-way back, nights lengthen, rate falls, optimiser forgets": Nights(
        from_dawn=0.5, steps=LONGER, left=0.01, forget=True
    ),
}


def main() -> None:
    """Parse the command line, make the trials that are missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--only", nargs="*", default=TRIALS)
    words = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in words.only if words.data_root else ():
        found = records.read(RECORD, {})
        if name not in found:
            started = time.process_time()
            accuracies = Trial(words.data_root).run(TRIALS[name])
            spent = round(time.process_time() - started)
            records.write(RECORD, found | {name: {"accuracies": accuracies, "cpu_seconds": spent}})
    records.write_between(PAGE, "record_trials", tables(records.read(RECORD, {})))


def tables(found: dict[str, Any]) -> str:
    """A table of the generators, and one of the nights."""
    parts = []
    for kind, head in ((Generators, "generators"), (Nights, "nights")):
        names = [name for name, trial in TRIALS.items() if isinstance(trial, kind) and name in found]
        if not names:
            parts.append(f"No trial of {head} is on record yet.")
            continue
        lines = [f"| {head} | accuracy (%) |", "|---|---|"]
        lines += [f"| {name} | {100 * found[name]['accuracies'][-1]:.2f} |" for name in names]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


class Trial:
    """MNIST's training images, divided into those to learn from and those held out."""

    def __init__(self, data_root: str):
        words = config.read("split_mnist", f"data.root={data_root}", {"stream": {"experiences": 1, "validation": 0.0}})
        (whole,) = run_config(words).stream.build().experiences
        x, y, _ = next(iter(whole.train.batches([torch.arange(len(whole.train))])))[:3]
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(123))
        self.held, self.learnt = ((x[part], y[part]) for part in (order[:6000], order[6000:]))

    def run(self, trial: Generators | Nights) -> list[float]:
        """Accuracies on held-out images: of a classifier on dreams, or after each night on the classes so far."""
        return [self._allowed(trial)] if isinstance(trial, Generators) else self._nights(trial)

    def of(self, classes: Sequence[int], held: bool = False) -> tuple[Tensor, Tensor]:
        """The images of some classes and their labels."""
        x, y = self.held if held else self.learnt
        mine = torch.isin(y, torch.tensor(classes))
        return x[mine], y[mine]

    def score(self, network: nn.Module, classes: Sequence[int]) -> float:
        """The accuracy on held-out images of these classes."""
        x, y = self.of(classes, held=True)
        with torch.no_grad():
            return (network(x).argmax(dim=1) == y).float().mean().item()

    @functools.cache  # noqa: B019 - a trial lives as long as the process
    def generators(self, how: Generators) -> tuple[Generator, ...]:
        """A generator for each pair of classes."""
        return tuple(self._generator(pair, how) for pair in PAIRS)

    def _generator(self, pair: tuple[int, int], how: Generators) -> Generator:
        rng = torch.Generator().manual_seed(how.seed)
        x, y = self.of(pair)
        torch.manual_seed(how.seed)
        made = ClassConditionalVAE((1, 28, 28), 10, beta=0.1, temperature=how.temperature, components=how.components)
        optimizer = torch.optim.Adam([p for p in made.parameters() if p.requires_grad], lr=how.lr, fused=True)
        for step in range(how.steps):
            if how.falls:
                set_rate(optimizer, how.lr * half_cosine(step, how.steps) + 1e-5)
            chosen = torch.randint(len(x), (_BATCH,), generator=rng)
            loss = made.loss(x[chosen], y[chosen], rng)
            assert loss is not None
            take(optimizer, loss)
        order = torch.randperm(len(x), generator=rng)
        made.end_experience([Batch(x[part], y[part]) for part in order.split(1024)], 0, rng)
        return made

    def _allowed(self, how: Generators, steps: int = 4000) -> float:
        """The accuracy of a classifier that is trained on dreams, or on images, alone."""
        made = () if how.real else self.generators(how)
        rng = torch.Generator().manual_seed(1000 + how.seed)
        torch.manual_seed(how.seed)
        network = classifier()
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, fused=True)
        for step in range(steps):
            set_rate(optimizer, 2e-3 * half_cosine(step, steps) + 1e-6)
            if step % _AT_ONCE == 0:
                x, y = self._images(rng) if how.real else dreams(made, _BATCH * _AT_ONCE // 10, rng, drawn=True)
            x_, y_ = (part[step % _AT_ONCE * _BATCH :][:_BATCH] for part in (x, y))
            x_ = perturbed(x_, rng) if how.perturbed else x_
            take(optimizer, functional.cross_entropy(network(x_), y_))
        return self.score(network, range(10))

    def _images(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = self.learnt
        chosen = torch.randint(len(x), (_BATCH * _AT_ONCE,), generator=rng)
        return x[chosen], y[chosen]

    def _nights(self, how: Nights) -> list[float]:
        made = self.generators(Generators(seed=1))
        rng = torch.Generator().manual_seed(1)
        torch.manual_seed(1)
        network = classifier()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        scores: list[float] = []
        for number, pair in enumerate(PAIRS):
            dawn = copy.deepcopy(network)
            self._day(network, optimizer, pair, rng)
            dusk = copy.deepcopy(network)
            if number and how.from_dawn:
                interpolate(network, dawn, how.from_dawn)
            if number and how.shrink is not None:
                shrink_and_perturb(network, how.shrink)
            if how.from_scratch:
                network = classifier()
            if how.forget or how.from_scratch or (number and how.shrink is not None):
                optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
            teachers = (dawn, dusk) if number else (dusk, dusk)
            night(network, optimizer, how, made[: number + 1], teachers, how.steps[number], rng)
            scores.append(self.score(network, range(2 * number + 2)))
        return scores

    def _day(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, pair: tuple[int, int], rng: torch.Generator
    ) -> None:
        x, y = self.of(pair)
        set_rate(optimizer, 1e-3)
        for _ in range(1000):
            chosen = torch.randint(len(x), (_BATCH,), generator=rng)
            take(optimizer, functional.cross_entropy(network(x[chosen]), y[chosen]))


def night(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    how: Nights,
    made: Sequence[Generator],
    teachers: tuple[nn.Module, nn.Module],
    steps: int,
    rng: torch.Generator,
) -> None:
    """Train on perturbed dreams of all pairs so far; dawn is the teacher of all classes but the last pair's."""
    each = _AT_ONCE * how.batch // (2 * len(made))
    for step in range(steps):
        set_rate(optimizer, how.lr * (how.left + (1 - how.left) * half_cosine(step, steps)))
        if step % _AT_ONCE == 0:
            x, y = dreams(made, each, rng)
            x = perturbed(x, rng)
            soft = taught(x, y, teachers, PAIRS[len(made) - 1])
            size = len(x) // _AT_ONCE
        part = slice(step % _AT_ONCE * size, (step % _AT_ONCE + 1) * size)
        output = network(x[part])
        loss = how.labels * functional.cross_entropy(output, y[part])
        if how.labels < 1:
            loss = loss + (1 - how.labels) * functional.cross_entropy(output, soft[part])
        take(optimizer, loss)


@torch.no_grad()
def taught(x: Tensor, y: Tensor, teachers: tuple[nn.Module, nn.Module], pair: tuple[int, int]) -> Tensor:
    """(N, 10) distributions: dusk's for the last pair of classes, dawn's for the others."""
    dawn, dusk = (teacher(x).softmax(dim=1) for teacher in teachers)
    return torch.where(torch.isin(y, torch.tensor(pair))[:, None], dusk, dawn)


def dreams(made: Sequence[Generator], each: int, rng: torch.Generator, drawn: bool = False) -> tuple[Tensor, Tensor]:
    """Shuffled dreams: ``each`` of every class, or as many of classes that are drawn."""
    parts = []
    for generator, pair in zip(made, PAIRS, strict=False):
        classes = torch.tensor(pair)
        drawn_of = torch.randint(2, (_BATCH * _AT_ONCE * 2 // 10,), generator=rng) if drawn else None
        y = classes.repeat_interleave(each) if drawn_of is None else classes[drawn_of]
        parts.append((generator.dream(y, rng).x, y))
    x, y = (torch.cat(column) for column in zip(*parts, strict=True))
    order = torch.randperm(len(x), generator=rng)
    return x[order], y[order]


def classifier() -> nn.Module:
    """784-400-400-10."""
    layers = (nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def perturbed(x: Tensor, rng: torch.Generator) -> Tensor:
    """Images under small affine maps."""
    return Affine()(x, torch.zeros(len(x), 10), rng)[0]


@torch.no_grad()
def interpolate(network: nn.Module, other: nn.Module, fraction: float) -> None:
    """Move weights that fraction of the way to another network's."""
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        mine.copy_(theirs * fraction + mine * (1 - fraction))


@torch.no_grad()
def shrink_and_perturb(network: nn.Module, kept: float) -> None:
    """Weights times ``kept``, and new ones, so that the variance stays (after Ash and Adams 2020, arXiv 1910.08475)."""
    for mine, new in zip(network.parameters(), classifier().parameters(), strict=True):
        mine.mul_(kept).add_(new, alpha=(1 - kept**2) ** 0.5)


def half_cosine(step: int, steps: int) -> float:
    """From 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def take(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


if __name__ == "__main__":
    main()

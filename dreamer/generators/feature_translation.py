"""Samples of the last experience, moved to where the old classes were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators.base import Generator, GeneratorSnapshot, Store


class FeatureTranslation(Generator):
    """A mean for every class; a dream of an old class is a sample of the most similar new class, with the old mean.

    FeTrIL (Petit et al. 2023, WACV, arXiv 2211.13131, equation 1): with classes p of the past and n of the last
    experience, ``f(p) = f(n) + mean(p) - mean(n)``, where n is the class whose mean has the largest cosine with that
    of p (their FeTrIL^1; ``GregoirePetit/FeTrIL``). A dream of a class of the last experience is one of its samples.
    It is meant for features of a frozen network; a sample may have any shape.

    Nothing is learnt step by step. What it keeps does not grow but for the means: **real** samples of the last
    experience, which the next one replaces, are among it.

    Args:
        capacity: how many samples of the last experience are kept at most; of more, as many are drawn without
            replacement.

    Raises:
        ValueError: for a capacity below 1.

    >>> generator, rng = FeatureTranslation((3,), 2), torch.Generator().manual_seed(0)
    >>> generator.end_experience([Batch(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))], 0, rng)
    >>> generator.end_experience([Batch(torch.eye(3), torch.ones(3, dtype=torch.int64))], 1, rng)
    >>> generator.dream(torch.tensor([0]), rng).x.sum().round(decimals=3)  # a row of eye(3), less its mean
    tensor(0.)
    """

    keeps_samples = True

    @checked
    def __init__(self, sample_shape: Sequence[int], num_classes: int, capacity: int = 1000, store: Store = "float32"):
        super().__init__(sample_shape, num_classes, "rehearse", store)
        at_least(1, capacity=capacity)
        self.capacity = capacity

    def fit(self, seen: Dream, rng: torch.Generator) -> None:
        """Nothing: it learns at dusk."""
        return None

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Translated(self, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        assert isinstance(snapshot, _Translated)
        batches = list(day)
        snapshot.fill(torch.cat([one.x for one in batches]), torch.cat([one.groups for one in batches]), rng)
        for old in self._snapshots():
            assert isinstance(old, _Translated)
            snapshot.remember(old)

    def _old_days(self, day: Sequence[Batch], rng: torch.Generator) -> list[Batch]:
        """None: the means of old classes are kept as they are, and not measured again on dreams."""
        return []


class _Translated(GeneratorSnapshot):
    """Means of all classes, and samples of those of the last experience.

    Buffers, with N the elements of a sample: ``mean`` (C, N); ``kept`` (capacity, N), of which ``used`` () rows are
    samples, those of classes with the ``row`` (capacity,); ``last`` (C,) bool, the classes of the last experience.
    """

    mean: Tensor
    kept: Tensor
    row: Tensor
    used: Tensor
    last: Tensor

    def __init__(self, generator: FeatureTranslation, classes: Tensor):
        super().__init__(classes)
        self.shape = generator.sample_shape
        size = math.prod(self.shape)
        self.register_buffer("mean", torch.zeros(len(classes), size))
        self.register_buffer("kept", torch.zeros(generator.capacity, size))
        self.register_buffer("row", torch.zeros(generator.capacity, dtype=torch.int64))
        self.register_buffer("used", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", torch.zeros(len(classes), dtype=torch.bool))

    def fill(self, x: Tensor, y: Tensor, rng: torch.Generator) -> None:
        """Keep (n, *S) samples of the (n,) classes, and their means."""
        row = torch.searchsorted(self.classes, y)
        flat = x.flatten(1).float()
        for index in row.unique():
            self.mean[index] = flat[row == index].mean(dim=0)
            self.last[index] = True
        drawn = torch.randperm(len(flat), generator=rng, device=flat.device)[: len(self.kept)]
        self.used.fill_(len(drawn))
        self.kept[: len(drawn)] = flat[drawn]
        self.row[: len(drawn)] = row[drawn]

    def remember(self, old: _Translated) -> None:
        """Take the means of the classes that did not come again."""
        for index, label in enumerate(old.classes):
            here = int(torch.searchsorted(self.classes, label))
            if not self.last[here]:
                self.mean[here] = old.mean[index].float()

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        mean, kept = self.mean.float(), self.kept[: int(self.used)].float()
        present = self.row[: len(kept)]
        wanted = torch.searchsorted(self.classes, y)
        alike = functional.normalize(mean, dim=1) @ functional.normalize(mean, dim=1).T
        # classes without a sample to move cannot lend one
        lends = torch.zeros_like(self.last)
        lends[present] = True
        nearest = alike.masked_fill(~lends, -torch.inf).argmax(dim=1)
        source = torch.where(lends, torch.arange(len(lends), device=y.device), nearest)[wanted]
        weight = (present == source[:, None]).to(torch.float32)
        drawn = torch.multinomial(weight, 1, generator=rng).flatten()
        x = kept[drawn] + mean[wanted] - mean[source]
        return x.view(-1, *self.shape), p

"""Whoever judges dreams: a fixed classifier of real data, whose features and labels all measures are taken in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dreamer import metrics
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch
from dreamer.metrics import dreams as measures
from dreamer.networks.base import featured
from dreamer.studies.experiments.base import Measure

MEASURES = {
    "accuracy": Measure(
        "accuracy of a fresh classifier",
        "larger",
        share=True,
        hint="A newborn classifier is taught the dreams alone, and examined on real data that nobody has seen.",
    ),
    "frechet": Measure(
        "Fréchet distance", "smaller", log=True, hint="Of dreams to unseen real data, in a fixed classifier's features."
    ),
    "precision": Measure(
        "precision", "larger", share=True, hint="Dreams that lie among real data (5 nearest neighbours)."
    ),
    "recall": Measure("recall", "larger", share=True, hint="Real data that lie among dreams (5 nearest neighbours)."),
    "fidelity": Measure(
        "class fidelity",
        "larger",
        share=True,
        hint="Dreams that a fixed classifier takes for the class they should be.",
    ),
    "coverage": Measure(
        "classes covered", "larger", share=True, hint="Classes with at least half of their fair share of the dreams."
    ),
    "balance": Measure(
        "class balance", "larger", share=True, hint="Entropy of the classes of the dreams over that of equal shares."
    ),
    "diversity": Measure(
        "diversity", "larger", hint="Mean distance of two dreams of the same class, in a fixed classifier's features."
    ),
    "novelty": Measure(
        "novelty", "", hint="Distance to the nearest training sample, over that of unseen real data: 0 is a copy."
    ),
}
"""What is measured of the dreams of one generation."""
_MOST = 2000
"""Samples on either side of all measures but accuracy; the distances of more take long."""


class DreamJudge:
    """Compares samples with real data.

    Args:
        judge: a classifier of real training data, with features.
        known: real data that generators were trained on.
        unseen: real data that nobody was trained on.
        num_classes: K.
        fresh: teaches a newborn classifier some samples; the second argument says which newborn.
    """

    def __init__(
        self, judge: nn.Module, known: Batch, unseen: Batch, num_classes: int, fresh: Callable[[Batch, int], nn.Module]
    ):
        self.judge = featured(judge)
        self.unseen = unseen
        self.num_classes = num_classes
        self.fresh = fresh
        self.known = known
        self.size = min(len(known.y), len(unseen.y), _MOST)
        order = torch.randperm(len(unseen.y), generator=randoms(0, Purpose.SPLIT))[: self.size]
        self.features = self.judge.features(unseen.x[order])
        self.known_features = self.judge.features(known.x)

    def measure(self, dreams: Batch, which: int) -> dict[str, float | None]:
        """All of :data:`MEASURES` of (N, *S) samples in random order, as many as there are known ones.

        Args:
            dreams: samples with the labels that they should have.
            which: number of the newborn classifier.
        """
        # many of these measures depend on the number of samples: the same on both sides
        x, y = dreams.x[: self.size], dreams.y[: self.size]
        features = self.judge.features(x)
        labels = self.judge.classify(features).argmax(dim=1)
        shares = measures.class_shares(labels, self.num_classes)
        precision, recall = measures.precision_recall(features, self.features)
        return {
            "accuracy": metrics.accuracy(_labels(self.fresh(dreams, which), self.unseen.x), self.unseen.y),
            "frechet": measures.frechet_distance(features, self.features),
            "precision": precision,
            "recall": recall,
            "fidelity": metrics.accuracy(labels, y),
            "coverage": measures.covered_classes(shares),
            "balance": measures.balance(shares),
            "diversity": measures.diversity(features, y),
            "novelty": measures.novelty(features, self.known_features, self.features),
        }

    def yardsticks(self, rng: torch.Generator) -> dict[str, float]:
        """What the known real data have of the measures; novelty, which they have none of, is left out."""
        order = torch.randperm(len(self.known.y), generator=rng)
        found = self.measure(Batch(self.known.x[order], self.known.y[order]), 0)
        return {name: value for name, value in found.items() if value is not None and name != "novelty"}


def _labels(network: nn.Module, x: Tensor) -> Tensor:
    return network(x).argmax(dim=1)

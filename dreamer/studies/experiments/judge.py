"""Measures of dreams, in the features and labels of a fixed classifier of real data."""

from __future__ import annotations

import warnings
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
        "accuracy of a classifier trained on dreams",
        "larger",
        fraction=True,
        hint="A classifier is trained from scratch on the dreams alone, and evaluated on held-out real data.",
    ),
    "frechet": Measure(
        "Fréchet distance", "smaller", log=True, hint="Of dreams to unseen real data, in a fixed classifier's features."
    ),
    "precision": Measure(
        "precision", "larger", fraction=True, hint="Dreams that lie among real data (5 nearest neighbours)."
    ),
    "recall": Measure(
        "recall", "larger", fraction=True, hint="Real data that lie among dreams (5 nearest neighbours)."
    ),
    "fidelity": Measure(
        "class fidelity",
        "larger",
        fraction=True,
        hint="Dreams that a fixed classifier assigns to the class they should have.",
    ),
    "coverage": Measure(
        "classes covered",
        "larger",
        fraction=True,
        hint="Classes with at least half as many dreams as the others have on average.",
    ),
    "balance": Measure(
        "class balance",
        "larger",
        fraction=True,
        hint="Entropy of the classes of the dreams over that of equal amounts.",
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
        classifier: of real training data, with features.
        seen: real data that generators were trained on.
        unseen: real data that nothing was trained on.
        train: trains a classifier from scratch on some samples; the second argument numbers it.
    """

    def __init__(
        self,
        classifier: nn.Module,
        seen: Batch,
        unseen: Batch,
        num_classes: int,
        train: Callable[[Batch, int], nn.Module],
    ):
        self.classifier = featured(classifier)
        self.unseen = unseen
        self.num_classes = num_classes
        self.train = train
        self.seen = seen
        self.size = min(len(seen.y), len(unseen.y), _MOST)
        order = torch.randperm(len(unseen.y), generator=randoms(0, Purpose.SPLIT))[: self.size]
        self.features = self.classifier.features(unseen.x[order])
        self.seen_features = self.classifier.features(seen.x)

    def measure(self, dreams: Batch, which: int) -> dict[str, float | None]:
        """All of :data:`MEASURES` of (N, *S) samples in random order, as many as there are seen ones.

        Args:
            which: number of the classifier that is trained on them.

        Returns:
            The measures by name; all None, with a warning, where dreams or their features are NaN or infinite.
        """
        # many of these measures depend on the number of samples: the same on both sides
        x, y = dreams.x[: self.size], dreams.y[: self.size]
        features = self.classifier.features(x)
        if not (x.isfinite().all() and features.isfinite().all()):
            warnings.warn("dreams are not measured: they, or their features, are NaN or infinite", stacklevel=2)
            return dict.fromkeys(MEASURES)
        labels = self.classifier.classify(features).argmax(dim=1)
        frequencies = measures.class_frequencies(labels, self.num_classes)
        precision, recall = measures.precision_recall(features, self.features)
        return {
            "accuracy": metrics.accuracy(_labels(self.train(dreams, which), self.unseen.x), self.unseen.y),
            "frechet": measures.frechet_distance(features, self.features),
            "precision": precision,
            "recall": recall,
            "fidelity": metrics.accuracy(labels, y),
            "coverage": measures.covered_classes(frequencies),
            "balance": measures.balance(frequencies),
            "diversity": measures.diversity(features, y),
            "novelty": measures.novelty(features, self.seen_features, self.features),
        }

    def yardsticks(self, rng: torch.Generator) -> dict[str, float]:
        """The measures of the seen real data; novelty, which they have none of, is left out."""
        order = torch.randperm(len(self.seen.y), generator=rng)
        found = self.measure(Batch(self.seen.x[order], self.seen.y[order]), 0)
        return {name: value for name, value in found.items() if value is not None and name != "novelty"}


def _labels(network: nn.Module, x: Tensor) -> Tensor:
    return network(x).argmax(dim=1)

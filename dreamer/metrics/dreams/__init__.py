"""How dreams compare with real data: distances, coverage, balance and variety, each a pure function of tensors.

Features, (N, H), are those of whatever network the caller trusts; it must never have seen the data that are compared.
Where they hold NaN or infinity nothing is measured: the measure is NaN, which no reader can take for a bad value.
"""

from dreamer.metrics.dreams.balance import balance, class_shares, covered_classes, imbalance
from dreamer.metrics.dreams.diversity import diversity
from dreamer.metrics.dreams.frechet import frechet_distance
from dreamer.metrics.dreams.manifolds import precision_recall
from dreamer.metrics.dreams.novelty import novelty

__all__ = [
    "balance",
    "class_shares",
    "covered_classes",
    "diversity",
    "frechet_distance",
    "imbalance",
    "novelty",
    "precision_recall",
]

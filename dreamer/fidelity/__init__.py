"""How dreams compare with real data: distances, coverage, balance and variety, each a pure function of tensors.

Features, (N, H), are those of whatever network the caller trusts; it must never have seen the data that are compared.
"""

from dreamer.fidelity.balance import balance, class_shares, covered_classes, imbalance
from dreamer.fidelity.diversity import diversity
from dreamer.fidelity.frechet import frechet_distance
from dreamer.fidelity.manifolds import precision_recall
from dreamer.fidelity.novelty import novelty

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

"""How dreams compare with real data: distances, coverage, balance and variety, each a pure function of tensors.

Features, (N, H), are those of whatever network the caller trusts; it must never have seen the data that are compared.
Labels are those that a classifier gives to the dreams. Where features hold NaN or infinity nothing is measured: the
measure is NaN, which no reader can take for a bad value.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def class_frequencies(labels: Tensor, num_classes: int) -> Tensor:
    """(K,) float64 relative frequencies of the classes among (N,) int64 labels; they sum to 1.

    Raises:
        ValueError: for no labels, or one outside [0, K).
    """
    if not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(f"expected labels in [0, {num_classes}), at least one, got {labels.unique().tolist()}")
    return torch.bincount(labels, minlength=num_classes).double() / len(labels)


def covered_classes(frequencies: Tensor, least: float = 0.5) -> float:
    """The fraction of classes whose frequency is at least ``least`` of the uniform one, 1 / K; NaN of NaN.

    Args:
        frequencies: (K,) relative frequencies, sum to 1.
        least: fraction of 1 / K, in (0, 1].
    """
    if frequencies.isnan().any():
        return math.nan
    return float((frequencies >= least / len(frequencies)).double().mean())


def balance(frequencies: Tensor) -> float:
    """The normalised entropy of (K,) frequencies, ``-sum_k s_k log s_k / log K``: from 0, one class, to 1, uniform."""
    if len(frequencies) < 2:
        return 1.0
    return float(torch.special.entr(frequencies.double()).sum() / math.log(len(frequencies)))


def imbalance(frequencies: Tensor) -> float:
    """The total variation distance of (K,) frequencies to uniform ones, ``1/2 sum_k |s_k - 1/K|``, in [0, 1 - 1/K]."""
    return float((frequencies.double() - 1 / len(frequencies)).abs().sum() / 2)


def diversity(x: Tensor, y: Tensor) -> float | None:
    """The mean distance of two different samples of the same class, averaged over the classes that have two.

    A generator that has collapsed gives the same sample for a class again and again: 0 (the idea of intra-class LPIPS,
    Ojha et al. 2021, arXiv 2104.06820, section 4, in the features at hand).

    Args:
        x: (N, H) features.
        y: (N,) int64 labels.

    Returns:
        At least 0, in units of the features; NaN where these are not finite, None where no class has two samples.
    """
    if not x.isfinite().all():
        return math.nan
    means = []
    for label in y.unique():
        own = x[y == label].double()
        if len(own) > 1:
            means.append(torch.pdist(own).mean())
    return float(torch.stack(means).mean()) if means else None


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians that are fitted to features.

    ``|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))`` (Dowson and Landau 1982; as a measure of generators Heusel
    et al. 2017, arXiv 1706.08500, section 2, who take the features of Inception). With ``S_i = R_i^T R_i``,
    R_i from the QR decomposition of the centred samples, the trace of the root is the sum of the singular values of
    ``R_1 R_2^T``: no matrix has more rows than there are samples or features, whichever are fewer.

    From few samples it comes out too large, by about as much for generators that are about as good (Chong and Forsyth
    2020, arXiv 1911.07023): compare numbers only where the sizes are the same on both sides. It is defined for fewer
    samples than features too. Covariances are unbiased (n - 1); nothing is shrunk, because shrinking towards a common
    target would hide a loss of spread.

    Args:
        one: (N, H) features, N at least 2.
        other: (M, H) features, M at least 2.

    Returns:
        At least 0, in squared units of the features; NaN where these are not finite.

    Raises:
        ValueError: for other shapes.
    """
    for x in (one, other):
        if x.ndim != 2 or len(x) < 2 or x.shape[1] != one.shape[1]:
            shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
            raise ValueError(f"expected two sets of at least 2 samples with the same features, got {shapes}")
    if not (one.isfinite().all() and other.isfinite().all()):
        return math.nan
    one, other = one.double(), other.double()
    apart = (one.mean(dim=0) - other.mean(dim=0)).square().sum()
    first, second = ((x - x.mean(dim=0)) / math.sqrt(len(x) - 1) for x in (one, other))
    spread = first.square().sum() + second.square().sum()
    roots = (torch.linalg.qr(x, mode="r").R for x in (first, second))
    overlap = torch.linalg.matrix_norm(next(roots) @ next(roots).T, "nuc")
    return max(0.0, float(apart + spread - 2 * overlap))


def precision_recall(dreams: Tensor, real: Tensor, k: int = 5) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991, equations 1 to 3).

    A set's manifold is the union of balls around its samples, each as wide as its distance to the k-th nearest other.
    Precision is the fraction of dreams inside the manifold of real data (are they good?), recall the fraction of real
    data inside that of dreams (is everything there?). Both depend on the numbers of samples: compare only equal ones.
    Five neighbours suit some hundreds of samples; the paper takes 3 for 50 000.

    Args:
        dreams: (N, H) features, N above k.
        real: (M, H) features, M above k.
        k: which neighbour.

    Returns:
        Precision and recall, in [0, 1]; NaN where features are not finite.

    Raises:
        ValueError: when a set has no k-th neighbours.
    """
    if k < 1 or min(len(dreams), len(real)) <= k:
        raise ValueError(
            f"expected more than k = {k} samples on both sides, k at least 1, got {len(dreams)} and {len(real)}"
        )
    if not (dreams.isfinite().all() and real.isfinite().all()):
        return math.nan, math.nan
    dreams, real = dreams.double(), real.double()
    between = _distances(dreams, real)
    precision = (between <= _radii(real, k)).any(dim=1)
    recall = (between.T <= _radii(dreams, k)).any(dim=1)
    return float(precision.double().mean()), float(recall.double().mean())


def _radii(x: Tensor, k: int) -> Tensor:
    """(N,) distances to the k-th nearest other sample; a sample itself is its nearest."""
    return _distances(x, x).kthvalue(k + 1, dim=1).values


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Exact ones: samples that are equal are 0 apart, and lie on the rim of each other's balls."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def novelty(dreams: Tensor, training: Tensor, unseen: Tensor) -> float:
    """How far dreams lie from the generator's training data, in units of how far unseen real data lie from it.

    The median distance of a dream to its nearest training sample, over that of an unseen real sample to its nearest
    training sample (nearest neighbours as a test of copying: Meehan et al. 2020, arXiv 2004.05675). Far below 1: the
    generator copies. About 1: as new as real data. Far above 1: dreams do not resemble the data.

    Args:
        dreams: (N, H) features.
        training: (M, H) features of real training data.
        unseen: (L, H) features of other real data.

    Returns:
        At least 0; infinity where at least half of the unseen samples are copies of training samples, 1 where at least
        half of the dreams are too; NaN where features are not finite.
    """
    if not all(x.isfinite().all() for x in (dreams, training, unseen)):
        return math.nan
    here, there = (torch.cdist(x.double(), training.double()).amin(dim=1).median() for x in (dreams, unseen))
    if there == 0:
        return 1.0 if here == 0 else float("inf")
    return float(here / there)

"""Whether all classes are dreamt of, and equally often; the labels are those that a classifier gives to the dreams."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def class_shares(labels: Tensor, num_classes: int) -> Tensor:
    """(K,) float64 relative frequencies of the classes among (N,) int64 labels; they sum to 1.

    Raises:
        ValueError: for no labels, or one outside [0, K).
    """
    if not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(f"expected labels in [0, {num_classes}), at least one, got {labels.unique().tolist()}")
    return torch.bincount(labels, minlength=num_classes).double() / len(labels)


def covered_classes(shares: Tensor, least: float = 0.5) -> float:
    """The fraction of classes whose frequency is at least ``least`` of the uniform one, 1 / K; NaN of NaN.

    Args:
        shares: (K,) relative frequencies, sum to 1.
        least: fraction of 1 / K, in (0, 1].
    """
    if shares.isnan().any():
        return math.nan
    return float((shares >= least / len(shares)).double().mean())


def balance(shares: Tensor) -> float:
    """The normalised entropy of (K,) frequencies, ``-sum_k s_k log s_k / log K``: from 0, one class, to 1, uniform."""
    if len(shares) < 2:
        return 1.0
    return float(torch.special.entr(shares.double()).sum() / math.log(len(shares)))


def imbalance(shares: Tensor) -> float:
    """The total variation distance of (K,) frequencies to uniform ones, ``1/2 sum_k |s_k - 1/K|``, in [0, 1 - 1/K]."""
    return float((shares.double() - 1 / len(shares)).abs().sum() / 2)

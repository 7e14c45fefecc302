"""Whether a generator copies its training data or makes new samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def novelty(dreams: Tensor, known: Tensor, unseen: Tensor) -> float:
    """How far dreams lie from the generator's training data, in units of how far unseen real data lie from it.

    The median distance of a dream to its nearest training sample, over that of an unseen real sample to its nearest
    training sample (nearest neighbours as a test of copying: Meehan et al. 2020, arXiv 2004.05675). Far below 1: the
    generator copies. About 1: as new as real data. Far above 1: dreams do not resemble the data.

    Args:
        dreams: (N, H) features.
        known: (M, H) features of real training data.
        unseen: (L, H) features of other real data.

    Returns:
        At least 0; infinity where at least half of the unseen samples are copies of training samples, 1 where at least
        half of the dreams are too; NaN where features are not finite.
    """
    if not all(x.isfinite().all() for x in (dreams, known, unseen)):
        return math.nan
    here, there = (torch.cdist(x.double(), known.double()).amin(dim=1).median() for x in (dreams, unseen))
    if there == 0:
        return 1.0 if here == 0 else float("inf")
    return float(here / there)

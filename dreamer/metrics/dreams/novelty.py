"""Whether a generator remembers or invents."""

from __future__ import annotations

import torch
from torch import Tensor


def novelty(dreams: Tensor, known: Tensor, unseen: Tensor) -> float:
    """How far dreams lie from what the generator was trained on, in units of how far real data lie that it never saw.

    The median distance of a dream to its nearest known sample, over that of an unseen real sample to its nearest known
    one (nearest neighbours as a test of copying: Meehan et al. 2020, arXiv 2004.05675). Far below 1: it remembers.
    About 1: as new as real data. Far above 1: dreams have left the data behind.

    Args:
        dreams: (N, H) features.
        known: (M, H) features of real training data.
        unseen: (L, H) features of other real data.

    Returns:
        At least 0; infinity where every other unseen sample is a copy of a known one, 1 where dreams are so too.
    """
    here, there = (torch.cdist(x.double(), known.double()).amin(dim=1).median() for x in (dreams, unseen))
    if there == 0:
        return 1.0 if here == 0 else float("inf")
    return float(here / there)

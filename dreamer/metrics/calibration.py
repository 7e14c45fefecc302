"""How far the confidence of a classifier lies from its accuracy."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def calibration_error(logits: Tensor, y: Tensor, bins: int = 15) -> float:
    """The expected calibration error: the gap between confidence and accuracy, averaged over bins of equal width.

    ``sum_b |B_b| / N |accuracy(B_b) - confidence(B_b)|``, Guo et al. 2017 (arXiv 1706.04599), equation 3. As there, the
    upper edge of a bin belongs to it, so a confidence of exactly 1 shares the last bin.

    Args:
        logits: (N, K).
        y: (N,) labels.
        bins: how many, between confidences of 0 and 1.

    Returns:
        A number in [0, 1]; NaN where logits are NaN.
    """
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    if confidence.isnan().any():
        return math.nan
    correct = (predicted == y).to(confidence.dtype)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=confidence.dtype).index_add_(0, place, correct - confidence)
    return float(gaps.abs().sum() / len(y))

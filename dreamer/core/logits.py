"""Logits in which some outputs take no part."""

from __future__ import annotations

import torch
from torch import Tensor


def silence(logits: Tensor, active: Tensor | None) -> Tensor:
    """Take inactive outputs out of the softmax.

    A large negative number instead of ``-inf`` keeps the product with a zero target finite.

    Args:
        logits: (B, K).
        active: (B, K) or (K,) bool; None leaves all in.

    >>> silence(torch.zeros(1, 3), torch.tensor([True, True, False])).softmax(dim=1)
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    if active is None:
        return logits
    return logits.masked_fill(~active, torch.finfo(logits.dtype).min / 4)

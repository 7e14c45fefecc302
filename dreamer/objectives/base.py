"""The contract of the family, and how several are added."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dreamer.types import Dream


@runtime_checkable
class Objective(Protocol):
    """Judges the learner's answer to a batch.

    Attributes:
        needs_teacher: True when the batch must carry a teacher's logits.
    """

    needs_teacher: bool

    def __call__(self, logits: Tensor, target: Dream, active: Tensor | None) -> Tensor:
        """Compute the loss.

        Args:
            logits: (B, K) of the learner.
            target: what was shown, with its labels.
            active: (B, K) bool, outputs that take part in the softmax, the sample's own class among them; None for all.

        Returns:
            Scalar, the mean over the batch.
        """
        ...


def judge(objectives: Sequence[Objective], logits: Tensor, target: Dream, active: Tensor | None) -> Tensor:
    """Sum the losses of several objectives."""
    return functools.reduce(operator.add, [objective(logits, target, active) for objective in objectives])


def silence(logits: Tensor, active: Tensor | None) -> Tensor:
    """Take inactive outputs out of the softmax.

    A large negative number instead of ``-inf`` keeps the product with a zero target finite.

    Args:
        logits: (B, K).
        active: (B, K) bool; None leaves all in.
    """
    if active is None:
        return logits
    return logits.masked_fill(~active, torch.finfo(logits.dtype).min / 4)

"""Losses of outputs that go through a softmax: with a label, and with a teacher's softened output."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.logits import silence


def cross_entropy(logits: Tensor, labels: Tensor, active: Tensor | None) -> Tensor:
    """``-sum_k p_k log softmax(logits)_k``, the mean over the batch.

    Args:
        logits: (B, K).
        labels: (B,) int64 classes, or (B, K) distributions over them.
        active: (B, K) bool, the outputs that take part in the softmax; None for all.
    """
    return functional.cross_entropy(silence(logits, active), labels)


def softened_divergence(
    logits: Tensor, teacher: Tensor, active: Tensor | None, temperature: float, per_output: bool = False
) -> Tensor:
    """``KL(softmax(teacher / T) || softmax(logits / T))``, the mean over the batch.

    Its gradient shrinks with ``1 / T^2``, so distillation multiplies it with ``T^2`` (Hinton et al. 2015, section 2).

    Args:
        logits: (B, K) of the learner.
        teacher: (B, K), ``-inf`` for outputs that it does not know. A sample of which it knows no active output adds
            nothing to the mean.
        active: (B, K) bool, the outputs that are compared; None for all.
        temperature: T, above 0.
        per_output: divide by the number of active outputs.
    """
    taught = teacher if active is None else teacher.masked_fill(~active, -torch.inf)
    # a softmax over nothing but minus infinity is NaN
    unknown = torch.isneginf(taught).all(dim=1, keepdim=True)
    student = functional.log_softmax(silence(logits, active) / temperature, dim=1)
    wanted = functional.softmax(taught.masked_fill(unknown, 0).to(student.dtype) / temperature, dim=1)
    divergence = functional.kl_div(student, wanted.masked_fill(unknown, 0), reduction="batchmean")
    if per_output:
        divergence = divergence / (student.shape[1] if active is None else active.sum(dim=1).float().mean())
    return divergence

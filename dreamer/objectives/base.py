"""The contract of the family, and how several are added."""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import Dream, Output
from dreamer.problems import Problem


class Objective(ABC):
    """A loss of the learner's output for a batch.

    Args:
        weight: factor of the loss, at least 0.

    Attributes:
        needs_teacher: True when the batch must carry a teacher's logits.
        needs_features: True when it looks at the learner's features, and at the teacher's where it needs a teacher.
        needs_logits: True when the batch must carry the logits that the learner gave when the samples were real.
        needs_classes: True when targets must be classes.
    """

    needs_teacher: bool = False
    needs_features: bool = False
    needs_logits: bool = False
    needs_classes: bool = False

    @checked
    def __init__(self, weight: float = 1.0):
        at_least(0, weight=weight)
        self.weight = weight

    def for_problem(self, problem: Problem) -> Objective:
        """The objective for the outputs of a problem; itself where that makes no difference."""
        return self

    @abstractmethod
    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        """Compute the loss.

        Args:
            output: the learner's (B, K) logits, and its (B, H) features where they are needed.
            target: what was shown, with its targets.
            active: (B, K) bool, outputs that take part in the softmax, the sample's own class among them; None for all.

        Returns:
            Scalar, the mean over the batch.
        """


def total_loss(objectives: Sequence[Objective], output: Output, target: Dream, active: Tensor | None) -> Tensor | None:
    """Sum the losses of several objectives; None where there are none."""
    losses = [objective(output, target, active) for objective in objectives]
    return functools.reduce(operator.add, losses) if losses else None


def of_one_type(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the wider of their types: older versions of torch cannot differentiate a difference of two."""
    wider = torch.promote_types(output.dtype, target.dtype)
    return output.to(wider), target.to(wider)

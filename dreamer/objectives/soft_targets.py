"""What the problem itself says of an output, held against a teacher's."""

from __future__ import annotations

import copy

from torch import Tensor

from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective
from dreamer.problems import Classification, Problem


class SoftTargets(Objective):
    """The problem's loss on a teacher's output: distillation for classes, mean squared error for numbers.

    The same recipe then serves every problem. On classes it is :class:`dreamer.objectives.Distillation`.

    Raises:
        ValueError: (when called) when the batch carries no teacher's output.

    >>> import torch
    >>> dream = Dream(torch.zeros(2, 4), torch.tensor([0, 1]), teacher=torch.eye(2))
    >>> round(float(SoftTargets()(Output(torch.eye(2)), dream, None)), 4)  # learner and teacher agree
    0.0
    """

    needs_teacher = True
    problem: Problem = Classification()

    def for_problem(self, problem: Problem) -> SoftTargets:
        """A copy for the outputs of this problem."""
        bound = copy.copy(self)
        bound.problem = problem
        return bound

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        if target.teacher is None:
            raise ValueError("SoftTargets needs a teacher's output, but the batch carries none")
        return self.weight * self.problem.soft_loss(output, target, active)

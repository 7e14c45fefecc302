"""What the problem itself says of an output, held against the targets."""

from __future__ import annotations

import copy

from torch import Tensor

from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective
from dreamer.problems import Classification, Problem


class HardTargets(Objective):
    """The problem's loss on its targets: cross-entropy for classes, mean squared error for numbers.

    The same recipe then serves every problem. On classes it is :class:`dreamer.objectives.CrossEntropy`.

    >>> import torch
    >>> loss = HardTargets()(Output(torch.zeros(2, 10)), Dream(torch.zeros(2, 4), torch.tensor([3, 7])), None)
    >>> round(float(loss), 4)  # the logarithm of 10
    2.3026
    """

    problem: Problem = Classification()

    def for_problem(self, problem: Problem) -> HardTargets:
        """A copy for the outputs of this problem."""
        bound = copy.copy(self)
        bound.problem = problem
        return bound

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        return self.weight * self.problem.hard_loss(output, target, active)

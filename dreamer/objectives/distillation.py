"""Agreement with a teacher's soft targets."""

from __future__ import annotations

from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import above
from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective
from dreamer.problems.softmax import softened_divergence


class Distillation(Objective):
    """``T^2 KL(softmax(teacher / T) || softmax(logits / T))`` (Hinton et al. 2015, arXiv 1503.02531).

    Teacher and learner are compared among the active outputs. A class that the teacher has not seen has the
    probability zero, and the learner is taught the same (van de Ven et al. 2020, ``loss_fn_kd``). A sample of which the
    teacher knows no active output adds nothing to the mean.

    Args:
        temperature: T, above 0; 2 as in learning without forgetting and in van de Ven et al. (2020).
        per_output: divide by the number of active outputs, so that the loss weighs the less the more classes there
            are: so did the code behind van de Ven and Tolias (2018), which took the mean over samples and classes.

    Raises:
        ValueError: when the temperature is not positive, or (when called) the batch carries no teacher's logits.

    >>> import torch
    >>> dream = Dream(torch.zeros(1, 4), torch.tensor([0]), teacher=torch.tensor([[1.0, -torch.inf]]))
    >>> float(Distillation()(Output(torch.tensor([[80.0, 0.0]])), dream, None))  # as sure of class 0 as the teacher
    0.0
    """

    needs_teacher = True
    needs_classes = True

    @checked
    def __init__(self, temperature: float = 2.0, weight: float = 1.0, per_output: bool = False):
        super().__init__(weight)
        above(0, temperature=temperature)
        self.temperature = temperature
        self.per_output = per_output

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        if target.teacher is None:
            raise ValueError("Distillation needs a teacher's logits, but the batch carries none")
        divergence = softened_divergence(output.logits, target.teacher, active, self.temperature, self.per_output)
        return self.weight * self.temperature**2 * divergence

"""Agreement with a teacher's soft targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective, silence


class Distillation(Objective):
    """``T^2 KL(softmax(teacher / T) || softmax(logits / T))`` (Hinton et al. 2015, arXiv 1503.02531).

    Teacher and learner are compared among the active outputs. Where the teacher never met a class, its share is zero,
    and the learner is taught to give none (van de Ven et al. 2020, ``loss_fn_kd``). Of a sample of which the teacher
    knows no active output it has nothing to say, and the sample adds nothing to the mean.

    Args:
        temperature: T, above 0; 2 as in learning without forgetting and in van de Ven et al. (2020).
        weight: factor of the loss.
        per_output: divide by the number of active outputs, so that the loss weighs the less the more classes there
            are: so did the code behind van de Ven and Tolias (2018), which took the mean over samples and classes.

    Raises:
        ValueError: when the temperature is not positive, or (when called) the batch carries no teacher's logits.
    """

    needs_teacher = True

    def __init__(self, temperature: float = 2.0, weight: float = 1.0, per_output: bool = False):
        super().__init__(weight)
        if temperature <= 0:
            raise ValueError(f"expected a temperature above 0, got {temperature}")
        self.temperature = temperature
        self.per_output = per_output

    def __call__(self, answer: Output, target: Dream, active: Tensor | None) -> Tensor:
        """See :class:`dreamer.objectives.Objective`."""
        if target.teacher is None:
            raise ValueError("Distillation needs a teacher's logits, but the batch carries none")
        taught = target.teacher if active is None else target.teacher.masked_fill(~active, -torch.inf)
        # a softmax over nothing but minus infinity is NaN
        speechless = torch.isneginf(taught).all(dim=1, keepdim=True)
        student = functional.log_softmax(silence(answer.logits, active) / self.temperature, dim=1)
        teacher = functional.softmax(taught.masked_fill(speechless, 0).to(student.dtype) / self.temperature, dim=1)
        teacher = teacher.masked_fill(speechless, 0)
        divergence = functional.kl_div(student, teacher, reduction="batchmean")
        if self.per_output:
            divergence = divergence / (student.shape[1] if active is None else active.sum(dim=1).float().mean())
        return self.weight * self.temperature**2 * divergence

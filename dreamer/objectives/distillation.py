"""Agreement with a teacher's soft targets."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from dreamer.objectives.base import silence
from dreamer.types import Dream


class Distillation:
    """``T^2 KL(softmax(teacher / T) || softmax(logits / T))`` (Hinton et al. 2015, arXiv 1503.02531).

    Args:
        temperature: T, above 0; 2 as in learning without forgetting and in van de Ven et al. (2020).
        weight: factor of the loss.

    Raises:
        ValueError: when the temperature is not positive, or (when called) the batch carries no teacher's logits.
    """

    needs_teacher = True

    def __init__(self, temperature: float = 2.0, weight: float = 1.0):
        if temperature <= 0:
            raise ValueError(f"expected a temperature above 0, got {temperature}")
        self.temperature = temperature
        self.weight = weight

    def __call__(self, logits: Tensor, target: Dream, active: Tensor | None) -> Tensor:
        """See :class:`dreamer.objectives.Objective`."""
        if target.teacher is None:
            raise ValueError("Distillation needs a teacher's logits, but the batch carries none")
        student = functional.log_softmax(silence(logits, active) / self.temperature, dim=1)
        teacher = functional.softmax(target.teacher.to(student.dtype) / self.temperature, dim=1)
        divergence = functional.kl_div(student, teacher, reduction="batchmean")
        return self.weight * self.temperature**2 * divergence

"""Agreement with a teacher's features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective, of_one_type


class FeatureDistillation(Objective):
    """Distance between the learner's features and the teacher's, which holds what lies before the last layers.

    ``squared``: ``mean_h (f_h - g_h)^2``, the hint loss of FitNets (Romero et al. 2015, arXiv 1412.6550) between
    layers of one width, where no regressor is needed; divided by H, so that the weight does not depend on the width.
    ``cosine``: ``1 - cos(f, g)``, the less-forget constraint (Hou et al. 2019, CVPR, "Learning a unified classifier
    incrementally via rebalancing"), which leaves the length of the features free.

    Outputs take no part, so it does not matter which are active.

    Args:
        distance: ``squared`` or ``cosine``; the first also holds the scale on which the last layers rely.

    Raises:
        ValueError: (when called) when the batch carries no teacher's features, the learner gave none, or the batch
            entered the learner behind its features, so that there is nothing to learn about them.

    >>> import torch
    >>> dream = Dream(torch.zeros(1, 4), torch.tensor([0]), teacher_features=torch.tensor([[1.0, 3.0]]))
    >>> float(FeatureDistillation()(Output(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]])), dream, None))
    2.0
    """

    needs_teacher = True
    needs_features = True

    @checked
    def __init__(self, distance: Literal["squared", "cosine"] = "squared", weight: float = 1.0):
        super().__init__(weight)
        self.distance = distance

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        if target.is_features:
            raise ValueError("FeatureDistillation needs dreams of samples, but these enter behind the features")
        if output.features is None or target.teacher_features is None:
            lacking = "learner" if output.features is None else "teacher"
            raise ValueError(
                f"FeatureDistillation needs features of learner and teacher, but the {lacking}'s are missing"
            )
        if self.distance == "cosine":
            alike = functional.cosine_similarity(output.features, target.teacher_features, dim=1)
            return self.weight * (1 - alike).mean()
        return self.weight * functional.mse_loss(*of_one_type(output.features, target.teacher_features))

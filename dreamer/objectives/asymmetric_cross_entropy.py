"""Cross-entropy that lets new classes compete with each other alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective, silence


class AsymmetricCrossEntropy(Objective):
    """Cross-entropy among the classes that are present in the batch (ER-ACE, Caccia et al. 2022, arXiv 2104.05025).

    Meant for the day's samples, with :class:`dreamer.objectives.CrossEntropy` for the replayed ones: a new class is
    told apart from its day's companions, and old classes, whose features it would push aside, are left to the replay.

    The authors' code (``methods/er_ace.py`` of pclucas14/AML) lets every output from the largest label met so far
    upwards compete as well, classes that were never met among them; those get no gradient here. From the first
    experience on it masks as is done here; mammoth (``models/er_ace.py``) leaves the first experience unmasked unless
    told otherwise. Both put a cosine classifier on their networks, which is no matter of the objective.

    Args:
        weight: factor of the loss.
    """

    def __call__(self, answer: Output, target: Dream, active: Tensor | None) -> Tensor:
        """See :class:`dreamer.objectives.Objective`."""
        labels = target.y if target.p is None else target.p
        present = torch.zeros_like(answer.logits[0], dtype=torch.bool)
        present[target.y] = True
        if target.p is not None:
            present = present | (target.p > 0).any(dim=0)
        active_classes = present.expand_as(answer.logits) if active is None else present & active
        return self.weight * functional.cross_entropy(silence(answer.logits, active_classes), labels)

"""Cross-entropy in which the classes of the batch alone are active."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective
from dreamer.problems.softmax import cross_entropy


class AsymmetricCrossEntropy(Objective):
    """Cross-entropy among the classes that are present in the batch (ER-ACE, Caccia et al. 2022, arXiv 2104.05025).

    Meant for real samples, with :class:`dreamer.objectives.CrossEntropy` for the replayed ones: a new class is
    distinguished from the other new ones, and old classes, whose features it would push aside, are left to the replay.

    The authors' code (``methods/er_ace.py`` of pclucas14/AML) also keeps active every output from the largest label
    seen so far upwards, classes that were never seen among them; those get no gradient here. From the first experience
    on it masks as is done here; mammoth (``models/er_ace.py``) leaves the first experience unmasked by
    default. Both put a cosine classifier on their networks, which is no matter of the objective.

    >>> output = Output(torch.tensor([[3.0, 0.0, 9.0]]))
    >>> float(AsymmetricCrossEntropy()(output, Dream(torch.zeros(1, 4), torch.tensor([0])), None))  # class 0 alone
    0.0
    """

    needs_classes = True

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        present = torch.zeros_like(output.logits[0], dtype=torch.bool)
        present[target.y] = True
        if target.p is not None:
            present = present | (target.p > 0).any(dim=0)
        active = present.expand_as(output.logits) if active is None else present & active
        return self.weight * cross_entropy(output.logits, target.y if target.p is None else target.p, active)

"""Agreement with logits themselves, rather than with what a softmax makes of them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.types import Dream, Output
from dreamer.objectives.base import Objective, of_one_type


class LogitMatching(Objective):
    """Mean squared error of the logits, over samples and outputs.

    ``stored``: against the learner's own output from when the sample was real, dark experience replay (DER, Buzzega et
    al. 2020, arXiv 2004.07211); DER++ adds the cross-entropy with the label. ``teacher``: against a teacher; with
    ``teacher: average`` of a stage the consistency loss of CLS-ER (Arani et al. 2022, arXiv 2201.12604).

    Outputs that are not active, or have no wanted logit (a teacher's ``-inf``, or what a growing head has silenced, for
    classes that were never seen), add nothing, and the mean runs over all outputs all the same: a mean
    over two outputs of ten would weigh five times as much as the authors' weights are meant for. The official codes
    match all outputs, seen or not (``models/der.py`` of aimagelab/mammoth, ``models/clser.py`` of NeurAI-Lab/CLS-ER):
    the same as ``stored`` with all outputs active, while ``teacher`` says nothing here of classes that are still to
    come.

    Args:
        to: whose logits are matched: those ``stored`` with the sample, or the ``teacher``'s.
        weight: factor of the loss, the authors' alpha. Their code has no default for it; on Split MNIST they take 0.2,
            1 and 0.5 with 200, 500 and 5120 stored samples, on Split CIFAR-10 0.3 (DER), CLS-ER takes 2 and 0.15.

    Raises:
        ValueError: (when called) when the batch carries no such logits.

    >>> dream = Dream(torch.zeros(1, 4), torch.tensor([0]), logits=torch.tensor([[1.0, 3.0]]))
    >>> float(LogitMatching()(Output(torch.tensor([[1.0, 1.0]])), dream, None))
    2.0
    """

    @checked
    def __init__(self, to: Literal["stored", "teacher"] = "stored", weight: float = 1.0):
        super().__init__(weight)
        self.to = to
        self.needs_teacher = to == "teacher"
        self.needs_logits = to == "stored"

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        wanted = target.logits if self.to == "stored" else target.teacher
        if wanted is None:
            whose = "logits stored with its samples" if self.to == "stored" else "a teacher's logits"
            raise ValueError(f"LogitMatching(to={self.to!r}) needs {whose}, but the batch carries none")
        # a head that grows had silenced, when they were stored, the outputs of classes that were still to come
        counted = wanted > torch.finfo(wanted.dtype).min / 8
        if active is not None:
            counted = counted & active
        # both before they are compared: infinity leaves NaN in the gradient even where it is not counted
        logits, wanted = of_one_type(output.logits, wanted)
        error = functional.mse_loss(logits.masked_fill(~counted, 0), wanted.masked_fill(~counted, 0), reduction="sum")
        return self.weight * error / wanted.numel()

"""Notices the first loss or weight that is not finite, without waiting for the device at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dreamer.core.errors import Diverged
from dreamer.core.types import Stage

EVERY = 50
"""Steps after which the losses so far are looked at; a look waits for the device."""


class FiniteWatch:
    """Keeps the losses of the last steps where they are, and looks at them and at the weights now and then.

    Args:
        every: steps between two looks.
    """

    def __init__(self, every: int = EVERY):
        self.every = every
        self._losses: list[Tensor] = []
        self._steps: list[int] = []

    def add(self, step: int, loss: Tensor | None) -> None:
        """Note the loss of a step; None where it had none."""
        if loss is not None:
            self._losses.append(loss.detach())
            self._steps.append(step)

    @property
    def due(self) -> bool:
        """Whether it is time for a look."""
        return len(self._losses) >= self.every

    @torch.no_grad()
    def look(self, stage: Stage, step: int, modules: Sequence[nn.Module]) -> None:
        """Look at the losses since the last look, and at all weights.

        Args:
            stage: the current one.
            step: within it, for what is said of weights.
            modules: whose parameters are looked at.

        Raises:
            Diverged: when one is not finite; names the first loss, else the first weight.
        """
        losses, steps = self._losses, self._steps
        self._losses, self._steps = [], []
        if losses:
            values = torch.stack([loss.float() for loss in losses]).cpu()
            wrong = (~values.isfinite()).nonzero().flatten().tolist()
            if wrong:
                raise _diverged(f"the loss is {_word(float(values[wrong[0]]))}", "loss", stage, steps[wrong[0]])
        named = [(name, weight) for module in modules for name, weight in module.named_parameters()]
        # a sum is had in a third of the time, and what is not finite makes it so; so may large weights, hence the rest
        if not named or torch.stack([weight.sum() for _, weight in named]).isfinite().all():
            return
        finite = torch.stack([weight.isfinite().all() for _, weight in named]).tolist()
        if not all(finite):
            name = named[finite.index(False)][0]
            raise _diverged(f"the weight {name} is not finite", "weight", stage, step)


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite"


def _diverged(what: str, kind: str, stage: Stage, step: int) -> Diverged:
    where = {
        "what": kind,
        "experience": stage.experience,
        "stage": stage.index,
        "kind": stage.kind,
        "step": step,
    }
    return Diverged(
        f"diverged: {what} at step {step} of stage {stage.index} ({stage.kind}, experience {stage.experience}): "
        "expected finite numbers; a lower learning rate or trainer.gradient_clip_val may help",
        where,
    )

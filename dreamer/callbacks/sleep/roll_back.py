"""Undoes a night of a module of one's own that made the score on validation data worse."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dreamer.callbacks.sleep.report import NightReport
from dreamer.core.limits import at_least


class RollBack:
    """Keeps weights and optimisers as they were in the evening, and brings them back after a night that did harm.

    Weights that are not trained are not kept; averages of weights by other callbacks stay as they are.

    Args:
        margin: by how much a night may make the score worse, in its own unit: fractions of 1 for accuracies, nats for
            the loss of a language model.

    Attributes:
        before: the score in the evening of the last night; None before the first.

    Raises:
        ValueError: when the margin is negative.
    """

    def __init__(self, margin: float):
        at_least(0, roll_back=margin)
        self.margin = margin
        self.before: float | None = None
        self._evening: dict[str, Any] | None = None

    def begin(self, trainer: Any, module: Any, report: NightReport) -> None:
        """A night begins.

        Raises:
            ValueError: when there is nothing by which it could be judged.
        """
        self.before = trainer.strategy.broadcast(report.before)
        if self.before is None:
            raise ValueError(
                "roll_back judges nights by validation data: expected a val_dataloader whose batches can be scored, by "
                "logits and labels or, with OwnText, by the loss of the language model"
            )
        optimizers = [one.state_dict() for one in trainer.optimizers]
        self._evening = copy.deepcopy({"weights": _trained(module), "optimizers": optimizers})

    def end(self, trainer: Any, module: Any, worse: float | None) -> bool:
        """A night is over; True when it is undone. What the first process finds holds for all."""
        worse = trainer.strategy.broadcast(worse)
        evening, self._evening = self._evening, None
        if evening is None or worse is None or not worse > self.margin:
            return False
        module.load_state_dict(evening["weights"], strict=False)
        for optimizer, state in zip(trainer.optimizers, evening["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        return True

    def state_dict(self) -> dict[str, Any] | None:
        """The evening, within a night; else None."""
        return None if self._evening is None else {"evening": self._evening, "before": self.before}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Resume from a state."""
        self._evening = None if state is None else dict(state["evening"])
        self.before = None if state is None else state["before"]


def _trained(module: Any) -> dict[str, Tensor]:
    """The state without the weights that are frozen."""
    frozen = {name for name, weight in module.named_parameters() if not weight.requires_grad}
    return {name: value for name, value in module.state_dict().items() if name not in frozen}

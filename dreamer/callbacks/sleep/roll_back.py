"""Undoes a night of a module of one's own that made the score on validation data worse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from dreamer.callbacks.sleep.report import NightReport


class RollBack:
    """Keeps weights and optimisers as they were in the evening, and brings them back after a night that did harm.

    Weights that are not trained are not kept; averages of weights by other callbacks stay as they are.

    Args:
        margin: by how much a night may make the score worse, in its own unit: fractions of 1 for accuracies, nats for
            the loss of a language model.

    Raises:
        ValueError: when the margin is negative or not finite.
    """

    def __init__(self, margin: float):
        if not 0 <= margin < math.inf:
            raise ValueError(f"expected roll_back of at least 0, or None, got {margin}")
        self.margin = margin
        self._evening: dict[str, Any] | None = None
        self._before: float | None = None

    def begin(self, trainer: Any, module: Any, report: NightReport) -> None:
        """A night begins.

        Raises:
            ValueError: when there is nothing by which it could be judged.
        """
        self._before = trainer.strategy.broadcast(report.before)
        if self._before is None:
            raise ValueError(
                "roll_back judges nights by validation data: expected a val_dataloader whose batches can be scored, by "
                "logits and labels or, with OwnText, by the loss of the language model"
            )
        self._evening = _cloned(
            {"weights": _trained(module), "optimizers": [one.state_dict() for one in trainer.optimizers]}
        )

    def end(self, trainer: Any, module: Any, worse: float | None) -> bool:
        """A night is over; True when it is undone. What the first process finds holds for all."""
        worse = trainer.strategy.broadcast(worse)
        evening, self._evening = self._evening, None
        if evening is None or worse is None or not worse > self.margin:
            return False
        module.load_state_dict(evening["weights"], strict=False)
        for optimizer, state in zip(trainer.optimizers, evening["optimizers"], strict=True):
            optimizer.load_state_dict(_cloned(state))
        return True

    def state_dict(self) -> dict[str, Any] | None:
        """The evening, within a night; else None."""
        return None if self._evening is None else {"evening": self._evening, "before": self._before}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Resume from a state."""
        self._evening = None if state is None else dict(state["evening"])
        self._before = None if state is None else state["before"]

    @property
    def before(self) -> float | None:
        """The score in the evening."""
        return self._before


def _trained(module: Any) -> dict[str, Tensor]:
    """The state without the weights that are frozen."""
    frozen = {name for name, weight in module.named_parameters() if not weight.requires_grad}
    return {name: value for name, value in module.state_dict().items() if name not in frozen}


def _cloned(state: Any) -> Any:
    return _pytree.tree_map_only(Tensor, torch.clone, state)

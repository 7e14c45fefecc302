"""The contract of the family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dreamer.core.hypnogram import Stretch


class Schedule(ABC):
    """Decides after which wake steps a night comes.

    A plain schedule does so in the plan and needs :meth:`cut` alone. A data-driven one leaves nights open there: it
    sees every wake step (:meth:`observe`), and decides when a stretch with an open night is completed
    (:meth:`decide`).

    Attributes:
        data_driven: True when it leaves nights open.
        wants_features: True when :meth:`observe` needs the learner's features.
    """

    data_driven: bool = False
    wants_features: bool = False

    @abstractmethod
    def cut(self, steps: int, completed: int, last: bool) -> list[Stretch]:
        """Cut the wake steps of one experience; the same arguments always give the same stretches.

        Args:
            steps: wake steps of the experience, at least 1.
            completed: wake steps of all experiences before it.
            last: True for the last experience of the stream.

        Returns:
            Stretches of at least one step that add up to ``steps``.
        """

    def rule(self) -> str:
        """When open nights are granted, and how many steps lie between them: one sentence, printed under the plan.

        Empty where no night is open.
        """
        return ""

    def observe(self, loss: float, features: Tensor | None) -> None:
        """Look at a wake step; on several devices each must pass the same values.

        Args:
            loss: the learner's loss on the real batch, before the step.
            features: (H,) mean of the learner's features over that batch; None unless :attr:`wants_features`.
        """
        return None

    def decide(self) -> bool:
        """True when a night follows the stretch that has just been completed; the call changes no state."""
        return False

    def slept(self) -> None:
        """A night has come, open or planned: start again."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What it has seen since the last night, as plain numbers and lists."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        return None

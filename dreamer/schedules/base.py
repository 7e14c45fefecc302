"""The contract of the family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dreamer.core.hypnogram import Stretch


class Schedule(ABC):
    """Says after which wake steps a night comes.

    A plain schedule says so in the plan and needs :meth:`cut` alone. A data-driven one leaves nights open there: it is
    shown every wake step (:meth:`observe`), and asked when a stretch with an open night has been lived
    (:meth:`decide`).

    Attributes:
        data_driven: True when it leaves nights open.
        wants_features: True when :meth:`observe` needs the learner's features.
    """

    data_driven: bool = False
    wants_features: bool = False

    @abstractmethod
    def cut(self, steps: int, lived: int, last: bool) -> list[Stretch]:
        """Cut the wake steps of one experience; the same arguments always give the same stretches.

        Args:
            steps: wake steps of the experience, at least 1.
            lived: wake steps of all experiences before it.
            last: True for the last experience of the stream.

        Returns:
            Stretches of at least one step that add up to ``steps``.
        """

    def rule(self) -> str:
        """When open nights are granted, and how many steps they lie apart: one sentence that is printed under the plan.

        Empty where no night is open.
        """
        return ""

    def observe(self, loss: float, features: Tensor | None) -> None:
        """Look at a wake step; on several devices each of them must be shown the same.

        Args:
            loss: the learner's loss on the day's batch, before the step.
            features: (H,) mean of the learner's features over that batch; None where they are not asked for.
        """
        return None

    def decide(self) -> bool:
        """True when a night follows the stretch that has just been lived; asking changes nothing that it learnt."""
        return False

    def slept(self) -> None:
        """A night has come, open or planned: begin anew."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What it has seen since the last night, as plain numbers and lists."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, as if nothing had happened."""
        return None

"""The loader of one stage: every batch, awake or asleep, reaches the Trainer through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dreamer.types import Stage, Step


class StageLoader:
    """Yields the steps of one stage, beginning where the ledger says.

    Its length is known, so Lightning fetches nothing ahead: a batch is drawn after the step before it is done.

    Args:
        stage: the stage.
        steps: draws the steps of the stage from a given step on.
        done: says, when iteration begins, how many steps of the stage are done.
    """

    def __init__(self, stage: Stage, steps: Callable[[int], Iterator[Step]], done: Callable[[], int]):
        self.stage = stage
        self._steps = steps
        self._done = done

    def __len__(self) -> int:
        return self.stage.steps

    def __iter__(self) -> Iterator[Step]:
        # a generator: the ledger is asked at the first batch, after a checkpoint has been loaded
        yield from self._steps(self._done())

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the position lies in the ledger. Its presence tells Lightning that the loader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load, see :meth:`state_dict`."""

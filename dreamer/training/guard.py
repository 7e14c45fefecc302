"""A guard over nights: one that made the held-out score worse is undone."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.utils import _pytree

from dreamer.core.types import Stage
from dreamer.metrics import AccuracyRow
from dreamer.metrics.record import seen_average

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule


class NightGuard:
    """Keeps the run as it was in the evening, and brings it back where the night made it worse.

    What is brought back is what a night changes: the learner, its moving averages and what else follows its weights,
    and the optimiser.

    Args:
        margin: by how much the mean held-out score over the experiences seen so far may become worse, in its own unit
            (fractions of 1 for accuracies); None undoes nothing, and keeps nothing.

    Raises:
        ValueError: when the margin is negative.
    """

    def __init__(self, margin: float | None):
        if margin is not None and not 0 <= margin < math.inf:
            raise ValueError(f"expected roll_back of at least 0, or none, got {margin}")
        self.margin = margin
        self._evening: dict[str, Any] | None = None
        self._undone = False
        # the evening's optimiser of a checkpoint, until Lightning has loaded the checkpoint's own
        self._loaded: dict[str, Any] | None = None

    def check(self, module: WakeSleepModule) -> None:
        """Raise a ValueError when there is nothing by which a night could be judged."""
        stream = module.stream
        if self.margin is not None and all(experience.validation is None for experience in stream.experiences):
            raise ValueError(
                f"roll_back judges nights by held-out data, but {stream.name} has none: expected a stream with "
                "validation above 0"
            )

    def begin(self, stage: Stage, module: WakeSleepModule) -> None:
        """A stage begins; the first of a night is the moment to keep the run."""
        if self.margin is not None and stage.kind != "wake" and stage.index_in_night == stage.cycle == 0:
            self._evening = copy.deepcopy(_state(module))

    def judge(self, stage: Stage, row: AccuracyRow, module: WakeSleepModule) -> AccuracyRow:
        """The row of a stage; where it is that of a night which is undone, the evening's, marked as rolled back."""
        rows, origins = module.ledger.rows, module.stream.origins
        if self.margin is None or self._evening is None or stage.kind == "wake":
            return row
        before, after = (seen_average(each, origins, "validation") for each in (rows[-1], row))
        if before is None or after is None:
            return row
        worse = before - after if module.problem.higher_is_better else after - before
        evening, self._evening = self._evening, None
        if not worse > self.margin:
            return row
        score = module.problem.score
        rank_zero_info(f"night {stage.night} is rolled back: held-out {score} {before:.4g} -> {after:.4g}")
        _restore(module, evening)
        self._undone = True
        undone = rows[-1].copy()
        undone["rolled_back"] = True
        undone["after"], undone["night"] = row["after"], row["night"]
        undone["stage"], undone["global_step"] = row["stage"], row["global_step"]
        return undone

    def resumed(self, module: WakeSleepModule) -> None:
        """Lightning has loaded the optimiser of a checkpoint after a pending night was undone: take it back too."""
        if self._undone and self._loaded is not None:
            _load_optimizer(module, self._loaded)
        self._loaded = None

    def state_dict(self) -> dict[str, Any] | None:
        """What is kept of the evening, as tensors and plain containers."""
        return self._evening

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Resume from a state."""
        self._evening = None if state is None else dict(state)
        self._undone, self._loaded = False, None if state is None else state["optimizer"]


def _state(module: WakeSleepModule) -> dict[str, Any]:
    return {
        "network": module.network.state_dict(),
        "plasticity": module.plasticity.state_dict(),
        "optimizer": module.trainer.optimizers[0].state_dict(),
    }


@torch.no_grad()
def _restore(module: WakeSleepModule, state: Mapping[str, Any]) -> None:
    module.network.load_state_dict(state["network"])
    module.plasticity.load_state_dict(state["plasticity"])
    _load_optimizer(module, state["optimizer"])


def _load_optimizer(module: WakeSleepModule, state: Mapping[str, Any]) -> None:
    module.trainer.optimizers[0].load_state_dict(_pytree.tree_map_only(Tensor, torch.clone, dict(state)))

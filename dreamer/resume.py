"""Lightning's loop counters, brought in line with the ledger when a checkpoint is loaded.

Lightning's own restart logic depends on the hook in which a checkpoint was written: one written at the last batch of
an epoch loses steps of the next, and an evaluation that was interrupted is skipped. The ledger knows where the life
stands; here the counters are rewritten to the two states from which Lightning continues correctly: before the first
batch of a stage, and right after a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamer.ledger import Ledger
    from dreamer.types import Stage


def align_loops(fit_loop: dict[str, Any], stage: int, step: int) -> None:
    """Rewrite the state of Lightning's fit loop, in place, so that it continues at a given batch.

    Args:
        fit_loop: ``checkpoint["loops"]["fit_loop"]`` (pytorch-lightning 2.4 to 2.6).
        stage: the stage (epoch) to continue in.
        step: batches of it that are done.
    """
    begun = stage + (step > 0)
    for counter in fit_loop["epoch_progress"].values():
        counter.update(ready=begun, started=begun, processed=stage, completed=stage)
    batches = fit_loop["epoch_loop.batch_progress"]
    batches["is_last_batch"] = False
    for counter, count in ((batches["total"], batches["total"]["ready"]), (batches["current"], step)):
        counter.update(ready=count, started=count, processed=count, completed=count)
    if "_batches_that_stepped" in fit_loop["epoch_loop.state_dict"]:
        steps = fit_loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]["completed"]
        fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] = steps


def change_devices(ledger: Ledger, before: Sequence[Stage], now: Sequence[Stage], devices: int, others: int) -> None:
    """Bring the ledger, in place, in line with a plan whose days have other steps because of the number of devices.

    Args:
        ledger: of the life that was lived on the one number.
        before: its plan.
        now: the plan on the other number.
        devices: on which it was lived.
        others: on which it goes on.

    Raises:
        ValueError: when the plans differ in more than the steps of their stages.
    """
    plans = ([replace(stage, steps=1, first_step=0) for stage in plan] for plan in (before, now))
    if next(plans) != next(plans):
        raise ValueError(
            f"the checkpoint was written on {devices} devices, and on {others} this life has other stages: "
            f"go on with {devices}, or give days a length of their own with Wake(steps=...)"
        )
    if ledger.stage == len(now) or now[ledger.stage].kind != "wake":
        return
    steps = now[ledger.stage].steps
    # as much of the day is behind, rounded up to a step
    ledger.step = steps if ledger.finished else min(-(-ledger.step * devices // others), steps)
    ledger.finished = ledger.step == steps

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
    from dreamer.core.ledger import Ledger
    from dreamer.core.types import Stage


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


def reopen_epoch(fit_loop: dict[str, Any]) -> None:
    """Rewrite the state of Lightning's fit loop, in place, so that it continues within the epoch that was begun.

    A Trainer that is stopped within an epoch counts it as over, and would call what is left of it the next.

    Args:
        fit_loop: as for :func:`align_loops`.
    """
    for counter in fit_loop["epoch_progress"].values():
        counter.update(processed=counter["started"] - 1, completed=counter["started"] - 1)


def change_devices(ledger: Ledger, before: Sequence[Stage], now: Sequence[Stage], devices: int, others: int) -> None:
    """Bring the ledger, in place, in line with another number of devices, on which a step meets other samples.

    Args:
        ledger: of the life that was lived on the one number.
        before: its plan.
        now: the plan on the other number; where days have no length of their own, the steps of its days are others.
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
    day = next((stage for stage in before[ledger.stage :] if stage.kind == "wake"), None)
    awake = day is not None and day.index == ledger.stage
    done = ledger.step if awake else 0
    if day is None or (day.opens and not done):
        return  # no experience is cut
    # nothing is met twice: the next sample is the next that nobody has met, rounded up to a step
    met = -(-(day.first_step + done + ledger.ahead) * devices // others)
    steps = now[day.index].steps
    if awake and steps != day.steps:
        done = steps if ledger.finished else min(-(-done * devices // others), steps)
        ledger.step, ledger.finished = done, done == steps
    ledger.ahead = met - now[day.index].first_step - done

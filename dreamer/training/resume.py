"""Lightning's loop counters and the plan, brought in line with the ledger when a checkpoint is loaded.

Lightning's own restart logic depends on the hook in which a checkpoint was written: one written at the last batch of
an epoch loses steps of the next, and an evaluation that was interrupted is skipped. The ledger knows where the run
stands; here the counters are rewritten to the two states from which Lightning continues correctly: before the first
batch of a stage, and right after a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dreamer.core.hypnogram import Hypnogram

if TYPE_CHECKING:
    from dreamer.core.ledger import Ledger
    from dreamer.core.types import Stage


def align_loops(fit_loop: dict[str, Any], ledger: Ledger) -> None:
    """Rewrite the state of Lightning's fit loop, in place, so that it continues where the ledger stands.

    Args:
        fit_loop: ``checkpoint["loops"]["fit_loop"]`` (pytorch-lightning 2.4 to 2.6).
        ledger: says the stage (epoch) to continue in, and how many batches of it are done.
    """
    stage, step = (ledger.stage + 1, 0) if ledger.finished else (ledger.stage, ledger.step)
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


def resumed_plan(
    saved: Mapping[str, Any],
    plan: Hypnogram,
    seed: int,
    devices: int,
    data_driven: bool,
    plan_for: Callable[[int], Hypnogram],
    ledger: Ledger,
) -> Hypnogram:
    """The plan to continue with: this run's, or, where nights were left open, the checkpoint's.

    On another number of devices an experience may have another number of steps; then this plan counts, and the ledger
    is brought in line with it.

    Args:
        saved: what the checkpoint says of its run: ``seed``, ``hypnogram`` and ``devices``.
        plan: of this run.
        seed: of this run.
        devices: of this run.
        data_driven: whether its schedule leaves nights open.
        plan_for: the plan of this run for a number of devices.
        ledger: the checkpoint's.

    Raises:
        ValueError: when the checkpoint belongs to a run with another plan or seed.
    """
    records, mine = saved["hypnogram"] or [], plan.as_records()
    theirs = mine if saved["devices"] == devices else plan_for(saved["devices"]).as_records()
    if saved["seed"] != seed or (records != theirs and not (records and data_driven)):
        raise ValueError(
            "the checkpoint belongs to another run: "
            f"expected seed {seed} and the {len(theirs)} stages of this plan, "
            f"got seed {saved['seed']} and {len(records)} stages"
        )
    if theirs == mine != records:
        plan = Hypnogram.from_records(records)
    if saved["devices"] != devices:
        change_devices(ledger, Hypnogram.from_records(records), plan, saved["devices"], devices)
    return plan


def change_devices(ledger: Ledger, before: Sequence[Stage], now: Sequence[Stage], devices: int, others: int) -> None:
    """Bring the ledger, in place, in line with another number of devices, on which a step has other samples.

    Args:
        ledger: of the run on the one number.
        before: its plan.
        now: the plan on the other number; where wake stages have no length of their own, their steps are others.
        devices: on which it ran.
        others: on which it continues.

    Raises:
        ValueError: when the plans differ in more than the steps of their stages.
    """
    plans = ([replace(stage, steps=1, first_step=0) for stage in plan] for plan in (before, now))
    if next(plans) != next(plans):
        raise ValueError(
            f"the checkpoint was written on {devices} devices, and on {others} this run has other stages: "
            f"continue on {devices}, or give experiences a length of their own with Wake(steps=...)"
        )
    wake = next((stage for stage in before[ledger.stage :] if stage.kind == "wake"), None)
    awake = wake is not None and wake.index == ledger.stage
    done = ledger.step if awake else 0
    if wake is None or (wake.opens and not done):
        return  # no experience is cut
    # no sample comes twice: the next one is the next that no process has had, rounded up to a step
    seen = -(-(wake.first_step + done + ledger.ahead) * devices // others)
    steps = now[wake.index].steps
    if awake and steps != wake.steps:
        done = steps if ledger.finished else min(-(-done * devices // others), steps)
        ledger.step, ledger.finished = done, done == steps
    ledger.ahead = seen - now[wake.index].first_step - done

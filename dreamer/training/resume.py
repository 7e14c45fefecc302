"""What a run adds to a checkpoint, and Lightning's loop counters, brought in line with the ledger when it is loaded.

Lightning's own restart logic depends on the hook in which a checkpoint was written: one written at the last batch of
an epoch loses steps of the next, and an evaluation that was interrupted is skipped. The ledger knows where the run
stands; here the counters are rewritten to the two states from which Lightning continues correctly: before the first
batch of a stage, and right after a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from dreamer.core.hypnogram import Hypnogram
from dreamer.networks.base import plain_name
from dreamer.training.distributed import all_gather, restore
from dreamer.training.trainer import optimizers_in

if TYPE_CHECKING:
    from dreamer.core.ledger import Ledger
    from dreamer.core.types import Stage
    from dreamer.training.module import WakeSleepModule


def save_run(module: WakeSleepModule, checkpoint: dict[str, Any]) -> None:
    """Add the sleeper's state, the plan and the memories of all processes, as plain containers and tensors."""
    module.ledger.saved_at = module.global_step
    state = module.sleeper.state_dict()
    checkpoint["state_dict"] = {plain_name(name): value for name, value in checkpoint["state_dict"].items()}
    checkpoint["dreamer"] = state | {
        "hypnogram": module.hypnogram.as_records() if module.planned else None,
        "memory": None if module.memory is None else all_gather(state["memory"]),
        "devices": module.trainer.world_size,
        "evening": module.guard.state_dict(),
        "origin": module.origin.record(module.stream, _optimizers(module)) if module.planned else None,
    }


def load_run(module: WakeSleepModule, checkpoint: dict[str, Any]) -> Hypnogram | None:
    """Take back what :func:`save_run` added, and let Lightning continue where the ledger stands.

    Raises:
        ValueError: when the checkpoint belongs to a run with another plan, seed, stream or parts.
    """
    saved = checkpoint["dreamer"]
    if module.planned and not module.accept_changes:
        module.origin.check(saved.get("origin"), module.stream, _optimizers(module))
    mine = {plain_name(name): name for name in module.state_dict()}
    checkpoint["state_dict"] = {mine.get(name, name): value for name, value in checkpoint["state_dict"].items()}
    module.sleeper.load_state_dict(saved)
    # checkpoints of earlier versions have none
    module.guard.load_state_dict(saved.get("evening"))
    plan = resumed_plan(saved, module, module.trainer.world_size) if module.planned else None
    if module.memory is not None and saved["memory"] is not None:
        restore(module.memory, saved["memory"])
    if "loops" in checkpoint:
        align_loops(checkpoint["loops"]["fit_loop"], module.ledger)
    return plan


def _optimizers(module: WakeSleepModule) -> list[torch.optim.Optimizer]:
    return optimizers_in(module.configure_optimizers())


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
    """
    for counter in fit_loop["epoch_progress"].values():
        counter.update(processed=counter["started"] - 1, completed=counter["started"] - 1)


def resumed_plan(saved: Mapping[str, Any], module: WakeSleepModule, devices: int) -> Hypnogram:
    """The plan to continue with: this run's, or, where nights were left open, the checkpoint's.

    On another number of devices an experience may have another number of steps; then this plan counts, and the module's
    ledger is brought in line with it.

    Args:
        saved: what the checkpoint says of its run: ``seed``, ``hypnogram`` and ``devices``.
        module: of this run; its ledger is the checkpoint's already.
        devices: of this run.

    Raises:
        ValueError: when the checkpoint belongs to a run with another plan or seed.
    """
    plan, records = module.hypnogram, saved["hypnogram"] or []
    mine, before = plan.as_records(), saved["devices"]
    theirs = mine if before == devices else module.plan(module.stream, before).as_records()
    if saved["seed"] != module.seed or (records != theirs and not (records and module.schedule.data_driven)):
        raise ValueError(
            "the checkpoint belongs to another run: "
            f"expected seed {module.seed} and the {len(theirs)} stages of this plan, "
            f"got seed {saved['seed']} and {len(records)} stages"
        )
    if theirs == mine != records:
        plan = Hypnogram.from_records(records)
    if before != devices:
        change_devices(module.ledger, Hypnogram.from_records(records), plan, before, devices)
    return plan


def change_devices(ledger: Ledger, before: Sequence[Stage], now: Sequence[Stage], devices: int, others: int) -> None:
    """Bring the ledger, in place, in line with another number of devices, on which a step has other samples.

    Args:
        now: the plan on the other number; where wake stages have no length of their own, their steps are others.

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

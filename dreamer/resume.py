"""Lightning's loop counters, brought in line with the ledger when a checkpoint is loaded.

Lightning's own restart logic depends on the hook in which a checkpoint was written: one written at the last batch of
an epoch loses steps of the next, and an evaluation that was interrupted is skipped. The ledger knows where the life
stands; here the counters are rewritten to the two states from which Lightning continues correctly: before the first
batch of a stage, and right after a batch.
"""

from __future__ import annotations

from typing import Any


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

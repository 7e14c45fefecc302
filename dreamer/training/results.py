"""What a run has come to, as plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dreamer.config.registry import name_of
from dreamer.loop.plan import kept_bytes
from dreamer.metrics import AccuracyRow
from dreamer.metrics.record import protocol_record, results_record

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule


def run_results(module: WakeSleepModule, rows: list[AccuracyRow]) -> dict[str, Any]:
    """The results of a run, see :meth:`dreamer.training.module.WakeSleepModule.results`."""
    ledger, stream, plan = module.ledger, module.stream, module.hypnogram
    steps, sizes = dict(ledger.optimizer_steps), module.bytes()
    if ledger.step:
        steps[plan[ledger.stage].kind] += module.global_step - ledger.opened_at
    current = plan[min(ledger.stage, len(plan) - 1)].experience
    sizes["memory"] += kept_bytes(stream, current, module.wake)
    return results_record(
        complete=ledger.stage == len(plan),
        seed=module.seed,
        protocol=protocol_record(stream, module.problem, name_of(type(module.problem)), module.active_outputs),
        hypnogram=plan.as_records(),
        rows=rows,
        origins=stream.origins,
        cost={
            "optimizer_steps": steps,
            "samples": dict(ledger.samples),
            "seconds": dict(ledger.seconds),
            "bytes": sizes,
        },
    )

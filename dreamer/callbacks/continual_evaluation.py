"""What happens to old experiences on the way: evaluations every few steps, without changing the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from dreamer.core.arguments import checked
from dreamer.metrics import AccuracyRow, Stability, stability
from dreamer.metrics.record import step_logs

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule


class ContinualEvaluation(Callback):
    """Scores old experiences every N steps within a stage, awake and asleep, on held-out training data.

    Evaluations after stages do not see the stability gap: old experiences that are forgotten at the first steps of a
    new one, and learnt again later (De Lange et al. 2023, arXiv 2205.13452). This callback looks in between, from the
    second experience on. It uses the run's one evaluation, on the held-out data of the experiences seen so far; a run
    without held-out data is not measured, with a warning. The run comes out the same with it and without it, bit for
    bit.

    It costs seconds and no optimiser step: one pass over the held-out data of the experiences seen so far, every N
    steps. :attr:`seconds` adds them up; they are among the seconds of evaluations in the results.

    Args:
        every_n_steps: batches of a stage between two evaluations, counted from its beginning. 1 finds the true worst
            scores, larger numbers may miss them.

    Attributes:
        rows: one for each evaluation, as in the accuracy matrix, with ``after`` ``step`` and no test scores.
        seconds: that they took.

    Raises:
        ValueError: when ``every_n_steps`` is below 1.
    """

    @checked
    def __init__(self, every_n_steps: int = 50):
        if every_n_steps < 1:
            raise ValueError(f"expected every_n_steps of at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self.rows: list[AccuracyRow] = []
        self.seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The rows so far: a resumed run has all of them."""
        return {"rows": [dict(row) for row in self.rows], "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the checkpoint."""
        self.rows, self.seconds = [row.copy() for row in state_dict["rows"]], state_dict["seconds"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Begin anew, unless a run is resumed."""
        ledger = pl_module.ledger
        if not (ledger.stage or ledger.step):
            self.rows, self.seconds = [], 0.0
        if all(experience.validation is None for experience in pl_module.stream.experiences):
            rank_zero_warn("nothing is evaluated within stages: the stream has no held-out data (stream.validation)")

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: WakeSleepModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Evaluate when it is due."""
        ledger, stream = pl_module.ledger, pl_module.stream
        old = [number for number in stream.origins if number < stream.origins[ledger.experience]]
        if not trainer.is_global_zero or not old or ledger.step % self.every_n_steps:
            return
        before = ledger.seconds["examination"]
        row = pl_module.step_row()
        if row["validation"] is None:
            return
        self.rows.append(row)
        self.seconds += ledger.seconds["examination"] - before
        for logger in trainer.loggers:
            logger.log_metrics(step_logs(row, stream.origins, pl_module.problem), step=trainer.global_step)

    def stability(self, module: WakeSleepModule) -> Stability:
        """Gap, recovery and worst scores of the run so far."""
        rows, problem = module.ledger.rows, module.problem
        return stability(rows, self.rows, module.stream.origins, problem.higher_is_better)

    def record(self) -> dict[str, Any]:
        """What ``results.json`` holds of it: the rows, and what they cost."""
        return {
            "every_n_steps": self.every_n_steps,
            "cost": {"evaluations": len(self.rows), "optimizer_steps": 0, "seconds": self.seconds},
            "rows": self.rows,
        }

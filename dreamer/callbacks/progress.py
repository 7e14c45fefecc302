"""A live display of a run: which stage, which experience, step of steps, accuracy so far, time left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from dreamer.core.text import plural
from dreamer.core.types import KINDS, Kind, Stage
from dreamer.metrics.continual import average_seen, whole_rows
from dreamer.report.score import Score

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from dreamer.training.module import WakeSleepModule

_STYLES = {"wake": "yellow", "nrem": "blue", "rem": "magenta"}
_REFRESH_SECONDS = 0.5
_AT_MOST = 0.01
"""The part of the process's CPU time that drawing may take: on a machine that is busy seconds pass in a few steps."""
_GAP = 2
"""Letters between two parts of a line."""
_SHORTEST, _LONGEST = 4, 28
"""Letters of the bar."""
_LOGGERS = (None, "pytorch_lightning", "lightning_fabric", "lightning", "lightning.pytorch", "lightning.fabric")


class Pace:
    """Seconds per step of each kind of stage and per evaluation, as seen so far."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys((*KINDS, "evaluation"), 0.0)
        self._count = dict.fromkeys((*KINDS, "evaluation"), 0)

    def add(self, what: str, count: int, seconds: float) -> None:
        """Count steps of a kind of stage, or evaluations, that took so many seconds together."""
        self._count[what] += count
        self._seconds[what] += seconds

    def left(self, steps: Mapping[Kind, int], evaluations: int) -> float | None:
        """Seconds that lie ahead; None while nothing has been seen.

        Args:
            steps: steps ahead of each kind; a kind not seen yet counts as fast as the others together.
        """
        seen = sum(self._count[kind] for kind in KINDS)
        if not seen:
            return None
        common = sum(self._seconds[kind] for kind in KINDS) / seen
        per = {kind: self._seconds[kind] / self._count[kind] if self._count[kind] else common for kind in KINDS}
        evaluation = self._seconds["evaluation"] / max(1, self._count["evaluation"])
        return sum(per[kind] * steps[kind] for kind in KINDS) + evaluation * evaluations


class RunProgress(ProgressBar):
    """Shows where a run stands; give it to the Trainer among its callbacks.

    In a terminal two lines are kept up to date, at most twice a second, in at most a hundredth of the CPU time, and
    without a thread of their own; anywhere else, such as a pipe or a log file, one plain line is written per finished
    stage. It writes to the standard error, so that what a program prints can be piped on.

    Args:
        refresh_rate: steps between two looks at the clock; 0 shows nothing.
        file: where to write; by default the standard error.
    """

    def __init__(self, refresh_rate: int = 1, file: IO[str] | None = None):
        super().__init__()
        self.refresh_rate = refresh_rate
        self._file = file
        self._enabled = refresh_rate > 0
        self._console: Console | None = None
        self._live: Live | None = None
        self._pace = Pace()
        self._stage: Stage | None = None
        self._step = 0
        self._done = 0
        self._counted = 0
        self._began = self._timed = self._due = self._rested = 0.0
        self._closed: float | None = None

    def enable(self) -> None:
        """Show the display from the next step on."""
        self._enabled = self.refresh_rate > 0

    def disable(self) -> None:
        """Show nothing."""
        self._enabled = False
        self._stop()

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the display."""
        if self._live is not None:
            self._live.console.print(*args, **kwargs)
        else:
            print(*args, **kwargs)

    # ---------------------------------------------------------------- events of the Trainer

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse modules that have no stages to show."""
        super().setup(trainer, pl_module, stage)
        if not hasattr(type(pl_module), "hypnogram"):
            raise TypeError(
                f"RunProgress shows the run of a WakeSleepModule; a {type(pl_module).__name__} has no hypnogram"
            )

    def on_fit_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Open the display."""
        from rich.console import Console

        self._pace, self._stage, self._closed = Pace(), None, None
        self._due = self._rested = 0.0
        self._console = Console(file=self._file or sys.stderr, highlight=False)
        if not pl_module.ledger.rows:
            self._show(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Turn to the stage in which a resumed run goes on: within an epoch, Lightning does not start it again."""
        if pl_module.ledger.step:
            self._open(pl_module, pl_module.hypnogram[pl_module.ledger.stage])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Turn to the next stage."""
        self._finish(pl_module)
        self._open(pl_module, pl_module.hypnogram[trainer.current_epoch])

    def _open(self, pl_module: WakeSleepModule, stage: Stage) -> None:
        self._stage = stage
        self._step = pl_module.ledger.step if pl_module.ledger.stage == stage.index else 0
        self._done = self._counted = 0
        self._began = self._timed = time.monotonic()
        if self._is_due():
            self._show(pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: WakeSleepModule,  # type: ignore[override]  # a run has no other module
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count, and look at the clock."""
        self._step = batch_idx + 1
        self._done += 1
        if self._enabled and self._step % self.refresh_rate == 0 and self._is_due():
            self._show(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Close the stage; from here until the next one the module may evaluate itself."""
        self._time_steps()
        self._closed = time.monotonic()
        if self._stage is not None and self._stage.evaluated:
            # which may take a while, and should not look like a step that hangs
            self._show(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Leave the last state on the screen."""
        self._finish(pl_module)
        self._show(pl_module)
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._stop()

    # ---------------------------------------------------------------- what is shown

    def _finish(self, pl_module: WakeSleepModule) -> None:
        """Time what followed the stage's last step, and print the stage's line where nothing is shown live."""
        if self._closed is None or self._stage is None:
            return
        if self._stage.evaluated:
            self._pace.add("evaluation", 1, time.monotonic() - self._closed)
        if self._enabled and self._console is not None and not _is_live(self._console):
            seconds = self._closed - self._began
            total = self._length(self._stage)
            stopped = f", stopped at step {self._step} of {total}" if self._step < total else ""
            took = f"{plural(self._done, 'step')} in {seconds:.1f} s{stopped}"
            self._console.print(", ".join((self._where(pl_module), took, *self._outlook(pl_module))), soft_wrap=True)
        self._closed = None

    def _is_due(self) -> bool:
        return time.monotonic() >= self._due and time.process_time() >= self._rested

    def _show(self, pl_module: WakeSleepModule) -> None:
        self._due = time.monotonic() + _REFRESH_SECONDS
        if not self._enabled or self._console is None or not _is_live(self._console):
            return
        if self._live is None:
            from rich.live import Live

            # prints go through the display only where they would disturb it, never out of a pipe
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())
            before = sys.stderr
            self._live.start()
            self._lead_logs(before, sys.stderr)
        if self._closed is None:
            self._time_steps()
        began = time.process_time()
        self._live.update(self._picture(pl_module, self._console), refresh=True)
        ended = time.process_time()
        self._rested = ended + (ended - began) / _AT_MOST

    def _time_steps(self) -> None:
        """Add the steps made since the last time, and their seconds, to the pace."""
        if self._stage is not None:
            now = time.monotonic()
            self._pace.add(self._stage.kind, self._done - self._counted, now - self._timed)
            self._counted, self._timed = self._done, now

    def _stop(self) -> None:
        if self._live is not None:
            through = sys.stderr
            self._live.stop()
            self._lead_logs(through, sys.stderr)
            self._live = None

    @staticmethod
    def _lead_logs(before: IO[str], after: IO[str]) -> None:
        """Let Lightning's log lines, whose handlers keep the stream they were made with, go where the errors go."""
        for name in _LOGGERS:
            for handler in logging.getLogger(name).handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is before and before is not after:
                    handler.setStream(after)

    def _picture(self, pl_module: WakeSleepModule, console: Console) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar as Bar
        from rich.table import Table
        from rich.text import Text

        if self._stage is None:
            return Text("evaluating the untrained network", style="dim")
        stage, total = self._stage, self._length(self._stage)
        style = _STYLES[stage.kind]
        first = Table.grid(padding=(0, _GAP))
        state = "evaluating" if self._closed is not None and stage.evaluated else f"step {self._step} of {total}"
        kind, where = f"{stage.kind:<4}", self._where(pl_module)
        # the bar gives way where the terminal is narrow, not the words
        room = console.width - sum(map(len, (kind, where, state))) - 3 * _GAP
        width = max(_SHORTEST, min(room, _LONGEST))
        first.add_row(
            Text(kind, style=f"bold {style}"),
            Text(where),
            Bar(total=total, completed=self._step, width=width, complete_style=style, finished_style=style),
            Text(state),
        )
        return Group(first, Text(" · ".join(self._outlook(pl_module)), style="dim"))

    def _where(self, pl_module: WakeSleepModule) -> str:
        assert self._stage is not None
        stage, plan = self._stage, pl_module.hypnogram
        experiences = 1 + max(entry.experience for entry in plan)
        night = "" if stage.kind == "wake" else f"night {stage.night + 1} of {plan.nights}, "
        kind = "" if self._live is not None else f"{stage.kind}, "
        return (
            f"{kind}{night}experience {stage.experience + 1} of {experiences}, stage {stage.index + 1} of {len(plan)}"
        )

    def _outlook(self, pl_module: WakeSleepModule) -> Iterable[str]:
        rows = whole_rows(pl_module.ledger.rows[-1:], pl_module.stream.origins)
        seen = average_seen(rows[-1]["accuracy"], rows[-1]["experience"]) if rows else None
        if seen is not None:
            problem = pl_module.problem
            score = Score(problem.score, problem.unit, problem.higher_is_better)
            yield f"{score.name} so far {score.write(seen)}{score.sign.strip()}"
        left = self._pace.left(*self._ahead(pl_module))
        if left is not None:
            yield f"{timedelta(seconds=round(left))} left"

    def _ahead(self, pl_module: WakeSleepModule) -> tuple[dict[Kind, int], int]:
        """Steps of each kind and evaluations that lie ahead."""
        steps, evaluations = dict.fromkeys(KINDS, 0), 0
        assert self._stage is not None
        done = self._step
        budget = self.trainer.max_steps - self.trainer.global_step if self.trainer.max_steps >= 0 else sys.maxsize
        for stage in pl_module.hypnogram[self._stage.index : self.trainer.max_epochs]:
            ahead = min(self._length(stage) - done, budget)
            steps[stage.kind] += ahead
            evaluations += stage.evaluated and stage.index >= pl_module.ledger.stage
            budget -= ahead
            done = 0
        return steps, evaluations

    def _length(self, stage: Stage) -> int:
        """Steps of a stage, cut to ``limit_train_batches``."""
        limit = self.trainer.limit_train_batches
        return max(1, min(stage.steps, limit) if isinstance(limit, int) else int(stage.steps * (limit or 1.0)))


def _is_live(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal

"""Everything that a run leaves on disk: ``results.json``, ``metrics.csv``, pictures, the dreams of every night."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.continual_evaluation import ContinualEvaluation
from dreamer.callbacks.dream_quality import DreamQuality
from dreamer.callbacks.run_origin import RunOrigin
from dreamer.core.arguments import checked
from dreamer.core.errors import Diverged
from dreamer.loggers.csv import write_metrics
from dreamer.loggers.pictures import log_pictures
from dreamer.report.dream_texts import write_dreams
from dreamer.report.pictures import draw_dreams, draw_hypnogram, draw_matrix
from dreamer.report.results import compose, write_results

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule

_LOG = logging.getLogger(__name__)


class RunFolder(Callback):
    """Keeps a run folder::

        results.json     numbers of the whole run, also of one that broke off
        metrics.csv      everything that was logged (when the Trainer's logger is a ResumableCSVLogger of this folder)
        hypnogram.png    stages over time, accuracy under them
        matrix.png       accuracy matrix after each wake and each night
        dreams/night_00.png ...   night_00.txt ... where samples are texts

    Where the Trainer has a :class:`dreamer.callbacks.DreamQuality`, its rows are ``dreams`` in the results, and drawn
    under the hypnogram; where it has a :class:`dreamer.callbacks.ContinualEvaluation`, its rows are ``continual``, and
    the metrics have the stability gap. The pictures also go to every logger of the Trainer that takes pictures. Only
    rank 0 writes.

    Args:
        directory: the run folder.
        config: any plain dictionary; stored in ``results.json``.
        name: what the run is called; by default the name of the folder.
        dreams_per_class: samples of each class in the picture of a night; 0 draws none.
    """

    @checked
    def __init__(
        self,
        directory: str | Path,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
        dreams_per_class: int = 8,
    ):
        self.directory = Path(directory)
        self.config = dict(config or {})
        self.name = self.directory.resolve().name if name is None else name
        self.dreams_per_class = dreams_per_class
        self._began = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Draw the night that a killed process had finished but not closed."""
        self._began = True
        self._draw_night(trainer, pl_module, pl_module.ledger.saved_at)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Draw what was dreamt when a night is over."""
        self._draw_night(trainer, pl_module, trainer.global_step)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Bring what was logged so far to disk: a run resumed from this checkpoint will not log it again."""
        _flush(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Write the run, behind its last checkpoint."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RunCheckpoint):
                callback.close(trainer, pl_module)
        if trainer.is_global_zero:
            self._write(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: WakeSleepModule, exception: BaseException) -> None:  # type: ignore[override]
        """Write what there is of a run that breaks off, and never hide the reason."""
        # before the fit began, a checkpoint may not have been loaded: then what lies here says more than this module
        if not (trainer.is_global_zero and self._began):
            return
        try:
            self._write(trainer, pl_module, exception)
        except Exception as problem:
            if isinstance(exception, OSError):
                return  # it says the same
            rank_zero_warn(f"could not write what there is of this run to {self.directory}: {problem!r}")

    def _draw_night(self, trainer: pl.Trainer, module: WakeSleepModule, step: int) -> None:
        ledger = module.ledger
        if not (trainer.is_global_zero and self.dreams_per_class and ledger.finished):
            return
        stage = module.hypnogram[ledger.stage]
        dream = module.gallery(self.dreams_per_class) if module.hypnogram.closes_night(stage) else None
        if dream is None:
            return
        path, stream = self.directory / "dreams" / f"night_{stage.night:02d}.png", module.stream
        if stream.tokens is not None:
            write_dreams(dream.x, dream.y, path.with_suffix(".txt"), stream.tokens, stream.class_names)
            return
        sure = None
        if dream.teacher is not None:
            sure = dream.teacher.softmax(1).gather(1, dream.y[:, None])[:, 0]
        if draw_dreams(dream.x, dream.y, path, stream.class_names, sure) is not None:
            log_pictures(trainer.loggers, {"sleep/dreams": path}, step, {"sleep/night": stage.night})
        else:
            _LOG.info(
                "night %d has no picture: nothing is drawn of samples of shape %s", stage.night, dream.x.shape[1:]
            )

    def _write(self, trainer: pl.Trainer, module: WakeSleepModule, broken: BaseException | None = None) -> None:
        _flush(trainer)
        write_metrics(self.directory)
        record = module.results()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, DreamQuality):
                record["dreams"] = callback.rows
            if isinstance(callback, RunOrigin) and callback.forced:
                record["forced"] = callback.forced
            if isinstance(callback, ContinualEvaluation):
                record["continual"] = callback.record()
                record["metrics"] |= callback.stability(module)
        if isinstance(broken, Diverged):
            record["diverged"] = broken.where
        complete = bool(record["complete"]) and broken is None
        results = compose(record, name=self.name, config=self.config, complete=complete)
        pictures = {
            "stream/hypnogram": draw_hypnogram(results, self.directory / "hypnogram.png"),
            "stream/accuracy_matrix": draw_matrix(results, self.directory / "matrix.png"),
        }
        log_pictures(trainer.loggers, pictures, trainer.global_step, {})
        for logger in trainer.loggers:
            if type(logger).__name__ == "WandbLogger":
                from dreamer.loggers.wandb import keep_results

                kept = cast(Any, logger)
                keep_results(kept, results, write_results(results, kept.experiment.dir))
        write_results(results, self.directory)  # last: who finds them complete finds all


def _flush(trainer: pl.Trainer) -> None:
    for logger in trainer.loggers:
        logger.save()

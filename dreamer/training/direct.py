"""Lightning's loop over the batches of a stage, without the calls that nobody listens to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.plugins import Precision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import SingleDeviceStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from dreamer.training.data import StreamDataModule

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule

_BETWEEN = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
"""Hooks of callbacks and modules within a step."""
_OF_MODULES = (
    *("on_train_batch_start", "on_train_batch_end", "backward", "optimizer_step", "optimizer_zero_grad"),
    *("configure_gradient_clipping", "on_before_batch_transfer", "on_after_batch_transfer"),
)
_OF_DATA = ("on_before_batch_transfer", "on_after_batch_transfer")
_KNOWN = "2.6."
"""The Lightning whose steps these are."""
_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"


class DirectLoop(_TrainingEpochLoop):
    """Zeroes gradients, computes the loss, calls backward and steps, with nothing in between.

    Lightning surrounds each of these by hooks of strategy, precision, callbacks, module and profiler: a millisecond a
    step, a fifth of that of a small network. Where one of them has something to do (another precision, clipping,
    accumulation, several processes, a profiler, a callback that looks at gradients), the step is Lightning's own. What
    is counted and called at a batch's end is the same, and so are the numbers, bit for bit.
    """

    _alone = False
    _at_the_end: Sequence[pl.Callback] = ()

    def run(self, data_fetcher: Any) -> None:
        """Run the batches of one stage."""
        with _no_search_for_devices():
            super().run(data_fetcher)

    def on_run_start(self, data_fetcher: Any) -> None:
        """Look who listens, once for each stage."""
        super().on_run_start(data_fetcher)
        self._alone = nobody_listens(self.trainer)
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
        self._at_the_end = [part for part in callbacks if _overrides(part, pl.Callback, ("on_train_batch_end",))]

    def advance(self, data_fetcher: Any) -> None:
        """Run a single batch."""
        if not self._alone or self.restarting:
            super().advance(data_fetcher)
            return
        trainer, progress = self.trainer, self.batch_progress
        module: Any = trainer.lightning_module
        batch, _, _ = next(data_fetcher)
        number = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # a Lightning connector sets it
        batch = data.transfer_batch_to_device(batch, trainer.strategy.root_device, 0)
        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        progress.increment_started()
        loss = self._step(module, batch, number)
        progress.increment_processed()
        outputs = {} if loss is None else {"loss": loss.detach()}
        # where self.log is called
        module._current_fx_name = "on_train_batch_end"
        for callback in self._at_the_end:
            callback.on_train_batch_end(trainer, module, outputs, batch, number)
        module._current_fx_name = None
        trainer._logger_connector.on_batch_end()
        progress.increment_completed()
        trainer._logger_connector.update_train_step_metrics()

    def _step(self, module: WakeSleepModule, batch: Any, number: int) -> Tensor | None:
        optimizer, progress = self.trainer.optimizers[0], self.automatic_optimization.optim_progress.optimizer
        losses: list[Tensor | None] = []

        def closure() -> Tensor | None:
            progress.zero_grad.increment_ready()
            # before the forward pass, whose activations then take the place of the gradients
            optimizer.zero_grad()
            progress.zero_grad.increment_started()
            progress.zero_grad.increment_completed()
            # where self.log is called
            module._current_fx_name = "training_step"
            loss = module.training_step(batch, number)
            module._current_fx_name = None
            if loss is not None:
                loss.backward()
            losses.append(loss)
            return loss

        progress.step.increment_ready()
        optimizer.step(closure)  # type: ignore[arg-type]  # a stage may have no loss
        module.sleeper.after_step()
        progress.step.increment_completed()
        return losses[-1]

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Count the step."""
        if not self._alone or self._skip_next_val:
            super().on_advance_end(data_fetcher)
            return
        self._batches_that_stepped += 1
        self._save_loggers_on_train_batch_end()
        if self.trainer.received_sigterm and not self._is_training_done:
            raise SIGTERMException


def go_directly(trainer: pl.Trainer) -> None:
    """Let a Trainer's loop go the direct way, where it can; what it has counted so far stays.

    A Lightning that is newer than this file may do more in a step, and keeps its own loop.
    """
    loop = trainer.fit_loop.epoch_loop
    if type(loop) is _TrainingEpochLoop and pl.__version__.startswith(_KNOWN):
        loop.__class__ = DirectLoop


def nobody_listens(trainer: pl.Trainer) -> bool:
    """Whether nothing but a :class:`WakeSleepModule` has something to do within a step."""
    from dreamer.training.module import WakeSleepModule

    module = trainer.lightning_module
    data = getattr(trainer, "datamodule", None)
    return (
        isinstance(module, WakeSleepModule)
        and isinstance(data, StreamDataModule)
        and type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) is Precision
        and type(trainer.profiler) is PassThroughProfiler  # type: ignore[attr-defined]
        and trainer.strategy.model is module
        and trainer.accumulate_grad_batches == 1
        and not trainer.gradient_clip_val
        and not trainer.limit_val_batches
        and not trainer.lr_scheduler_configs
        and not trainer.fit_loop.epoch_loop.automatic_optimization._skip_backward
        and not _overrides(module, WakeSleepModule, (*_BETWEEN, *_OF_MODULES))
        and not _overrides(data, StreamDataModule, _OF_DATA)
        and not any(
            _overrides(callback, pl.Callback, ("on_train_batch_start", *_BETWEEN))
            for callback in trainer.callbacks  # type: ignore[attr-defined]
        )
    )


def _overrides(part: Any, base: type, names: tuple[str, ...]) -> bool:
    return any(name in vars(part) or getattr(type(part), name) is not getattr(base, name) for name in names)


@contextmanager
def _no_search_for_devices() -> Iterator[None]:
    """Spare a machine without a GPU torch's search for one, which comes with every step of an optimizer.

    Lightning lets torch ask the driver's library, which such a machine does not have, and the answer is not kept.
    """
    asked = os.environ.get(_NVML)
    if asked is None or torch.cuda.is_available():
        yield
        return
    del os.environ[_NVML]
    try:
        yield
    finally:
        os.environ[_NVML] = asked

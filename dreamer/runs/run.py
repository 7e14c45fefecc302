"""A run from a configuration: prepare it, execute it, resume it."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dreamer import config
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.progress import RunProgress
from dreamer.callbacks.run_folder import RunFolder
from dreamer.callbacks.run_origin import RunOrigin
from dreamer.config.binding import ConfigError, at
from dreamer.core.denormals import flushed_denormals
from dreamer.core.hypnogram import Hypnogram
from dreamer.core.lock import InUse, locked
from dreamer.core.randomness import Purpose, mix
from dreamer.jobs.manifest import code_fingerprint
from dreamer.loggers import wandb
from dreamer.report.results import read_results, results_in
from dreamer.runs._folders import CHECKPOINTS, CONFIG, clear, folders, free_folder, holds_run
from dreamer.runs._origin import continued
from dreamer.runs.run_config import RunConfig, run_config
from dreamer.runs.signals import StopSignals
from dreamer.streams.base import DataNotFound, Stream
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule
from dreamer.training.trainer import check_fraction

_CHOSEN = "DREAMER_RUN_FOLDER"

# Lightning's, on its own dependencies and on stages that are shorter than its logging interval
_REMARKS = (
    r".*isinstance\(treespec, LeafSpec\).*",
    r"The number of training batches .* smaller than the logging interval",
)


class Interrupted(KeyboardInterrupt):
    """A run was stopped by hand or by a batch system; its folder holds what is needed to resume it.

    Attributes:
        by: the signal that stopped it.
    """

    def __init__(self, directory: Path, by: signal.Signals = signal.SIGINT):
        super().__init__(str(directory))
        self.by = by


@dataclass(frozen=True)
class Run:
    """A run that can begin: everything is built and fits together, nothing is written yet.

    Attributes:
        hypnogram: all stages, planned.
        checkpoint: keeps what is needed to resume.
        progress: whether it shows how far it is.
        notes: on a resumed run: what differs in machine and software, and may change last bits.
    """

    config: RunConfig
    stream: Stream
    module: WakeSleepModule
    datamodule: StreamDataModule
    trainer: pl.Trainer
    hypnogram: Hypnogram
    directory: Path
    checkpoint: RunCheckpoint
    progress: bool = False
    notes: tuple[str, ...] = ()

    @property
    def origin(self) -> RunOrigin:
        """What its checkpoints say of it."""
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
        return next(callback for callback in callbacks if isinstance(callback, RunOrigin))


def quiet_lightning() -> None:
    """Keep Lightning's remarks on devices, defaults and products out of what a person reads."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for remark in _REMARKS:
        warnings.filterwarnings("ignore", message=remark)


def run(*items: str | Path | Mapping[str, Any], progress: bool = False, **overrides: Any) -> dict[str, Any]:
    """Train one configuration and write its run folder.

    Args:
        items: names, files, ``key=value`` words and mappings, as for :func:`dreamer.config.yaml.read`.
        overrides: top-level keys, such as ``seed=3`` or ``out="runs/mine"``.

    Returns:
        The content of its ``results.json``.

    Raises:
        ConfigError: when it cannot run as configured; nothing is written then.
        Interrupted: when it was stopped by a signal.
    """
    with owned(prepare(config.read(*items, **overrides), progress=progress)) as prepared:
        return execute(prepared)


def prepare(plain: Mapping[str, Any], directory: Path | None = None, progress: bool = False) -> Run:
    """Build a run and check that everything fits together.

    Args:
        directory: the run folder; by default the configured ``out``, else the next free one below ``runs/``.

    Raises:
        ConfigError: when it cannot.
    """
    checked = run_config(plain)
    directory = directory or _new_folder(checked)
    try:
        stream = checked.stream.build()
    except DataNotFound as error:
        raise ConfigError(str(error)) from error
    if not isinstance(stream, Stream):
        raise ConfigError(f"stream: expected a function that returns a Stream, got a {type(stream).__name__} from it")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix(checked.seed, Purpose.INIT))
        module = checked.build_module(stream)
    trainer, checkpoint = _watched(checked, stream, directory, progress)
    try:
        module.check_trainer(trainer)
        hypnogram = module.plan(stream, trainer.world_size)
        check_fraction(trainer, hypnogram)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    datamodule = checked.datamodule.build(stream=stream)
    return Run(checked, stream, module, datamodule, trainer, hypnogram, directory, checkpoint, progress)


@contextmanager
def owned(prepared: Run) -> Iterator[Run]:
    """Keep the folder of a new run to this process, while it is executed.

    Two runs that are started together choose the same folder; the second one moves to the next that is free.

    Raises:
        ConfigError: when the configured ``out`` is in use or holds a run.
    """
    with ExitStack() as held:
        yield _claimed(prepared, held) if prepared.trainer.is_global_zero else prepared


@contextmanager
def reopened(directory: Path, *words: str) -> Iterator[None]:
    """Keep the folder of a run that is to be resumed to this process.

    Args:
        words: what :func:`resume` is going to be given.

    Raises:
        ConfigError: when it holds no run, another process is at work in it, or a word would make it another run.
    """
    for word in words:
        if not word.startswith("data."):
            raise ConfigError(f"{word}: a resumed run keeps its configuration; only data.* may change")
    if not (directory / CONFIG).is_file():
        raise ConfigError(f"there is no run to resume in {str(directory)!r}: it has no {CONFIG}")
    # the processes that Lightning starts beside the first one belong to it
    with nullcontext() if rank_zero_only.rank else locked(directory):  # type: ignore[attr-defined]
        yield


def execute(prepared: Run, resume: bool = False) -> dict[str, Any]:
    """Train to the end; the folder is this process's own (see :func:`owned` and :func:`reopened`).

    Args:
        resume: continue from the run folder's last checkpoint, or from the start when there is none yet.

    Returns:
        The content of ``results.json``.

    Raises:
        Interrupted: when it was stopped by a signal, after the checkpoint was written.
    """
    if prepared.trainer.is_global_zero and not resume:
        prepared.directory.mkdir(parents=True, exist_ok=True)
        config.save(prepared.config.plain, prepared.directory / CONFIG)
    os.environ[_CHOSEN] = str(prepared.directory)
    saved = prepared.checkpoint.latest() if resume else None
    try:
        with flushed_denormals(), _logged(prepared), _stoppable(prepared):
            prepared.trainer.fit(prepared.module, datamodule=prepared.datamodule, ckpt_path=saved)
    except Interrupted:
        raise
    except BaseException:
        if prepared.trainer.is_global_zero and not (resume or prepared.trainer.global_step):
            clear(prepared.directory)
        raise
    # the first process writes; the results of another one cover its own part of the data, and go to its caller alone
    return read_results(prepared.directory) if prepared.trainer.is_global_zero else prepared.module.results()


def resume(directory: Path, *words: str, progress: bool = False, previous: bool = False, force: bool = False) -> Run:
    """Build the run of a run folder again, to continue it with ``execute(run, resume=True)``.

    Args:
        directory: this process's own (see :func:`reopened`).
        words: ``data.`` settings, for data that have moved; all else is as it was.
        previous: continue from the checkpoint before the last one, which is given up.
        force: continue although configuration, stream or code have changed; the results record it.

    Raises:
        ConfigError: when it cannot be built, or its checkpoint is damaged or that of another run.
    """
    checkpoint = RunCheckpoint(directory / CHECKPOINTS)
    path = checkpoint.before() if previous else checkpoint.latest()
    prepared = prepare(config.read(directory / CONFIG, *words), directory, progress)
    notes = [] if path is None else continued(prepared.origin, path, force)
    prepared.module.accept_changes = force
    if previous:
        checkpoint.fall_back()
    return replace(prepared, notes=tuple(notes))


def finished(directory: Path) -> dict[str, Any] | None:
    """The results of a run folder whose run is complete, else None."""
    # where they are damaged the checkpoint says where the run stands
    results = results_in(directory)
    return results if results.get("complete") is True else None


def _trainer(checked: RunConfig, directory: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    # the hypnogram says how long a run is; -1 spares Lightning's advice on that
    options = {"enable_model_summary": False, "max_epochs": -1, **checked.trainer}
    try:
        return pl.Trainer(
            **options,
            logger=False,
            callbacks=callbacks,
            default_root_dir=directory,
            enable_progress_bar=any(isinstance(callback, RunProgress) for callback in callbacks),
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(at("trainer", str(error).strip())) from error


def _watched(checked: RunConfig, stream: Stream, directory: Path, progress: bool) -> tuple[pl.Trainer, RunCheckpoint]:
    """The Trainer with all that watches a run and writes into its folder."""
    checkpoint = RunCheckpoint(directory / CHECKPOINTS)
    origin = RunOrigin(checked.plain, stream, code_fingerprint())
    watchers: list[pl.Callback] = [RunFolder(directory, checked.plain, checked.name), origin, checkpoint]
    if checked.dream_quality is not None:
        watchers.append(checked.dream_quality.build(directory=directory))
    if checked.continual_evaluation is not None:
        watchers.append(checked.continual_evaluation.build())
    return _trainer(checked, directory, [RunProgress(), *watchers] if progress else watchers), checkpoint


def _new_folder(checked: RunConfig) -> Path:
    if int(os.environ.get("LOCAL_RANK", 0)) and _CHOSEN in os.environ:
        return Path(os.environ[_CHOSEN])  # a process that Lightning started beside the first one, which has chosen
    return free_folder(checked.out, checked.name, checked.seed)


def _claimed(prepared: Run, held: ExitStack) -> Run:
    """The run in a folder that is locked and free; the lock is given to ``held``."""
    checked = prepared.config
    for directory in folders(checked.out, checked.name, checked.seed):
        with ExitStack() as lock:
            try:
                lock.enter_context(locked(directory))
            except InUse:
                if checked.out is not None:
                    raise
                continue
            if not holds_run(directory):
                held.push(lock.pop_all())
                break
    if directory == prepared.directory:
        return prepared
    trainer, checkpoint = _watched(checked, prepared.stream, directory, prepared.progress)
    return replace(prepared, trainer=trainer, checkpoint=checkpoint, directory=directory)


@contextmanager
def _logged(prepared: Run) -> Iterator[None]:
    """The loggers, which write as soon as they are there, exist while the run is executed."""
    checked = prepared.config
    given = {
        "directory": prepared.directory,
        "out": prepared.directory,
        "config": checked.plain,
        "name": f"{checked.name}-seed{checked.seed}",
    }
    loggers = [component.build(**given) for component in checked.loggers]
    prepared.trainer.loggers = loggers
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                wandb.keep_model(logger, prepared.checkpoint.path)
                wandb.finish(logger, failed)


@contextmanager
def _stoppable(prepared: Run) -> Iterator[None]:
    """A signal lets the step end, saves and stops; see :mod:`dreamer.runs.signals`."""
    callbacks: list[pl.Callback] = prepared.trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
    signals = StopSignals(prepared.checkpoint.stop)
    callbacks.append(signals)
    stopped = False
    try:
        with signals:
            yield
    except SystemExit:
        # Lightning turns an interruption into an exit of the process
        if prepared.trainer.state.status != TrainerStatus.INTERRUPTED:
            raise
        stopped = True
    finally:
        callbacks.remove(signals)
    if (stopped or signals.received) and finished(prepared.directory) is None:
        raise Interrupted(prepared.directory, signals.received or signal.SIGINT)

"""From a configuration to a lived life: build it, live it, take it up again."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dreamer import config
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.progress import RunProgress
from dreamer.callbacks.run_folder import RunFolder
from dreamer.config.binding import ConfigError, at
from dreamer.core.hypnogram import Hypnogram
from dreamer.core.randomness import Purpose, mix
from dreamer.loggers import wandb
from dreamer.report.results import FILE_NAME, read_results
from dreamer.runs.run_config import RunConfig, run_config
from dreamer.streams.base import DataNotFound, Stream
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
_CHOSEN = "DREAMER_RUN_FOLDER"


# Lightning's, on its own dependencies and on stages that are shorter than its logging interval
_REMARKS = (
    r".*isinstance\(treespec, LeafSpec\).*",
    r"The number of training batches .* smaller than the logging interval",
)


class Interrupted(KeyboardInterrupt):
    """A life was stopped by hand; its run folder says where to go on."""


@dataclass(frozen=True)
class Run:
    """A life that can begin: everything is built and fits together, nothing is written yet.

    Attributes:
        draft: what was asked for.
        stream: what will be met.
        module: who will live.
        datamodule: hands out the stream.
        trainer: the Lightning Trainer.
        hypnogram: the plan.
        directory: the run folder.
        checkpoint: keeps what is needed to go on.
    """

    draft: RunConfig
    stream: Stream
    module: WakeSleepModule
    datamodule: StreamDataModule
    trainer: pl.Trainer
    hypnogram: Hypnogram
    directory: Path
    checkpoint: RunCheckpoint


def quiet_lightning() -> None:
    """Keep Lightning's remarks on devices, defaults and products out of what a person reads."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for remark in _REMARKS:
        warnings.filterwarnings("ignore", message=remark)


def run(*items: str | Path | Mapping[str, Any], progress: bool = False, **overrides: Any) -> dict[str, Any]:
    """Live a life.

    Args:
        items: names, files, ``key=value`` words and mappings, as for :func:`dreamer.config.yaml.read`.
        progress: show how far it is.
        overrides: top-level keys, such as ``seed=3`` or ``out="runs/mine"``.

    Returns:
        The content of its ``results.json``.

    Raises:
        ConfigError: when it cannot be lived as configured; nothing is written then.
        Interrupted: when it was stopped by hand.
    """
    return live(prepare(config.read(*items, **overrides), progress=progress))


def prepare(plain: Mapping[str, Any], directory: Path | None = None, progress: bool = False) -> Run:
    """Build a life and check that it can be lived.

    Args:
        plain: the configuration.
        directory: the run folder; by default the configured ``out``, else the next free one below ``runs/``.
        progress: show how far it is while it is lived.

    Raises:
        ConfigError: when it cannot.
    """
    plan = run_config(plain)
    directory = directory or _new_folder(plan)
    try:
        stream = plan.stream.build()
    except DataNotFound as error:
        raise ConfigError(str(error)) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix(plan.seed, Purpose.INIT))
        module = plan.module.build(sample_shape=stream.sample_shape, num_classes=stream.num_classes)
    checkpoint = RunCheckpoint(directory / CHECKPOINTS)
    watchers: list[pl.Callback] = [RunFolder(directory, plan.plain, plan.name), checkpoint]
    if plan.health is not None:
        watchers.append(plan.health.build(directory=directory))
    trainer = _trainer(plan, directory, [RunProgress(), *watchers] if progress else watchers)
    try:
        module.check_trainer(trainer)
        hypnogram = module.plan(stream, trainer.world_size)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return Run(plan, stream, module, plan.datamodule.build(stream=stream), trainer, hypnogram, directory, checkpoint)


def live(life: Run, resume: bool = False) -> dict[str, Any]:
    """Live a life to its end.

    Args:
        life: what :func:`prepare` built.
        resume: go on from the run folder's last checkpoint, or from the start when it was stopped before the first one.

    Returns:
        The content of ``results.json``.

    Raises:
        Interrupted: when it was stopped by hand, after the checkpoint was written.
    """
    if life.trainer.is_global_zero and not resume:
        life.directory.mkdir(parents=True, exist_ok=True)
        config.save(life.draft.plain, life.directory / CONFIG)
    os.environ[_CHOSEN] = str(life.directory)
    saved = life.checkpoint.path if resume and life.checkpoint.path.is_file() else None
    with _logged(life), _stoppable(life):
        life.trainer.fit(life.module, datamodule=life.datamodule, ckpt_path=saved)
    # the first process writes; another one's word on its own share serves nobody but its caller
    return read_results(life.directory) if life.trainer.is_global_zero else life.module.results()


def resume(directory: Path, *words: str, progress: bool = False) -> Run:
    """Build the life of a run folder again, to live on with ``live(life, resume=True)``.

    Args:
        directory: the run folder.
        words: ``data.`` settings, for data that have moved; all else is as it was.
        progress: show how far it is.

    Raises:
        ConfigError: when the folder holds no run, or a word would make it another life.
    """
    for word in words:
        if not word.startswith("data."):
            raise ConfigError(f"{word}: a resumed life keeps its configuration; only data.* may change")
    written = directory / CONFIG
    if not written.is_file():
        raise ConfigError(f"there is no run to resume in {str(directory)!r}: it has no {CONFIG}")
    return prepare(config.read(written, *words), directory, progress)


def finished(directory: Path) -> dict[str, Any] | None:
    """The results of a run folder whose life is complete, else None."""
    if not (directory / FILE_NAME).is_file():
        return None
    results = read_results(directory)
    return results if results["complete"] else None


def _trainer(plan: RunConfig, directory: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    # the plan says how long a life is; -1 spares Lightning's advice on that
    options = {"enable_model_summary": False, "max_epochs": -1, **plan.trainer}
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


def _new_folder(plan: RunConfig) -> Path:
    if int(os.environ.get("LOCAL_RANK", 0)) and _CHOSEN in os.environ:
        return Path(os.environ[_CHOSEN])  # a process that Lightning started beside the first one, which has chosen
    if plan.out is not None:
        if _holds_run(Path(plan.out)):
            raise ConfigError(
                f"out: {plan.out!r} holds another run, which is not overwritten: choose another folder, "
                f"or continue it with dreamer run --resume {plan.out}"
            )
        return Path(plan.out)
    base = Path("runs") / plan.name / f"seed{plan.seed}"
    folder, number = base, 1
    while _holds_run(folder):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def _holds_run(directory: Path) -> bool:
    return any((directory / name).exists() for name in (CONFIG, FILE_NAME, CHECKPOINTS))


@contextmanager
def _logged(life: Run) -> Iterator[None]:
    """The loggers, which write as soon as they are there, exist while the life is lived."""
    plan = life.draft
    given = {
        "directory": life.directory,
        "out": life.directory,
        "config": plan.plain,
        "name": f"{plan.name}-seed{plan.seed}",
    }
    loggers = [component.build(**given) for component in plan.loggers]
    life.trainer.loggers = loggers
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                wandb.finish(logger, failed)


@contextmanager
def _stoppable(life: Run) -> Iterator[None]:
    """Ctrl-C lets the step end, saves and stops; a second one stops at once, with the checkpoint before."""
    asked = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        life.checkpoint.stop()

    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, stop) if here else None
    try:
        yield
    except SystemExit:
        # Lightning turns an interruption into an exit of the process
        if life.trainer.state.status != TrainerStatus.INTERRUPTED:
            raise
        asked = True
    finally:
        if here:
            signal.signal(signal.SIGINT, before)
    if asked and finished(life.directory) is None:
        raise Interrupted(str(life.directory))

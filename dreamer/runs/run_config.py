"""A configuration, checked key by key, before any data are read and anything is built."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from dreamer.callbacks.continual_evaluation import ContinualEvaluation
from dreamer.callbacks.dream_quality import DreamQuality
from dreamer.config import registry
from dreamer.config.binding import ComponentSpec, ConfigError, at, bind, check, join, parameters
from dreamer.config.environment import unresolved
from dreamer.core.suggest import one_of
from dreamer.loggers.csv import ResumableCSVLogger
from dreamer.loggers.wandb import wandb_logger
from dreamer.problems import Classification
from dreamer.runs._pretrained import on_backbone, warn_untrained
from dreamer.streams import registry as streams
from dreamer.streams.base import Stream
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule

OWNED = (
    "logger",
    "callbacks",
    "default_root_dir",
    "enable_progress_bar",
    "enable_checkpointing",
    "reload_dataloaders_every_n_epochs",
)
"""Arguments of the Trainer that a run sets itself."""

_NAME_BYTES = 200
_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "min_epochs": 0,
    "min_steps": 0,
    "num_nodes": 1,
    "num_sanity_val_steps": -1,
}
"""Numbers of the Trainer that it takes as they come."""
_LIMITS = ("max_epochs", "max_steps", "limit_train_batches", "val_check_interval")
"""Numbers of the Trainer with which nothing would be done if they were 0; two of them may be -1."""
_UNFIT = ("lbfgs", "sparseadam")
"""Optimisers of torch that cannot serve: one calls the loss itself, one takes sparse gradients alone."""
_FROM_STREAM = ("sample_shape", "num_classes", "outputs", "tokens")
_READING: dict[str, Any] = {"root": str | None, "workers": int, "limit_bytes": int}


@dataclass(frozen=True)
class RunConfig:
    """A checked configuration, from which everything can be built.

    Attributes:
        plain: the resolved configuration, its seed written out; what comes from the environment stays unresolved.
        module: builds the module, given ``sample_shape``, ``num_classes`` (or domains), ``outputs`` and ``tokens``.
        loggers: build the loggers, given the run folder and the configuration.
        dream_quality: builds the callback that measures dreams, given the run folder; None where none is wanted.
        continual_evaluation: builds the callback that evaluates within stages; None where none is wanted.
    """

    plain: dict[str, Any]
    name: str
    seed: int
    out: str | None
    stream: ComponentSpec
    datamodule: ComponentSpec
    module: ComponentSpec
    trainer: dict[str, Any]
    loggers: tuple[ComponentSpec, ...]
    dream_quality: ComponentSpec | None
    continual_evaluation: ComponentSpec | None

    def build_module(self, stream: Stream) -> WakeSleepModule:
        """The module, its parts made for a stream; a ``ConfigError`` when it has other targets than the problem."""
        problem = self.module.options.get("problem")
        warn_untrained(self.plain.get("backbone"))
        predicted = Classification() if problem is None else problem.build(tokens=stream.tokens)
        try:
            predicted.check(stream)
        except ValueError as error:
            raise ConfigError(at("problem", str(error))) from error
        outputs = predicted.output_shape(stream)[-1]
        try:
            return self.module.build(
                sample_shape=stream.sample_shape, num_classes=stream.num_groups, outputs=outputs, tokens=stream.tokens
            )
        except ConfigError as error:
            if self.plain.get("backbone") is None or not str(error).startswith("network"):
                raise
            raise ConfigError(
                f"{error}, which the backbone puts in the place of the stream's: lay a recipe on features over it, "
                "such as feature_dreams or slda, or take 'network={name: mlp, hidden: []}'"
            ) from error


def run_config(plain: Mapping[str, Any]) -> RunConfig:
    """Check a configuration.

    Args:
        plain: plain values, as :func:`dreamer.config.yaml.read` gives them. Besides ``name``, ``stream``, ``data``,
            ``backbone``, ``trainer``, ``logger``, ``out``, ``dream_quality`` and ``continual_evaluation`` it may hold
            every argument of :class:`dreamer.training.module.WakeSleepModule`.

    Raises:
        ConfigError: for an unknown key, a wrong type, a missing value.
    """
    own = ("name", "stream", "data", "backbone", "trainer", "logger", "out", "dream_quality", "continual_evaluation")
    of_module = parameters(WakeSleepModule)
    for key in plain:
        if key not in own and key not in of_module:
            raise ConfigError(f"{key}: unknown key; {one_of(str(key), [*own, *of_module])}")
    whole = on_backbone(plain)
    options = {key: value for key, value in whole.items() if key in of_module and key != "optimizer"}
    module = bind(WakeSleepModule, options, given=(*_FROM_STREAM, "optimizer"), title="the run")
    if plain.get("optimizer") is not None:
        factory = _optimizer(plain["optimizer"], of_module["optimizer"].default)
        module = replace(module, options={**module.options, "optimizer": factory})
    rate = module.options.get("generator_lr")
    if rate is not None and rate < 0:
        raise ConfigError(f"generator_lr: expected a number of at least 0, got {rate}")
    seed = module.options.get("seed", of_module["seed"].default)
    reading, datamodule = _data({} if plain.get("data") is None else plain["data"])
    return RunConfig(
        plain=unresolved({**plain, "seed": seed}),
        name=_name("run" if plain.get("name") is None else plain["name"]),
        seed=seed,
        out=_out(plain.get("out")),
        stream=_stream(whole.get("stream"), {"seed": seed, **reading}),
        datamodule=datamodule,
        module=module,
        trainer=_trainer({} if plain.get("trainer") is None else plain["trainer"]),
        loggers=_loggers(plain.get("logger")),
        dream_quality=_dream_quality(plain.get("dream_quality", {})),
        continual_evaluation=_continual_evaluation(plain.get("continual_evaluation")),
    )


def _out(value: Any) -> str | None:
    out: str | None = check(value, str | None, "out")
    if out is not None and not out.strip():
        raise ConfigError(f"out: expected the path of a folder, got {out!r}")
    return out


def _trainer(node: Any) -> dict[str, Any]:
    options = bind(pl.Trainer, node, "trainer", refused=OWNED).options
    for key, least in _LEAST.items():
        value = options.get(key)
        if value is not None and value < least:
            raise ConfigError(f"trainer.{key}: expected a number of at least {least}, got {value}")
    for key in _LIMITS:
        if options.get(key) == 0:
            raise ConfigError(f"trainer.{key}: expected a number above 0, got {options[key]}, which trains nothing")
    lengths = options.get("max_time")
    for unit, length in lengths.items() if isinstance(lengths, Mapping) else ():
        if isinstance(length, int | float) and length < 0:
            raise ConfigError(f"trainer.max_time.{unit}: expected a number of at least 0, got {length}")
    return options


def _dream_quality(node: Any) -> ComponentSpec | None:
    path = "dream_quality"
    return None if node is None else bind(DreamQuality, node, path, given=("directory",), refused=("directory",))


def _continual_evaluation(node: Any) -> ComponentSpec | None:
    return None if node is None else bind(ContinualEvaluation, node, "continual_evaluation")


def _name(value: Any) -> str:
    name = check(value, str, "name")
    if Path(name).name != name or name in ("", ".", "..") or len(name.encode()) > _NAME_BYTES or not name.isprintable():
        raise ConfigError(f"name: expected the name of a folder, got {name[:_NAME_BYTES]!r}")
    return name


def _named(node: Any, path: str, what: str, default: str | None = None) -> tuple[str, dict[str, Any]]:
    """Name and options of a part that is given by its name alone, or with keys and values."""
    options = {"name": node} if isinstance(node, str) else node
    if not isinstance(options, Mapping):
        raise ConfigError(f"{path}: expected the name of {what}, or keys with values, got {node!r}")
    options = dict(options)
    return check(options.pop("name", default), str, join(path, "name")), options


def _stream(node: Any, defaults: Mapping[str, Any]) -> ComponentSpec:
    if node is None:
        raise ConfigError(f"stream.name: missing; {one_of('', streams.available())}")
    name, options = _named(node, "stream", "a stream")
    try:
        function = streams.resolve(name)
    except ValueError as error:
        raise ConfigError(at("stream.name", str(error))) from None
    changes = options.pop("then", None) or []
    inherited = {key: value for key, value in defaults.items() if key in parameters(function)}
    built = bind(function, {**inherited, **options}, "stream", title=name)
    if not isinstance(changes, list | tuple):
        raise ConfigError(f"stream.then: expected a list (each a change of the stream by name), got {changes!r}")
    for position, change in enumerate(changes):
        built = _changed(built, change, join("stream.then", position), defaults)
    return built


def _changed(stream: ComponentSpec, node: Any, path: str, defaults: Mapping[str, Any]) -> ComponentSpec:
    """What builds the stream and turns it into another one."""
    name, options = _named(node, path, "a change of the stream")
    try:
        function = streams.resolve_change(name)
    except ValueError as error:
        raise ConfigError(at(join(path, "name"), str(error))) from None
    inherited = {key: value for key, value in defaults.items() if key in parameters(function)}
    bound = bind(function, {**inherited, **options}, path, given=("stream",), refused=("stream",), title=name)
    return replace(bound, options={"stream": stream, **bound.options})


def _data(node: Any) -> tuple[dict[str, Any], ComponentSpec]:
    if not isinstance(node, Mapping):
        raise ConfigError(f"data: expected keys with values, got {node!r}")
    keys = [*_READING, *(key for key in parameters(StreamDataModule) if key != "stream")]
    for key in node:
        if key not in keys:
            raise ConfigError(f"{join('data', key)}: unknown key; {one_of(str(key), keys)}")
    set_ = {key: value for key, value in node.items() if value is not None}
    reading = {key: check(set_[key], hint, join("data", key)) for key, hint in _READING.items() if key in set_}
    for key in ("workers", "limit_bytes"):
        if reading.get(key, 0) < 0:
            raise ConfigError(f"data.{key}: expected a number of at least 0, got {reading[key]}")
    rest = {key: value for key, value in set_.items() if key not in _READING}
    return reading, bind(StreamDataModule, rest, "data", given=("stream",))


def _optimizer(node: Any, default: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    name, options = _named(node, "optimizer", "an optimizer", default.__name__.lower())
    kinds = {
        name.lower(): kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
        if name.lower() not in _UNFIT
    }
    if "." in name:
        kinds[name] = _own_optimizer(name)
    if name not in kinds:
        raise ConfigError(f"optimizer.name: there is no {name!r} here; {one_of(name, kinds)}")
    bound = bind(kinds[name], options, "optimizer", given=("params",), refused=("params",))
    # an optimizer checks its numbers only when it is built
    bound.build(params=[torch.zeros(1, requires_grad=True)])
    return functools.partial(kinds[name], **bound.options)


def _own_optimizer(name: str) -> type:
    try:
        found = registry.dotted(name)
    except registry.UnknownPart as error:
        raise ConfigError(at("optimizer.name", str(error))) from None
    if not issubclass(found, torch.optim.Optimizer):
        raise ConfigError(f"optimizer.name: expected an optimizer of torch, got {name!r}")
    return found


def _loggers(node: Any) -> tuple[ComponentSpec, ...]:
    """The csv logger always is among them: the run folder is complete without the others."""
    makers: dict[str, Callable[..., Any]] = {
        "csv": ResumableCSVLogger,
        "tensorboard": tensorboard_logger,
        "wandb": wandb_logger,
    }
    given = ("directory", "out", "config", "name")
    nodes = node if isinstance(node, list | tuple) else [] if node is None else [node]
    found = {"csv": bind(ResumableCSVLogger, {}, "logger", given)}
    for position, entry in enumerate(nodes):
        path = join("logger", position) if isinstance(node, list | tuple) else "logger"
        name, options = _named(entry, path, "a logger")
        if name not in makers:
            raise ConfigError(f"{join(path, 'name')}: there is no {name!r} here; {one_of(str(name), makers)}")
        if name == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
            raise ConfigError(f"{path}: tensorboard is not installed: pip install 'dreamer[tensorboard]'")
        found[name] = bind(makers[name], options, path, given, refused=given, title=name)
    return tuple(found.values())


def tensorboard_logger(directory: Path) -> TensorBoardLogger:
    """Lightning's TensorBoardLogger, with its files in ``directory/tensorboard``."""
    return TensorBoardLogger(directory, name="tensorboard", version="")

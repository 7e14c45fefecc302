"""Avalanche's strategies by name, and their options: which can run here, and what they are given.

Avalanche is imported inside functions only: its import takes seconds.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from dreamer.config.binding import ConfigError, bind, check, parameters
from dreamer.config.registry import summary
from dreamer.core.suggest import one_of
from dreamer.generators import VAE
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.streams.base import Stream

UNSUPPORTED: dict[str, str] = {
    "AETraining": "it trains an autoencoder, which classifies nothing",
    "AR1": "it brings its own pretrained network and optimiser",
    "BiC": "it writes into the experience's data set, which Avalanche's benchmarks do not allow any more",
    "CoPE": "it classifies inside Avalanche's own evaluation, not with the network",
    "ER_AML": "it waits for ever where its buffer holds less than a batch of one class",
    "ExpertGateStrategy": "it needs a network of its own kind (ExpertGate)",
    "FeatureReplay": "it waits for ever where its buffer holds fewer samples than it replays",
    "GSS_greedy": "it fails where its memory holds fewer samples than a batch and the 32 that it replays with it",
    "LFL": "it needs a network of its own kind (avalanche.models.BaseModel)",
    "LearningToPrompt": "it brings its own pretrained network",
    "OnlineNaive": "it is Naive under another name",
    "PNNStrategy": "it needs a network of its own kind (PNN)",
    "PackNet": "it needs a network of its own kind (PackNetModel) and the task at test time",
    "SCR": "it needs a network of its own kind (SCRModel)",
    "StreamingLDA": "it needs a pretrained network and takes no optimiser steps",
    "VAETraining": "it trains a variational autoencoder, which classifies nothing",
}
"""Avalanche's strategies that cannot run on a stream with a network, an optimiser and a number of steps of ours."""

MEMORY = 200
"""Samples kept where no memory is given: Avalanche's own default."""

_OWNED = (
    *("model", "feature_extractor", "classifier", "optimizer", "criterion", "generator_strategy", "buffer_transform"),
    *("train_mb_size", "train_epochs", "eval_mb_size", "device", "plugins", "evaluator", "eval_every", "peval_mode"),
)
"""Arguments of the strategies that a run sets itself."""

_REQUIRED: dict[str, Any] = {
    # Avalanche's examples/ewc_mnist.py
    "ewc_lambda": 0.4,
    # experiments/split_mnist/synaptic_intelligence.py of ContinualAI/continual-learning-baselines
    "si_lambda": 1.0,
    # the defaults of Avalanche's LwFPlugin, MIRPlugin and CWRStarPlugin
    "alpha": 1.0,
    "temperature": 2.0,
    "subsample": 200,
    "cwr_layer_name": None,
    # experiments/split_cifar100/icarl.py of the same baselines
    "fixed_memory": True,
}
"""Values for options that Avalanche wants but gives no default."""


def available() -> dict[str, str]:
    """The strategies that can run here, with the first line of their docstrings."""
    return {name: summary(kind) or name for name, kind in sorted(strategies().items()) if _obstacle(name) is None}


def verify(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check a strategy's name and options, before any data are read.

    Args:
        options: arguments of its constructor in Avalanche, as plain values, save those that a run sets itself;
            ``GenerativeReplay`` also takes ``generator`` (see :func:`dreamer.interop.avalanche.strategies.run`).

    Returns:
        The options, with the types that the constructor wants.

    Raises:
        ConfigError: for an unknown name or option, or a value of the wrong type.
    """
    kind = resolve(name)
    known = _options(kind)
    checked: dict[str, Any] = {}
    for key, value in (options or {}).items():
        where = f"avalanche:{name}.{key}"
        if name == "GenerativeReplay" and key == "generator":
            checked[key] = _verified_generator(value, where)
            continue
        if key in _OWNED:
            raise ConfigError(f"{where}: cannot be configured, because the run sets it itself")
        if key not in known:
            raise ConfigError(f"{where}: unknown option; {one_of(str(key), _names(name, known))}")
        checked[key] = check(value, known[key].annotation, where, known[key].default)
    return checked


def filled(
    name: str, options: Mapping[str, Any], stream: Stream, batch_size: int, memory: int | None
) -> dict[str, Any]:
    """The options, and values for those left open where Avalanche has no default, or one that compares badly."""
    known = _options(resolve(name))
    total = MEMORY if memory is None else memory
    kept = options.get("mem_size", options.get("memory_size", total))
    replayed = min(batch_size, kept, *(len(experience.train) for experience in stream.experiences))
    ours = {
        "mem_size": total,
        "memory_size": total,
        "patterns_per_exp": max(1, total // len(stream)),
        "batch_size_mem": replayed,
        # divided evenly among the experiences so far
        "sample_size": max(batch_size, len(stream)),
        **{key: value for key, value in _REQUIRED.items() if _wanted(known, key)},
    }
    if name == "GenerativeReplay":
        options = {"generator": "like_ours", **options}
        if options["generator"] != "default":
            ours["replay_size"] = batch_size
    return {key: value for key, value in ours.items() if key in known} | dict(options)


def strategies() -> dict[str, type]:
    """All of Avalanche's strategies for classifiers, by name."""
    with quiet():
        from avalanche.training import supervised
        from avalanche.training.templates import SupervisedTemplate
    found = {name: kind for name, kind in vars(supervised).items() if inspect.isclass(kind)}
    return {name: kind for name, kind in found.items() if issubclass(kind, SupervisedTemplate) and name[0] != "_"}


def version() -> str:
    """Avalanche's version."""
    with quiet():
        import avalanche
    return str(avalanche.__version__)


def _obstacle(name: str) -> str | None:
    """Why a strategy cannot run here, or None when it can."""
    if name == "GEM" and importlib.util.find_spec("quadprog") is None:
        return "it needs a solver that is not installed: pip install quadprog"
    return UNSUPPORTED.get(name)


def resolve(name: str) -> type:
    """The class of a strategy that can run here; a ``ConfigError`` says which there are, or why it cannot."""
    found = strategies()
    if name not in found:
        raise ConfigError(f"Avalanche has no strategy {name!r} that can run here; {one_of(name, available())}")
    reason = _obstacle(name)
    if reason is not None:
        raise ConfigError(f"avalanche:{name} cannot run here: {reason}")
    return found[name]


def _options(kind: type) -> dict[str, inspect.Parameter]:
    return {key: parameter for key, parameter in parameters(kind).items() if key not in _OWNED}


def _wanted(known: Mapping[str, inspect.Parameter], key: str) -> bool:
    return key in known and known[key].default is inspect.Parameter.empty


def _names(name: str, known: Iterable[str]) -> list[str]:
    return [*known, *(["generator"] if name == "GenerativeReplay" else [])]


def _verified_generator(value: Any, where: str) -> Any:
    if value in ("like_ours", "default"):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected like_ours, default or options of the VAE, got {value!r}")
    given = ("sample_shape", "num_classes")
    return bind(VAE, value, where, given=given, refused=(*given, "store", "continual")).options

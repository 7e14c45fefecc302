"""Avalanche's own strategies as lives: their code, our stream, network, optimiser, step count and examinations.

Avalanche is imported inside functions only: its import takes seconds.

What is the same for every strategy, and as in a life of :class:`dreamer.training.module.WakeSleepModule`: the experiences with
their training, held-out and test data; pixels as the stream gives them; the network with its initial weights; the
optimiser; the batch size; the learner's optimiser steps in each experience, whatever a strategy calls an epoch; and who
examines. What is theirs: the order of the samples (Avalanche's loaders), the losses, what is kept, and how.

Steps are kept with a plugin that calls the strategy's ``stop_training`` when the optimiser has made as many as were
asked for; ``train_epochs`` is set so large that it never ends training first. They are counted by a hook on the
optimiser, not taken from Avalanche's clock.

Quirks of Avalanche 0.6.0, which are measured here as they are and not mended:

- ``SynapticIntelligence`` on a CPU learns as ``Naive`` does: it keeps views of the weights (``detach().cpu()`` copies
  nothing there), so every step seems to have changed nothing and all importances stay 0. On a GPU that call copies.
- ``GenerativeReplay`` with its own generator (``generator="default"``): a VAE for 1x28x28 images with two latent
  dimensions, whose decoder normalises its pixels to about -0.42 ... 2.82 while the samples lie in [0, 1], and which
  learns with squared errors, its own Adam (1e-2) and half the standard deviation that it says it has. It cannot learn a
  batch of one sample. Asked to replay before it was trained (``untrained_solver=False``), it does so silently.
- ``GenerativeReplay`` with ``is_weighted_replay=True`` throws away the learner's answer to its dreams and judges the
  stale answer to the day's samples by the dreams' labels. Its dreams keep the graph of the generator that made them.
- ``DER`` replays only once its buffer holds ``batch_size_mem`` samples; below that it is silently ``Naive``. It keeps
  the logits that the learner gives when the experience is over.
- ``ICaRL`` averages every stored sample's features with those of its mirror image, also where mirrored images mean
  something else. A class not met yet has the zero vector for a mean and can be answered. Its buffer may exceed
  ``memory_size`` by rounding up per class.
- ``MIR`` never replays the classes that the last batch of an experience held, and nothing at all before its buffer
  holds more than ``batch_size_mem`` samples of others.
- ``ER_ACE`` puts all of an experience into its buffer before it learns it.
- ``GDumb`` begins every experience with the initial weights, and learns from its buffer alone.
- ``GEM`` and ``AGEM`` divide their memory by the number of experiences beforehand, so it fills only at the end.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import inspect
import logging
import math
import random
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dreamer import metrics
from dreamer.config.binding import ConfigError, bind, check, parameters
from dreamer.config.registry import summary
from dreamer.core.hypnogram import Hypnogram
from dreamer.core.randomness import Purpose, mix
from dreamer.core.suggest import one_of
from dreamer.core.types import Stage
from dreamer.generators import VAE
from dreamer.generators.likelihood import divergence, misfit, pixels
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.loop.checks import ActiveOutputs
from dreamer.networks.base import featured, module_bytes
from dreamer.streams.base import Samples, Stream, TensorSamples
from dreamer.training.data import StreamDataModule
from dreamer.training.evaluation import evaluate

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
"""Avalanche's strategies that cannot live a stream with a network, an optimiser and a number of steps of ours."""

MEMORY = 200
"""Samples kept where no memory is asked for: Avalanche's own default."""

_OWNED = (
    *("model", "feature_extractor", "classifier", "optimizer", "criterion", "generator_strategy", "buffer_transform"),
    *("train_mb_size", "train_epochs", "eval_mb_size", "device", "plugins", "evaluator", "eval_every", "peval_mode"),
)
"""Arguments of the strategies that a life sets itself."""

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

_KEPT = {
    **dict.fromkeys(("storage_policy", "buffers", "memory_x", "memory_y", "memory_tid"), "memory"),
    **dict.fromkeys(("x_memory", "y_memory", "dataset", "_experiences"), "memory"),
    **dict.fromkeys(("generator", "old_generator"), "generator"),
    **dict.fromkeys(("prev_model", "old_model", "init_model", "initial_weights"), "teacher"),
}
"""What an attribute of a strategy or plugin holds; tensors under other names are plasticity."""

_SCRATCH = ("reference_gradients", "G", "old_logits")
"""Tensors that belong to one step."""


def available() -> dict[str, str]:
    """The strategies that can be lived here, with the first line of their docstrings."""
    return {name: summary(kind) or name for name, kind in sorted(_strategies().items()) if _obstacle(name) is None}


def verify(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check a strategy's name and options, before any data are read.

    Args:
        name: one of :func:`available`.
        options: arguments of its constructor in Avalanche, as plain values, save those that a life sets itself;
            ``GenerativeReplay`` also takes ``generator`` (see :func:`live`).

    Returns:
        The options, with the types that the constructor wants.

    Raises:
        ConfigError: for an unknown name or option, or a value of the wrong type.
    """
    kind = _resolve(name)
    known = _options(kind)
    checked: dict[str, Any] = {}
    for key, value in (options or {}).items():
        where = f"avalanche:{name}.{key}"
        if name == "GenerativeReplay" and key == "generator":
            checked[key] = _verified_generator(value, where)
            continue
        if key in _OWNED:
            raise ConfigError(f"{where}: cannot be configured, because the life sets it itself")
        if key not in known:
            raise ConfigError(f"{where}: unknown option; {one_of(str(key), _names(name, known))}")
        checked[key] = check(value, known[key].annotation, where, known[key].default)
    return checked


def live(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    stream: Stream,
    network: nn.Module,
    optimizer: Callable[..., torch.optim.Optimizer],
    batch_size: int = 128,
    steps: int | None = None,
    epochs: int = 1,
    active_outputs: ActiveOutputs = "all",
    seed: int = 0,
    device: torch.device | str = "cpu",
    memory: int | None = None,
) -> dict[str, Any]:
    """Live through a stream with one of Avalanche's strategies.

    Everything is drawn from the global generators (of Python, numpy and torch), which are seeded here and put back
    afterwards. Nothing is printed and nothing is written.

    ``GenerativeReplay`` takes the option ``generator``: ``like_ours`` (the default) is :class:`dreamer.generators.VAE`
    with the defaults of its signature, its own likelihood and the learner's kind of optimiser, and as many dreams as
    the batch has samples; a mapping sets options of that class (``latent_dim``, ``hidden``, ``likelihood``);
    ``default`` is Avalanche's. Either learns each experience for as many steps as the learner, after it.

    Bytes are those held when the life ends, found by walking through the strategy and its plugins: ``memory`` are the
    samples of every buffer, as the stream stores them (a buffer of Avalanche is a view of the data sets) or, where a
    strategy copies them, as it does, with 8 bytes for each label, and the logits kept with them; ``Cumulative`` and
    ``JointTraining`` hold the stream. ``generator`` and ``teacher`` are networks and frozen copies, ``plasticity``
    every other tensor that outlives a step.

    Args:
        name: one of :func:`available`.
        options: see :func:`verify`. Where they are not given: memories hold ``memory`` samples, divided by the number
            of experiences where Avalanche counts per experience; as many samples are replayed as the batch has, and no
            more than the memory or an experience holds; the rest has Avalanche's defaults, or, where it has none,
            those of its examples and plugins.
        stream: what is met.
        network: the learner at birth, which is copied; maps (B, *S) to (B, K) logits. ``ICaRL`` needs
            ``features`` and ``classify`` (see :class:`dreamer.networks.base.Featured`).
        optimizer: called with the list of parameters.
        batch_size: real samples per step.
        steps: optimiser steps per experience; None counts passes. A joint life has those of all experiences.
        epochs: passes over the experience's training data, used when ``steps`` is None.
        active_outputs: ``all``; other competitions are not known to Avalanche's strategies.
        seed: of the life.
        device: where it is lived.
        memory: samples kept in all; None is Avalanche's default.

    Returns:
        A record of the shape of ``WakeSleepModule.results()``. Its ``cost.samples`` are those shown to the learner
        with gradients: ``wake`` those read from the experience at hand (of ``Cumulative`` and ``JointTraining`` all),
        ``replayed`` all others. Its ``cost.generator_steps`` are optimiser steps of a generator that has an optimiser
        of its own. ``avalanche`` holds the strategy, its options, and the version.

    Raises:
        ConfigError: for whatever cannot be lived, with the reason.
    """
    _check_counts(batch_size, steps, epochs, memory)
    if active_outputs != "all":
        raise ConfigError(
            f"avalanche:{name}: expected active_outputs='all', because Avalanche's strategies let all outputs compete; "
            f"got {active_outputs!r}"
        )
    chosen = verify(name, options)
    _check_stream(name, stream, chosen)
    place = torch.device(device)
    filled = _filled(name, chosen, stream, batch_size, memory)
    days = [steps or epochs * math.ceil(len(experience.train) / batch_size) for experience in stream.experiences]
    # Avalanche's deprecation notes put filters aside, so warnings are collected instead
    with quiet(), warnings.catch_warnings(record=True), _drawing(seed, place):
        learner = copy.deepcopy(network).to(place)
        account = _Account(stream, place)
        account.evaluate("birth", -1, 0, learner)
        strategy, pace, generator = _build(name, filled, stream, learner, optimizer, batch_size, sum(days), place)
        _live_through(strategy, stream, days, pace, generator, account)
        held = _held(strategy, stream)
    return account.record(seed, pace, generator, held) | {
        "avalanche": {"strategy": name, "options": filled, "version": _version()}
    }


# -------------------------------------------------------------------- what there is


def _strategies() -> dict[str, type]:
    with quiet():
        from avalanche.training import supervised
        from avalanche.training.templates import SupervisedTemplate
    found = {name: kind for name, kind in vars(supervised).items() if inspect.isclass(kind)}
    return {name: kind for name, kind in found.items() if issubclass(kind, SupervisedTemplate) and name[0] != "_"}


def _version() -> str:
    with quiet():
        import avalanche
    return str(avalanche.__version__)


def _obstacle(name: str) -> str | None:
    """Why a strategy cannot be lived here, or None when it can."""
    if name == "GEM" and importlib.util.find_spec("quadprog") is None:
        return "it needs a solver that is not installed: pip install quadprog"
    return UNSUPPORTED.get(name)


def _resolve(name: str) -> type:
    strategies = _strategies()
    if name not in strategies:
        raise ConfigError(f"Avalanche has no strategy {name!r} that can be lived here; {one_of(name, available())}")
    reason = _obstacle(name)
    if reason is not None:
        raise ConfigError(f"avalanche:{name} cannot be lived here: {reason}")
    return strategies[name]


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


# -------------------------------------------------------------------- what is refused


def _check_counts(batch_size: int, steps: int | None, epochs: int, memory: int | None) -> None:
    for name, count in {"batch_size": batch_size, "steps": steps, "epochs": epochs, "memory": memory}.items():
        if count is not None and count < 1:
            raise ConfigError(f"expected {name} of at least 1, got {count}")


def _check_stream(name: str, stream: Stream, options: Mapping[str, Any]) -> None:
    met = [label for experience in stream.experiences for label in experience.classes]
    if name == "ICaRL" and len(met) != len(set(met)):
        raise ConfigError(
            f"avalanche:ICaRL needs experiences with classes of their own, but experiences of {stream.name} share them"
        )
    if options.get("generator") == "default" and tuple(stream.sample_shape) != (1, 28, 28):
        raise ConfigError(
            "avalanche:GenerativeReplay.generator: Avalanche's default makes samples of shape (1, 28, 28), "
            f"{stream.name} has {tuple(stream.sample_shape)}; expected like_ours"
        )


# -------------------------------------------------------------------- how it is built


def _filled(
    name: str, options: Mapping[str, Any], stream: Stream, batch_size: int, memory: int | None
) -> dict[str, Any]:
    """The options, and values for those left open for which Avalanche has no default, or none that compares."""
    known = _options(_resolve(name))
    total = MEMORY if memory is None else memory
    kept = options.get("mem_size", options.get("memory_size", total))
    replayed = min(batch_size, kept, *(len(experience.train) for experience in stream.experiences))
    ours = {
        "mem_size": total,
        "memory_size": total,
        "patterns_per_exp": max(1, total // len(stream)),
        "batch_size_mem": replayed,
        # shared out evenly among the experiences so far
        "sample_size": max(batch_size, len(stream)),
        **{key: value for key, value in _REQUIRED.items() if _wanted(known, key)},
    }
    if name == "GenerativeReplay":
        options = {"generator": "like_ours", **options}
        if options["generator"] != "default":
            ours["replay_size"] = batch_size
    return {key: value for key, value in ours.items() if key in known} | dict(options)


def _build(
    name: str,
    options: Mapping[str, Any],
    stream: Stream,
    network: nn.Module,
    optimizer: Callable[..., torch.optim.Optimizer],
    batch_size: int,
    most_steps: int,
    device: torch.device,
) -> tuple[Any, StepCounter, StepCounter | None]:
    """The strategy, who keeps its pace, and who keeps that of its generator."""
    kind = _resolve(name)
    known = parameters(kind)
    steering = optimizer(list(network.parameters()))
    pace = StepCounter(steering)
    common = {
        "train_mb_size": batch_size,
        "train_epochs": most_steps,
        "eval_mb_size": batch_size,
        "device": device,
        "evaluator": None,
    }
    given = {"model": network, "optimizer": steering, "plugins": [pace], "buffer_transform": None, **common}
    if "criterion" in known:
        given["criterion"] = _criterion(known["criterion"].default)
    plain = {key: value for key, value in options.items() if key != "generator"}
    if options.get("generator", "default") != "default":
        plain["generator_strategy"] = _our_generator(options, stream, optimizer, common)
    try:
        if "feature_extractor" in known:
            given |= {"feature_extractor": _Features(network), "classifier": _Classifier(network)}
        strategy = kind(**{key: value for key, value in given.items() if key in known}, **plain)
    except (AssertionError, ValueError, TypeError) as error:
        raise ConfigError(f"avalanche:{name}: {error}") from error
    strategy.model.register_forward_hook(pace.shown_to)
    dreams = getattr(strategy, "generator_strategy", None)
    return strategy, pace, None if dreams is None else _paced_generator(dreams)


def _criterion(default: Any) -> Any:
    if default is inspect.Parameter.empty or isinstance(default, nn.CrossEntropyLoss):
        return nn.CrossEntropyLoss()
    # a strategy's own one may keep a state, and the default is shared by all lives of a process
    return copy.deepcopy(default)


def _our_generator(
    options: Mapping[str, Any], stream: Stream, optimizer: Callable[..., torch.optim.Optimizer], common: dict[str, Any]
) -> Any:
    from avalanche.training.plugins import GenerativeReplayPlugin
    from avalanche.training.supervised import VAETraining

    chosen = {} if options["generator"] == "like_ours" else options["generator"]
    vae = _LikeOurs(VAE(stream.sample_shape, stream.num_classes, **chosen)).to(common["device"])
    replaying = {
        key: options[key]
        for key in parameters(GenerativeReplayPlugin)
        if key in options and key not in ("generator_strategy", "untrained_solver")
    }
    return VAETraining(
        model=vae,
        optimizer=optimizer(list(vae.parameters())),
        criterion=vae.bound,
        plugins=[GenerativeReplayPlugin(**replaying)],
        **common,
    )


def _paced_generator(strategy: Any) -> StepCounter:
    pace = StepCounter(strategy.optimizer)
    strategy.plugins.insert(0, pace)
    # Avalanche's default shows progress bars
    strategy.evaluator.loggers = []
    return pace


class _Features(nn.Module):
    """The half of a network that maps (B, *S) samples to (B, H) features."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = featured(network)

    def forward(self, x: Tensor) -> Tensor:
        return self.network.features(x)


class _Classifier(nn.Module):
    """The half of a network that maps (B, H) features to (B, K) logits."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = featured(network)

    def forward(self, h: Tensor) -> Tensor:
        return self.network.classify(h)


class _LikeOurs(nn.Module):
    """Our VAE behind the interface of Avalanche's generators.

    Args:
        vae: gives layers, widths and likelihood.
    """

    def __init__(self, vae: VAE):
        super().__init__()
        self.encoder, self.decoder = vae.encoder, vae.decoder
        self.latent_dim, self.likelihood, self.sample_shape = vae.latent_dim, vae.likelihood, vae.sample_shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (B, *S) samples to the decoder's (B, N) answer, and (B, D) means and log-variances of the codes."""
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, dim=1)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(code), mean, log_variance

    @torch.no_grad()
    def generate(self, batch_size: int | None = None, condition: Any = None) -> Tensor:
        """(B, *S) dreams, or one of shape *S without ``batch_size``."""
        weight = next(self.decoder.parameters())
        code = torch.randn(batch_size or 1, self.latent_dim, device=weight.device)
        dreams = pixels(self.decoder(code), self.likelihood).view(-1, *self.sample_shape)
        return dreams if batch_size else dreams[0]

    def bound(self, x: Tensor, answered: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The negative evidence bound per element, as :class:`dreamer.generators.VAE` has it."""
        answer, mean, log_variance = answered
        flat = x.flatten(1)
        return (misfit(answer, flat, self.likelihood).sum() + divergence(mean, log_variance).sum()) / flat.numel()


# -------------------------------------------------------------------- how it is lived


class StepCounter:
    """A plugin that counts what an optimiser and a learner do, and ends training at a number of steps.

    Args:
        optimizer: whose steps are counted.

    Attributes:
        steps: that it has made.
        end: of them at which :attr:`at_end` is called.
        at_end: what then happens to the strategy; by default training stops.
        samples: shown to the learner in training iterations: ``wake`` and ``replayed``.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.steps = self.end = 0
        self.at_end: Callable[[Any], None] = lambda strategy: strategy.stop_training()
        self.samples = {"wake": 0, "replayed": 0}
        self.read: Callable[[], int] = lambda: 0
        self._shown = 0
        optimizer.register_step_post_hook(lambda *_: self._step())

    @property
    def shown_to(self) -> Callable[..., None]:
        """A forward hook that counts the samples that a network is shown with gradients."""

        def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if torch.is_grad_enabled():
                self._shown += len(inputs[0])

        return count

    def _step(self) -> None:
        self.steps += 1

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        """Forget what was read and shown outside of iterations."""
        self.read()
        self._shown = 0

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Count the iteration's samples, and look whether the end is reached."""
        real = min(self.read(), self._shown)
        self.samples["wake"] += real
        self.samples["replayed"] += self._shown - real
        self._shown = 0
        if self.steps >= self.end:
            self.at_end(strategy)


class _Items(Dataset):
    """Samples one by one, as Avalanche reads them, counting how many were read.

    Args:
        samples: what to read.
    """

    def __init__(self, samples: Samples):
        self.samples = samples
        self.targets = samples.y.tolist()
        self.count = 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.count += 1
        samples = self.samples
        if isinstance(samples, TensorSamples):
            x = samples.x[index]
            return x if samples.scale is None else x.to(torch.float32).mul_(samples.scale), self.targets[index]
        return next(iter(samples.batches([torch.tensor([index])]))).x[0], self.targets[index]

    def taken(self) -> int:
        """How many were read since this was asked last."""
        count, self.count = self.count, 0
        return count


def _live_through(
    strategy: Any, stream: Stream, days: list[int], pace: StepCounter, generator: StepCounter | None, account: _Account
) -> None:
    """Train and evaluate, experience by experience; a joint life is examined after each share of its steps."""
    from avalanche.training.supervised import Cumulative, JointTraining

    items = [_Items(experience.train.to("cpu")) for experience in stream.experiences]
    experiences = _experiences(stream, items)
    ends = [sum(days[: index + 1]) for index in range(len(days))]
    if isinstance(strategy, JointTraining):
        pace.read = lambda: sum(each.taken() for each in items)
        reached = iter(range(len(days)))

        def rest(strategy: Any) -> None:
            index = next(reached)
            account.evaluate("wake", index, pace.steps, strategy.model)
            if index + 1 == len(days):
                strategy.stop_training()
            else:
                pace.end = ends[index + 1]

        pace.at_end, pace.end = rest, ends[0]
        account.train(strategy, experiences)
        return
    for index, experience in enumerate(experiences):
        older = items[: index + 1] if isinstance(strategy, Cumulative) else items[index : index + 1]
        pace.read, pace.end = lambda older=older: sum(each.taken() for each in older), ends[index]  # type: ignore[misc]
        if generator is not None:
            generator.end = ends[index]
        account.train(strategy, experience)
        account.evaluate("wake", index, pace.steps, strategy.model)


def _experiences(stream: Stream, items: list[_Items]) -> list[Any]:
    """The stream's experiences as Avalanche's, without task labels."""
    from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline, with_task_labels
    from avalanche.benchmarks.utils.classification_dataset import _as_taskaware_supervised_classification_dataset

    datasets = [_as_taskaware_supervised_classification_dataset(each) for each in items]
    benchmark = with_task_labels(with_classes_timeline(benchmark_from_datasets(train=datasets)))
    experiences = list(benchmark.streams["train"])
    # ICaRL asks the experience for these two, which only Avalanche's older benchmarks have
    order = [label for classes in stream.class_order for label in classes]
    counts = [len(classes) for classes in stream.class_order]
    for experience in experiences:
        experience.benchmark = SimpleNamespace(n_classes_per_exp=counts, classes_order=order)
    return experiences


class _Account:
    """What a life scored and took.

    Args:
        stream: what it meets.
        device: where it is lived.
    """

    def __init__(self, stream: Stream, device: torch.device):
        self.stream = stream
        self.device = device
        self.rows: list[dict[str, Any]] = []
        self.seconds = dict.fromkeys(("wake", "nrem", "rem", "examination"), 0.0)
        self._data = StreamDataModule(stream)
        with _unlogged():
            # examinations ask it for limits and precision: none, and full
            self._data.trainer = pl.Trainer(
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )

    def evaluate(self, after: str, experience: int, global_step: int, network: nn.Module) -> None:
        """Add a row to the accuracy matrix."""
        started = time.perf_counter()
        tested, held = evaluate(network, self._data, "all", experience, self.device)
        self.seconds["examination"] += time.perf_counter() - started
        row = {"after": after, "experience": experience, "night": -1, "stage": experience, "global_step": global_step}
        self.rows.append({**row, "accuracy": tested, "validation": held or None})

    def train(self, strategy: Any, experiences: Any) -> None:
        """Let the strategy learn, and look at the clock."""
        started, examined = time.perf_counter(), self.seconds["examination"]
        strategy.train(experiences, eval_streams=[])
        self.seconds["wake"] += time.perf_counter() - started - (self.seconds["examination"] - examined)

    def record(
        self, seed: int, pace: StepCounter, generator: StepCounter | None, held: dict[str, int]
    ) -> dict[str, Any]:
        """The life as plain numbers, see ``WakeSleepModule.results``."""
        taken = [row["global_step"] for row in self.rows]
        lengths = [after - before for before, after in zip(taken[:-1], taken[1:], strict=True)]
        plan = Hypnogram([Stage(i, "wake", i, length, opens=True, evaluated=True) for i, length in enumerate(lengths)])
        return {
            "complete": True,
            "seed": seed,
            "protocol": self._protocol(),
            "hypnogram": plan.as_records(),
            "accuracy_matrix": {"rows": self.rows},
            "metrics": dict(metrics.summarise(self.rows, self.stream.origins)),  # type: ignore[arg-type]
            "cost": {
                "optimizer_steps": {"wake": pace.steps, "nrem": 0, "rem": 0},
                "generator_steps": 0 if generator is None else generator.steps,
                "samples": {**pace.samples, "nrem": 0, "rem": 0},
                "seconds": self.seconds,
                "bytes": held,
            },
        }

    def _protocol(self) -> dict[str, Any]:
        stream = self.stream
        held = [experience.validation for experience in stream.experiences]
        return {
            "stream": stream.name,
            "scenario": stream.scenario,
            "experiences": len(stream),
            "class_order": [list(classes) for classes in stream.class_order],
            "active_outputs": "all",
            "train_samples": [len(experience.train) for experience in stream.experiences],
            "validation_samples": [0 if samples is None else len(samples) for samples in held],
            "test_samples": [len(experience.test) for experience in stream.experiences],
            "sample_shape": list(stream.sample_shape),
            "num_classes": stream.num_classes,
            **({"origins": list(stream.origins)} if stream.in_pieces else {}),
        }


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Lightning's lines about devices belong to lives of its own."""
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def _drawing(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators, from which Avalanche draws, and put them back afterwards."""
    import numpy

    number = mix(seed, Purpose.NETWORK)
    before = random.getstate(), numpy.random.get_state()
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(number)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        random.seed(number)
        numpy.random.seed(number % 2**32)
        try:
            yield
        finally:
            random.setstate(before[0])
            numpy.random.set_state(before[1])


# -------------------------------------------------------------------- what it holds


def _held(strategy: Any, stream: Stream) -> dict[str, int]:
    """Bytes held by a strategy, see :func:`live`."""
    walk = _Walk(stream, strategy.model)
    for name, kind in _KEPT.items():
        if name in vars(strategy):
            walk(vars(strategy)[name], kind)
    for plugin in strategy.plugins:
        walk(plugin, "plasticity")
    return {"network": module_bytes(strategy.model), **walk.found}


class _Walk:
    """Goes through everything that an object of Avalanche holds, each thing once.

    Args:
        stream: says how samples are stored.
        network: the learner, which is counted elsewhere.
    """

    def __init__(self, stream: Stream, network: nn.Module):
        from avalanche.benchmarks import DatasetExperience
        from avalanche.benchmarks.utils import AvalancheDataset
        from avalanche.training.storage_policy import ExemplarsBuffer
        from avalanche.training.templates.base import BaseTemplate

        self.found = dict.fromkeys(("memory", "generator", "teacher", "plasticity"), 0)
        self._dataset, self._buffer = AvalancheDataset, ExemplarsBuffer
        self._experience, self._strategy = DatasetExperience, BaseTemplate
        self._shape = tuple(stream.sample_shape)
        self._sample = _stored_bytes(stream.experiences[0].train)
        # what is walked through is kept alive, so that no other thing gets its number
        self._seen: dict[int, Any] = {id(part): part for part in (network, *network.parameters())}

    def __call__(self, thing: Any, kind: str) -> None:
        if isinstance(thing, int):
            # labels in a list
            self.found[kind] += 8 if kind == "memory" else 0
            return
        if id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, Tensor):
            self.found[kind] += thing.numel() * thing.element_size()
        elif isinstance(thing, nn.Module):
            self.found[kind if kind != "plasticity" else "teacher"] += module_bytes(thing)
        elif isinstance(thing, self._dataset):
            self.found["memory"] += self._bytes_of(thing)
        elif isinstance(thing, self._buffer):
            self(thing.buffer, "memory")
        elif isinstance(thing, self._experience):
            self(thing.dataset, "memory")
        elif isinstance(thing, Mapping):
            for each in thing.values():
                self(each, kind)
        elif isinstance(thing, list | tuple):
            for each in thing:
                self(each, kind)
        elif type(thing).__module__.partition(".")[0] == "avalanche":
            self._enter(thing, kind)

    def _enter(self, thing: Any, kind: str) -> None:
        # of a strategy within a strategy (the generator's) the plugins say what they keep
        names = ["plugins"] if isinstance(thing, self._strategy) else list(vars(thing))
        for name in names:
            if name not in _SCRATCH:
                self(vars(thing)[name], _KEPT.get(name, kind))

    def _bytes_of(self, dataset: Any) -> int:
        if not len(dataset):
            return 0
        x, _, *others = dataset[0]
        sample = self._sample if tuple(x.shape) == self._shape else x.numel() * x.element_size()
        kept = sum(other.numel() * other.element_size() for other in others if isinstance(other, Tensor))
        return len(dataset) * (sample + 8 + kept)


def _stored_bytes(samples: Samples) -> int:
    """Bytes of one sample as the stream stores it; of samples that are read from files, as they are read."""
    x = samples.x[0] if isinstance(samples, TensorSamples) else next(iter(samples.batches([torch.tensor([0])]))).x[0]
    return x.numel() * x.element_size()

"""Run Avalanche's own strategies: their code, our stream, network, optimiser, step count and evaluations.

Avalanche is imported inside functions only: its import takes seconds.

What is the same for every strategy, and as in a run of :class:`dreamer.WakeSleepModule`: the experiences with their
training, held-out and test data; pixels as the stream gives them; the network with its initial weights; the optimiser;
the batch size; the learner's optimiser steps in each experience, whatever a strategy calls an epoch; and the
evaluation. What is theirs: the order of the samples (Avalanche's loaders), the losses, what is kept, and how.

Steps are kept with a plugin that calls the strategy's ``stop_training`` when the optimiser has made as many as are
wanted; ``train_epochs`` is set so large that it never ends training first. They are counted by a hook on the
optimiser, not taken from Avalanche's clock.

Quirks of Avalanche 0.6.0, which are measured here as they are:

- ``SynapticIntelligence`` on a CPU learns as ``Naive`` does: it keeps views of the weights (``detach().cpu()`` copies
  nothing there), so every step seems to have changed nothing and all importances stay 0. On a GPU that call copies.
- ``GenerativeReplay`` with its own generator (``generator="default"``): a VAE for 1x28x28 images with two latent
  dimensions, whose decoder normalises its pixels to about -0.42 ... 2.82 while the samples lie in [0, 1], and which
  learns with squared errors, its own Adam (1e-2) and half the standard deviation that it says it has. It cannot learn a
  batch of one sample. Set to replay before it was trained (``untrained_solver=False``), it does so silently.
- ``GenerativeReplay`` with ``is_weighted_replay=True`` throws away the learner's output for its dreams and scores the
  stale output for the real samples by the dreams' labels. Its dreams keep the graph of the generator that made them.
- ``DER`` replays only once its buffer holds ``batch_size_mem`` samples; below that it is silently ``Naive``. It keeps
  the logits that the learner gives when the experience is over.
- ``ICaRL`` averages every stored sample's features with those of its mirror image, also where mirrored images mean
  something else. A class not seen yet has the zero vector for a mean and can be predicted. Its buffer may exceed
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
import functools
import inspect
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from dreamer.config.binding import ConfigError, parameters
from dreamer.core.randomness import Purpose, mix
from dreamer.generators import VAE
from dreamer.interop.avalanche.accounting import CountedSamples, RunRecord, StepCounter, held_bytes
from dreamer.interop.avalanche.adapters import AvalancheVAE, Classifier, Features
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.interop.avalanche.options import filled, resolve, verify, version
from dreamer.loop.plan import ActiveOutputs
from dreamer.networks.base import copied
from dreamer.streams.base import Stream


def run(
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
    """Train and evaluate one of Avalanche's strategies on a stream.

    Everything is drawn from the global generators (of Python, numpy and torch), which are seeded here and put back
    afterwards. Nothing is printed and nothing is written.

    ``GenerativeReplay`` takes the option ``generator``: ``like_ours`` (the default) is :class:`dreamer.generators.VAE`
    with the defaults of its signature, its own likelihood and the learner's kind of optimiser, and as many dreams as
    the batch has samples; a mapping sets options of that class (``latent_dim``, ``hidden``, ``likelihood``);
    ``default`` is Avalanche's. Either learns each experience for as many steps as the learner, after it.

    Bytes are those held when the run ends, found by walking through the strategy and its plugins: ``memory`` are the
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
        network: the learner with its initial weights, which is copied; maps (B, *S) to (B, K) logits. ``ICaRL`` needs
            ``features`` and ``classify`` (see :class:`dreamer.networks.base.Featured`).
        optimizer: called with the list of parameters.
        steps: optimiser steps per experience; None counts passes. Joint training has those of all experiences.
        epochs: passes over the experience's training data, used when ``steps`` is None.
        active_outputs: ``all``; Avalanche's strategies have no other mask of classes.
        memory: samples kept in all; None is Avalanche's default.

    Returns:
        A record of the shape of ``WakeSleepModule.results()``. Its ``cost.samples`` are those shown to the learner
        with gradients: ``wake`` those read from the experience at hand (of ``Cumulative`` and ``JointTraining`` all),
        ``replayed`` all others. Its ``cost.generator_steps`` are optimiser steps of a generator that has an optimiser
        of its own. ``avalanche`` holds the strategy, its options, and the version.

    Raises:
        ConfigError: for whatever cannot run, with the reason.
    """
    _check_counts(batch_size, steps, epochs, memory)
    if active_outputs != "all":
        raise ConfigError(
            f"avalanche:{name}: expected active_outputs='all', because Avalanche's strategies keep all outputs active; "
            f"got {active_outputs!r}"
        )
    chosen = verify(name, options)
    _check_stream(name, stream, chosen)
    place = torch.device(device)
    complete = filled(name, chosen, stream, batch_size, memory)
    lengths = [steps or epochs * math.ceil(len(experience.train) / batch_size) for experience in stream.experiences]
    # Avalanche's deprecation notes put filters aside, so warnings are collected instead
    with quiet(), warnings.catch_warnings(record=True), _seeded(seed, place):
        learner = copied(network).to(place)
        record = RunRecord(stream, place)
        record.evaluate("birth", -1, 0, learner)
        built = _build(name, complete, stream, learner, optimizer, batch_size, sum(lengths), place)
        strategy, counter, generator = built
        _train(strategy, stream, lengths, counter, generator, record)
        held = held_bytes(strategy, stream)
    return record.results(seed, counter, generator, held) | {
        "avalanche": {"strategy": name, "options": complete, "version": version()}
    }


def _check_counts(batch_size: int, steps: int | None, epochs: int, memory: int | None) -> None:
    for name, count in {"batch_size": batch_size, "steps": steps, "epochs": epochs, "memory": memory}.items():
        if count is not None and count < 1:
            raise ConfigError(f"expected {name} of at least 1, got {count}")


def _check_stream(name: str, stream: Stream, options: Mapping[str, Any]) -> None:
    seen = [label for experience in stream.experiences for label in experience.classes]
    if name == "ICaRL" and len(seen) != len(set(seen)):
        raise ConfigError(
            f"avalanche:ICaRL needs experiences with classes of their own, but experiences of {stream.name} share them"
        )
    if options.get("generator") == "default" and tuple(stream.sample_shape) != (1, 28, 28):
        raise ConfigError(
            "avalanche:GenerativeReplay.generator: Avalanche's default makes samples of shape (1, 28, 28), "
            f"{stream.name} has {tuple(stream.sample_shape)}; expected like_ours"
        )


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
    """The strategy, what counts its steps, and what counts those of its generator."""
    kind = resolve(name)
    known = parameters(kind)
    steering = optimizer(list(network.parameters()))
    counter = StepCounter(steering)
    common = {
        "train_mb_size": batch_size,
        "train_epochs": most_steps,
        "eval_mb_size": batch_size,
        "device": device,
        "evaluator": None,
    }
    given = {"model": network, "optimizer": steering, "plugins": [counter], "buffer_transform": None, **common}
    if "criterion" in known:
        given["criterion"] = _criterion(known["criterion"].default)
    plain = {key: value for key, value in options.items() if key != "generator"}
    if options.get("generator", "default") != "default":
        plain["generator_strategy"] = _our_generator(options, stream, optimizer, common)
    try:
        if "feature_extractor" in known:
            given |= {"feature_extractor": Features(network), "classifier": Classifier(network)}
        strategy = kind(**{key: value for key, value in given.items() if key in known}, **plain)
    except (AssertionError, ValueError, TypeError) as error:
        raise ConfigError(f"avalanche:{name}: {error}") from error
    strategy.model.register_forward_hook(counter.shown_to)
    dreams = getattr(strategy, "generator_strategy", None)
    return strategy, counter, None if dreams is None else _counted_generator(dreams)


def _criterion(default: Any) -> Any:
    if default is inspect.Parameter.empty or isinstance(default, nn.CrossEntropyLoss):
        return nn.CrossEntropyLoss()
    # a strategy's own one may keep a state, and the default is shared by all runs of a process
    return copy.deepcopy(default)


def _our_generator(
    options: Mapping[str, Any], stream: Stream, optimizer: Callable[..., torch.optim.Optimizer], common: dict[str, Any]
) -> Any:
    from avalanche.training.plugins import GenerativeReplayPlugin
    from avalanche.training.supervised import VAETraining

    chosen = {} if options["generator"] == "like_ours" else options["generator"]
    vae = AvalancheVAE(VAE(stream.sample_shape, stream.num_classes, **chosen)).to(common["device"])
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


def _counted_generator(strategy: Any) -> StepCounter:
    counter = StepCounter(strategy.optimizer)
    strategy.plugins.insert(0, counter)
    # Avalanche's default shows progress bars
    strategy.evaluator.loggers = []
    return counter


def _train(
    strategy: Any,
    stream: Stream,
    lengths: list[int],
    counter: StepCounter,
    generator: StepCounter | None,
    record: RunRecord,
) -> None:
    """Train and evaluate, experience by experience; joint training is evaluated after the steps of each experience."""
    from avalanche.training.supervised import Cumulative, JointTraining

    items = [CountedSamples(experience.train.to("cpu")) for experience in stream.experiences]
    experiences = _experiences(stream, items)
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    if isinstance(strategy, JointTraining):
        counter.read = functools.partial(_taken, items)
        reached = iter(range(len(lengths)))

        def pause(strategy: Any) -> None:
            index = next(reached)
            record.evaluate("wake", index, counter.steps, strategy.model)
            if index + 1 == len(lengths):
                strategy.stop_training()
            else:
                counter.end = ends[index + 1]

        counter.at_end, counter.end = pause, ends[0]
        record.train(strategy, experiences)
        return
    for index, experience in enumerate(experiences):
        older = items[: index + 1] if isinstance(strategy, Cumulative) else items[index : index + 1]
        counter.read, counter.end = functools.partial(_taken, older), ends[index]
        if generator is not None:
            generator.end = ends[index]
        record.train(strategy, experience)
        record.evaluate("wake", index, counter.steps, strategy.model)


def _taken(items: list[CountedSamples]) -> int:
    """How many samples were read since the last call."""
    return sum(each.taken() for each in items)


def _experiences(stream: Stream, items: list[CountedSamples]) -> list[Any]:
    """The stream's experiences as Avalanche's, without task labels."""
    from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline, with_task_labels
    from avalanche.benchmarks.utils.classification_dataset import _as_taskaware_supervised_classification_dataset

    datasets = [_as_taskaware_supervised_classification_dataset(each) for each in items]
    benchmark = with_task_labels(with_classes_timeline(benchmark_from_datasets(train=datasets)))
    experiences = list(benchmark.streams["train"])
    # ICaRL reads these two from the experience, which only Avalanche's older benchmarks have
    order = [label for classes in stream.class_order for label in classes]
    counts = [len(classes) for classes in stream.class_order]
    for experience in experiences:
        experience.benchmark = SimpleNamespace(n_classes_per_exp=counts, classes_order=order)
    return experiences


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
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

"""What a run of one of Avalanche's strategies scores, costs and holds.

Avalanche is imported inside functions only: its import takes seconds.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dreamer.config.registry import name_of
from dreamer.core.hypnogram import Hypnogram
from dreamer.core.types import Stage
from dreamer.metrics.record import protocol_record, results_record
from dreamer.networks.base import module_bytes
from dreamer.problems import Classification
from dreamer.streams.base import Samples, Stream, TensorSamples
from dreamer.training.data import StreamDataModule
from dreamer.training.evaluation import evaluate

_KEPT = {
    **dict.fromkeys(("storage_policy", "buffers", "memory_x", "memory_y", "memory_tid"), "memory"),
    **dict.fromkeys(("x_memory", "y_memory", "dataset", "_experiences"), "memory"),
    **dict.fromkeys(("generator", "old_generator"), "generator"),
    **dict.fromkeys(("prev_model", "old_model", "init_model", "initial_weights"), "teacher"),
}
"""What an attribute of a strategy or plugin holds; tensors under other names are plasticity."""

_SCRATCH = ("reference_gradients", "G", "old_logits")
"""Tensors that belong to one step."""


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


class CountedSamples(Dataset):
    """Samples one by one, as Avalanche reads them, counting how many were read."""

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
        """How many were read since the last call."""
        count, self.count = self.count, 0
        return count


class RunRecord:
    """What a run scored and cost.

    Attributes:
        data: the stream as evaluations read it.
    """

    def __init__(self, stream: Stream, device: torch.device):
        self.stream = stream
        self.device = device
        self.problem = Classification()
        self.rows: list[dict[str, Any]] = []
        self.seconds = dict.fromkeys(("wake", "nrem", "rem", "examination"), 0.0)
        self.data = StreamDataModule(stream)
        with _without_remarks():
            # evaluations read limits and precision from it: none, and full
            self.data.trainer = pl.Trainer(
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )

    def evaluate(self, after: str, experience: int, global_step: int, network: nn.Module) -> None:
        """Add a row to the accuracy matrix."""
        started = time.perf_counter()
        found = evaluate(network, self.data, self.problem, "all", experience, self.device)
        self.seconds["examination"] += time.perf_counter() - started
        row = {"after": after, "experience": experience, "night": -1, "stage": experience, "global_step": global_step}
        scores = {"accuracy": found.tested, "validation": found.held or None, "recency_bias": found.recency_bias}
        self.rows.append(row | scores)

    def train(self, strategy: Any, experiences: Any) -> None:
        """Let the strategy learn, and measure the seconds without evaluations."""
        started, evaluating = time.perf_counter(), self.seconds["examination"]
        strategy.train(experiences, eval_streams=[])
        self.seconds["wake"] += time.perf_counter() - started - (self.seconds["examination"] - evaluating)

    def results(
        self, seed: int, counter: StepCounter, generator: StepCounter | None, held: dict[str, int]
    ) -> dict[str, Any]:
        """The run as plain numbers, see ``WakeSleepModule.results``."""
        taken = [row["global_step"] for row in self.rows]
        lengths = [after - before for before, after in zip(taken[:-1], taken[1:], strict=True)]
        plan = Hypnogram([Stage(i, "wake", i, length, opens=True, evaluated=True) for i, length in enumerate(lengths)])
        return results_record(
            complete=True,
            seed=seed,
            protocol=protocol_record(self.stream, self.problem, name_of(type(self.problem)), "all"),
            hypnogram=plan.as_records(),
            rows=self.rows,  # type: ignore[arg-type]
            origins=self.stream.origins,
            cost={
                "optimizer_steps": {"wake": counter.steps, "nrem": 0, "rem": 0},
                "generator_steps": 0 if generator is None else generator.steps,
                "samples": {**counter.samples, "nrem": 0, "rem": 0},
                "seconds": self.seconds,
                "bytes": held,
                "stores": "samples" if held["memory"] else "nothing",
            },
        )


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Leave out Lightning's lines about devices: this Trainer trains nothing."""
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def held_bytes(strategy: Any, stream: Stream) -> dict[str, int]:
    """Bytes held by a strategy, see :func:`dreamer.interop.avalanche.strategies.run`."""
    walk = _HeldBytes(stream, strategy.model)
    for name, kind in _KEPT.items():
        if name in vars(strategy):
            walk(vars(strategy)[name], kind)
    for plugin in strategy.plugins:
        walk(plugin, "plasticity")
    return {"network": module_bytes(strategy.model), **walk.found}


class _HeldBytes:
    """Goes through everything that an object of Avalanche holds, each thing once."""

    def __init__(self, stream: Stream, network: nn.Module):
        from avalanche.benchmarks import DatasetExperience
        from avalanche.benchmarks.utils import AvalancheDataset
        from avalanche.training.storage_policy import ExemplarsBuffer
        from avalanche.training.templates.base import BaseTemplate

        self.found = dict.fromkeys(("memory", "generator", "teacher", "plasticity"), 0)
        self.dataset, self._buffer = AvalancheDataset, ExemplarsBuffer
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
        elif isinstance(thing, self.dataset):
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

"""What our plugin reads from a strategy of Avalanche, and does with it.

Avalanche is imported inside functions only: its import takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dreamer.core.modes import evaluating
from dreamer.core.types import Batch
from dreamer.generators import Generator
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.interop.avalanche.learners import AdaptedLearner
from dreamer.loop.plan import SleepStage
from dreamer.networks.base import featured


class CachedForward(nn.Module):
    """The learner, with outputs that the strategy has computed already.

    Args:
        network: the learner.
        output: (B, K) logits, those of the real samples first, then those of what is replayed where that entered with
            them.
    """

    def __init__(self, network: nn.Module, output: Tensor):
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits, from the cache."""
        return self.output

    def features(self, x: Tensor) -> Tensor:
        """(B, H) features, computed by the learner."""
        return featured(self.network).features(x)

    def classify(self, h: Tensor) -> Tensor:
        """(B, K) logits for (B, H) features, computed by the learner."""
        return featured(self.network).classify(h)


class CurrentBatch:
    """Stands where a run has its samples: the strategy reads them, and this hands on its current batch."""

    current: Any = None

    def __len__(self) -> int:
        return 1

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        """The current batch, whichever samples are wanted."""
        while True:
            yield self.current


def new_samples(strategy: Any) -> int:
    """How many samples of the strategy's batch, from its start, are of the experience: a ReplayPlugin's follow them."""
    with quiet():
        from avalanche.benchmarks.utils.data_loader import ReplayDataLoader
    loader, count = strategy.dataloader, len(strategy.mb_y)
    if not isinstance(loader, ReplayDataLoader):
        return count
    size = loader.batch_sizes[0]
    left = len(loader.datasets[0]) - size * strategy.clock.train_epoch_iterations
    return min(count, size, left)


def extra_fields(strategy: Any, rows: slice) -> dict[int, Tensor]:
    """What else the benchmark gives with some samples of the batch, by its place there; no task labels."""
    labelled = hasattr(strategy.experience, "task_labels")
    return {place: strategy.mbatch[place][rows] for place in range(2, len(strategy.mbatch) - labelled)}


def probe(strategy: Any, learner: nn.Module) -> tuple[Tensor, int]:
    """A sample of the experience, and the number of the learner's outputs."""
    sample, *_, task = strategy.experience.dataset.eval()[0]
    if not isinstance(sample, Tensor):
        raise ValueError(f"expected a benchmark whose transforms give tensors, got {type(sample).__name__}")
    if isinstance(learner, AdaptedLearner):
        learner.tasks = [torch.as_tensor([int(task)])]
    try:
        with evaluating(learner), torch.no_grad():
            output = learner(sample[None].to(strategy.device))
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"the learner does not take a sample of the benchmark, of shape {tuple(sample.shape)}: {error}"
        ) from error
    if not isinstance(output, Tensor) or output.ndim != 2:
        what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"expected a learner that gives (B, K) logits, got {what}")
    return sample, output.shape[1]


def join_optimizer(optimizer: torch.optim.Optimizer, generator: Generator, lr: float | None) -> None:
    """Make the generator's parameters a group of the optimizer, unless it holds them."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = [part for part in generator.parameters() if part.requires_grad and id(part) not in held]
    if own:
        optimizer.add_param_group({"params": own} | ({} if lr is None else {"lr": lr}))


def read_experience(strategy: Any) -> Iterator[Batch]:
    """The experience, in order, as its transforms of evaluation give it."""
    dataset = strategy.experience.dataset.eval()
    # with a generator of its own: a loader draws a seed, and the strategy's own random numbers stay as they are
    reading: dict[str, Any] = {"collate_fn": getattr(dataset, "collate_fn", None), "generator": torch.Generator()}
    for x, y, *_ in DataLoader(dataset, batch_size=1024, **reading):
        yield Batch(x.to(strategy.device), y.to(strategy.device))


def take_step(strategy: Any, loss: Tensor) -> None:
    """One step of the strategy's optimizer."""
    strategy.loss = loss
    strategy.optimizer.zero_grad()
    strategy.backward()
    strategy.optimizer_step()


def publish_loss(strategy: Any, spec: SleepStage, losses: Sequence[Tensor]) -> None:
    """Hand the mean loss of a stage to Avalanche's evaluation, whose loggers write it at their next turn."""
    if not losses or not strategy.evaluator.active:
        return
    with quiet():
        from avalanche.evaluation.metric_results import MetricValue
    name = f"Loss_{spec.kind.upper()}/train_phase/train_stream"
    mean = float(torch.stack([loss.reshape(()) for loss in losses]).mean())
    strategy.evaluator.publish_metric_value(MetricValue(None, name, mean, strategy.clock.train_iterations))

"""Scoring a network on every experience, met or not."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dreamer.loop.checks import ActiveOutputs, active_classes
from dreamer.problems import Problem, Tally
from dreamer.streams.base import Samples
from dreamer.training.data import StreamDataModule


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: StreamDataModule,
    problem: Problem,
    active_outputs: ActiveOutputs,
    lived: int,
    device: torch.device,
) -> tuple[list[float | None], list[float | None]]:
    """Measure accuracies, in evaluation mode, within the Trainer's limits and precision.

    Args:
        network: maps (B, *S) to (B, K) logits; its modes are restored.
        data: the stream, attached to a Trainer.
        problem: scores it.
        active_outputs: which outputs compete.
        lived: number of the experience that is lived through, -1 before the first.
        device: where the network is.

    Returns:
        Test accuracy on each experience, and accuracy on its held-out training data, where there are any; fractions
        of 1, None where the limit leaves nothing.
    """
    assert data.trainer is not None
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    # pieces of one experience are examined on the same data, once
    found: dict[int, tuple[float | None, float | None]] = {}
    for index, origin in enumerate(data.stream.origins):
        if origin in found:
            continue
        experience = data.experience(index, device)
        row = _active_classes(data, active_outputs, index, lived)
        tested = score(network, data, problem, experience.test, data.trainer.limit_test_batches, row, device)
        held = None
        if experience.validation is not None:
            held = score(network, data, problem, experience.validation, data.validation_limit, row, device)
        found[origin] = tested, held
    for module, mode in modes:
        module.training = mode
    tests, helds = zip(*(found[origin] for origin in data.stream.origins), strict=True)
    return list(tests), [] if all(held is None for held in helds) else list(helds)


def score(
    network: nn.Module,
    data: StreamDataModule,
    problem: Problem,
    samples: Samples,
    limit: float | None,
    active_classes: Tensor | None,
    device: torch.device,
) -> float | None:
    """Score a network on samples; None when the limit leaves none.

    Args:
        network: maps (B, *S) to (B, K) logits.
        data: the stream, attached to a Trainer.
        problem: scores it.
        samples: what to read.
        limit: Lightning's ``limit_*_batches``.
        active_classes: (K,) bool, the outputs that compete; None for all.
        device: where the network is.
    """
    trainer = data.trainer
    assert trainer is not None
    tally, active = Tally(), None if active_classes is None else active_classes.to(device)
    for batch in data.examination(samples, limit):
        x, y = trainer.strategy.batch_to_device(batch, device)[:2]
        tally += problem.tally(_answer(network, x, trainer), y, active)
    return tally.value


def _answer(network: nn.Module, x: Tensor, trainer: pl.Trainer) -> Tensor:
    precision = trainer.precision_plugin
    with precision.forward_context():
        return network(precision.convert_input(x))


def _active_classes(data: StreamDataModule, active_outputs: ActiveOutputs, index: int, lived: int) -> Tensor | None:
    """The outputs that compete on an experience: those of its own task, or of the classes seen so far."""
    table = active_classes(data.stream, max(lived, 0), active_outputs)
    if table is None:
        return None
    # with known tasks, samples of the experience have active_classes of their own; else all classes have the same
    return table[data.stream.experiences[index].classes[0] if active_outputs == "task" else 0]

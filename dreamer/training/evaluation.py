"""The one way to score a network: for the accuracy matrix, ``trainer.validate`` and ``trainer.test``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dreamer.core.modes import evaluating
from dreamer.core.types import Batch, Stage
from dreamer.loop.plan import ActiveOutputs, evaluated_classes
from dreamer.metrics import AccuracyRow
from dreamer.problems import Problem, Tally
from dreamer.streams.base import Samples
from dreamer.training.data import StreamDataModule

Scores = list[float | None]
"""One score for each experience; None where nothing was measured."""


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: StreamDataModule,
    problem: Problem,
    active_outputs: ActiveOutputs,
    reached: int,
    device: torch.device,
) -> tuple[Scores, Scores]:
    """Score a network on every experience, in evaluation mode, within the Trainer's limits and precision.

    Args:
        network: maps (B, *S) to (B, K) logits; its modes are restored.
        reached: the experience that was trained on last, from 0; -1 before the first.

    Returns:
        The score on each experience's test data, and on its held-out training data (empty where no experience has
        any); accuracies are fractions of 1, None where the limit leaves nothing.
    """
    assert data.trainer is not None
    # pieces of one experience are evaluated on the same data, once
    found: dict[int, tuple[float | None, float | None]] = {}
    with evaluating(network):
        for index, origin in enumerate(data.stream.origins):
            if origin in found:
                continue
            experience = data.experience(index, device)
            active = evaluated_classes(data.stream, active_outputs, index, reached)
            tested = score(network, data, problem, experience.test, data.trainer.limit_test_batches, active, device)
            held = None
            if experience.validation is not None:
                held = score(network, data, problem, experience.validation, data.validation_limit, active, device)
            found[origin] = tested, held
    tests, helds = zip(*(found[origin] for origin in data.stream.origins), strict=True)
    return list(tests), [] if all(held is None for held in helds) else list(helds)


def score(
    network: nn.Module,
    data: StreamDataModule,
    problem: Problem,
    samples: Samples,
    limit: float | None,
    active: Tensor | None,
    device: torch.device,
) -> float | None:
    """Score a network on samples; None when the limit leaves none.

    Args:
        network: maps (B, *S) to (B, K) logits.
        limit: Lightning's ``limit_*_batches``.
        active: (K,) bool, the active classes; None for all.
    """
    trainer = data.trainer
    assert trainer is not None
    precision, total = trainer.precision_plugin, Tally()
    for batch in data.evaluation_loader(samples, limit):
        batch = trainer.strategy.batch_to_device(batch, device)
        with precision.forward_context():
            total += tally(network, batch._replace(x=precision.convert_input(batch.x)), problem, active)
    return total.value


def tally(network: nn.Module, batch: Batch, problem: Problem, active: Tensor | None) -> Tally:
    """Score a network on one batch; every evaluation comes through here.

    Args:
        network: maps (B, *S) to (B, K) logits.
        active: (K,) bool, the active classes; None for all.
    """
    outputs: Tensor = network(batch.x)
    return problem.tally(outputs, batch.y, None if active is None else active.to(outputs.device))


def accuracy_row(stage: Stage | None, global_step: int, tested: Scores, held: Scores) -> AccuracyRow:
    """A row of the accuracy matrix.

    Args:
        stage: after which the network was evaluated; None for the untrained network.
        held: scores on their held-out training data; empty where there are none.
    """
    return {
        "after": "birth" if stage is None else "wake" if stage.kind == "wake" else "night",
        "experience": -1 if stage is None else stage.experience,
        "night": -1 if stage is None else stage.night,
        "stage": -1 if stage is None else stage.index,
        "global_step": global_step,
        "accuracy": tested,
        "validation": held or None,
    }

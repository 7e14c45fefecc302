"""The one way to score a network: for the accuracy matrix, ``trainer.validate`` and ``trainer.test``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dreamer.core.modes import evaluating
from dreamer.core.types import Batch, Stage
from dreamer.loop.plan import ActiveOutputs, class_mask, evaluated_classes
from dreamer.metrics import AccuracyRow, recency_bias
from dreamer.problems import Problem, Tally
from dreamer.streams.base import Samples
from dreamer.training.data import StreamDataModule

Scores = list[float | None]
"""One score for each experience; None where nothing was measured."""


class Evaluation(NamedTuple):
    """What one evaluation found.

    Attributes:
        tested: the score on each experience's test data; accuracies are fractions of 1.
        held: the score on its held-out training data; empty where no experience has any.
        recency_bias: of the test data, or of the held-out data where these alone were read; see
            :func:`dreamer.metrics.recency_bias`.
    """

    tested: Scores
    held: Scores
    recency_bias: float | None


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: StreamDataModule,
    problem: Problem,
    active_outputs: ActiveOutputs,
    reached: int,
    device: torch.device,
    held_out_alone: bool = False,
) -> Evaluation:
    """Score a network on every experience, in evaluation mode, within the Trainer's limits and precision.

    Args:
        network: maps (B, *S) to (B, K) logits; its modes are restored.
        reached: the experience that was trained on last, from 0; -1 before the first.
        held_out_alone: read no test data, and held-out data of the experiences seen so far alone.

    Returns:
        None stands where the limit leaves nothing, and where nothing was read.
    """
    assert data.trainer is not None
    origins, limit = data.stream.origins, data.trainer.limit_test_batches
    recent = None if reached < 0 else class_mask(data.stream, [reached]).to(device)
    # pieces of one experience are evaluated on the same data, once
    found: dict[int, tuple[Scored, Scored]] = {}
    with evaluating(network):
        for index, origin in enumerate(origins):
            if origin in found:
                continue
            tested = held = Scored(None, None)
            old = recent if origin < origins[max(reached, 0)] else None
            experience = data.experience(index, device)
            active = evaluated_classes(data.stream, active_outputs, index, reached)
            how = (network, data, problem, active, device, old)
            if not held_out_alone:
                tested = score(experience.test, limit, *how)
            if experience.validation is not None and (not held_out_alone or origin <= origins[max(reached, 0)]):
                held = score(experience.validation, data.validation_limit, *how)
            found[origin] = tested, held
    tests, helds = zip(*(found[origin] for origin in origins), strict=True)
    taken = [(held if held_out_alone else tested).taken_for_recent for tested, held in found.values()]
    scores = [held.value for held in helds]
    return Evaluation(
        [tested.value for tested in tests],
        [] if all(value is None for value in scores) else scores,
        recency_bias(taken),
    )


class Scored(NamedTuple):
    """The score on some samples, None of none, and the fraction of them that is taken for recent classes."""

    value: float | None
    taken_for_recent: float | None


def score(
    samples: Samples,
    limit: float | None,
    network: nn.Module,
    data: StreamDataModule,
    problem: Problem,
    active: Tensor | None,
    device: torch.device,
    recent: Tensor | None = None,
) -> Scored:
    """Score a network on samples.

    Args:
        samples: what to read.
        limit: Lightning's ``limit_*_batches``.
        network: maps (B, *S) to (B, K) logits.
        limit: Lightning's ``limit_*_batches``.
        active: (K,) bool, the active classes; None for all.
        recent: (K,) bool, the classes for which samples of others may be taken; None where nobody asks.
    """
    trainer = data.trainer
    assert trainer is not None
    precision, total, taken = trainer.precision_plugin, Tally(), Tally()
    for batch in data.evaluation_loader(samples, limit):
        batch = trainer.strategy.batch_to_device(batch, device)
        with precision.forward_context():
            batch = batch._replace(x=precision.convert_input(batch.x))
            scored, mistaken = tally(network, batch, problem, active, recent)
        total, taken = total + scored, taken + mistaken
    return Scored(total.value, taken.value)


def tally(
    network: nn.Module, batch: Batch, problem: Problem, active: Tensor | None, recent: Tensor | None = None
) -> tuple[Tally, Tally]:
    """Score a network on one batch, and count what is taken for recent classes; every evaluation comes through here.

    Args:
        network: maps (B, *S) to (B, K) logits.
        active: (K,) bool, the active classes; None for all.
        recent: (K,) bool, see :func:`score`.
    """
    outputs: Tensor = network(batch.x)
    active = None if active is None else active.to(outputs.device)
    taken = Tally() if recent is None else problem.taken_for(outputs, batch.y, active, recent)
    return problem.tally(outputs, batch.y, active), taken


def accuracy_row(stage: Stage | None, global_step: int, found: Evaluation, within: bool = False) -> AccuracyRow:
    """A row of the accuracy matrix.

    Args:
        stage: after which the network was evaluated; None for the untrained network.
        within: the stage is not over yet.
    """
    over = "birth" if stage is None else "wake" if stage.kind == "wake" else "night"
    return {
        "after": "step" if within else over,  # type: ignore[typeddict-item]
        "experience": -1 if stage is None else stage.experience,
        "night": -1 if stage is None else stage.night,
        "stage": -1 if stage is None else stage.index,
        "global_step": global_step,
        "accuracy": found.tested,
        "validation": found.held or None,
        "recency_bias": found.recency_bias,
    }

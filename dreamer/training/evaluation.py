"""The one way to score a network: for the accuracy matrix, ``trainer.validate`` and ``trainer.test``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dreamer.core.modes import evaluating
from dreamer.core.types import Batch
from dreamer.loop.plan import ActiveOutputs, evaluated_classes
from dreamer.streams.base import Samples
from dreamer.training.data import StreamDataModule


@torch.no_grad()
def evaluate(
    network: nn.Module, data: StreamDataModule, active_outputs: ActiveOutputs, reached: int, device: torch.device
) -> tuple[list[float | None], list[float | None]]:
    """Measure the accuracy on every experience, in evaluation mode, within the Trainer's limits and precision.

    Args:
        network: maps (B, *S) to (B, K) logits; its modes are restored.
        data: the stream, attached to a Trainer.
        active_outputs: which outputs are active.
        reached: the experience that was trained on last, from 0; -1 before the first.
        device: where the network is.

    Returns:
        Test accuracy on each experience, and accuracy on its held-out training data, where there are any; fractions
        of 1, None where the limit leaves nothing.
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
            tested = accuracy(network, data, experience.test, data.trainer.limit_test_batches, active, device)
            held = None
            if experience.validation is not None:
                held = accuracy(network, data, experience.validation, data.validation_limit, active, device)
            found[origin] = tested, held
    tests, helds = zip(*(found[origin] for origin in data.stream.origins), strict=True)
    return list(tests), [] if all(held is None for held in helds) else list(helds)


def accuracy(
    network: nn.Module,
    data: StreamDataModule,
    samples: Samples,
    limit: float | None,
    active: Tensor | None,
    device: torch.device,
) -> float | None:
    """Fraction of the samples that are classified correctly (:func:`correct`); None when the limit leaves no sample.

    Args:
        network: maps (B, *S) to (B, K) logits.
        data: the stream, attached to a Trainer.
        samples: what to read.
        limit: Lightning's ``limit_*_batches``.
        active: (K,) bool, the active classes; None for all.
        device: where the network is.
    """
    trainer = data.trainer
    assert trainer is not None
    precision = trainer.precision_plugin
    right, count = 0, 0
    for batch in data.evaluation_loader(samples, limit):
        x, y = trainer.strategy.batch_to_device(batch, device)
        with precision.forward_context():
            right += int(correct(network, Batch(precision.convert_input(x), y), active).sum())
        count += len(y)
    return right / count if count else None


def correct(network: nn.Module, batch: Batch, active: Tensor | None) -> Tensor:
    """(B,) bool: whether the largest active output is that of the sample's class.

    Args:
        network: maps (B, *S) to (B, K) logits.
        batch: the samples.
        active: (K,) bool, the active classes; None for all.
    """
    logits: Tensor = network(batch.x)
    if active is not None:
        logits = logits.masked_fill(~active.to(logits.device), -torch.inf)
    return logits.argmax(dim=1) == batch.y

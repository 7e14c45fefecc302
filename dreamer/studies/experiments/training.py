"""The plainest training loop, for networks and generators that take a few hundred steps on tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.randomness import Purpose, mix
from dreamer.core.types import Batch, Dream
from dreamer.generators.base import Generator

Part = TypeVar("Part", bound=nn.Module)


def initialise(build: Callable[..., Part], seed: int, *keys: int, **given: object) -> Part:
    """Build a network or generator with initial weights of its own; torch's global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix(seed, Purpose.INIT, *keys))
        module = build(**given)
    return module


def train_classifier(
    network: nn.Module, seen: Batch, steps: int, batch_size: int, lr: float, rng: torch.Generator
) -> nn.Module:
    """Train a network on (N, *S) samples and their labels by cross-entropy; returns it in evaluation mode.

    Args:
        network: maps (B, *S) to (B, K) logits.
    """

    def loss(index: Tensor) -> Tensor:
        return functional.cross_entropy(network(seen.x[index]), seen.y[index])

    _minimise(network.parameters(), loss, len(seen.y), steps, batch_size, lr, rng)
    return network.eval().requires_grad_(False)


def train_generator(
    generator: Generator, seen: Batch, steps: int, batch_size: int, lr: float, fitted: int, rng: torch.Generator
) -> Generator:
    """Train a generator on samples and their labels, and let it fit what it needs to dream; returns it.

    Args:
        fitted: to how many of the samples it is fitted when training ends.

    Raises:
        ValueError: for a generator that learns nothing step by step.
    """

    def loss(index: Tensor) -> Tensor:
        found = generator.fit(Dream(seen.x[index], seen.y[index]), rng)
        if found is None:
            raise ValueError(f"expected a generator that learns step by step, got {type(generator).__name__}")
        return found

    _minimise(generator.parameters(), loss, len(seen.y), steps, batch_size, lr, rng)
    chosen = torch.randperm(len(seen.y), generator=rng)[:fitted]
    generator.end_experience([Batch(seen.x[part], seen.y[part]) for part in chosen.split(1024)], 0, rng)
    return generator


def _minimise(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    count: int,
    steps: int,
    batch_size: int,
    lr: float,
    rng: torch.Generator,
) -> None:
    optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(torch.randint(count, (batch_size,), generator=rng)).backward()
        optimizer.step()

"""A generator that learns beside a user's own module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from dreamer.core.types import Batch
from dreamer.generators import Generator
from dreamer.loop.values import Values, generator_for
from dreamer.memory import Reservoir

_BATCH = 512
"""Samples of a day that are read at a time at dusk."""


class GeneratorTrainer:
    """Trains a generator by an optimiser of its own, and keeps some of the day until dusk.

    Args:
        capacity: samples of a day that are kept for the dusk, a random choice of all.
        most_bytes: of these samples together, in the type in which they come; at least one is kept.
    """

    def __init__(
        self, generator: Generator, optimizer: Callable[..., torch.optim.Optimizer], capacity: int, most_bytes: int
    ):
        self.generator = generator
        self._fitted = generator
        own = [parameter for parameter in generator.parameters() if parameter.requires_grad]
        self._optimizer = optimizer(own) if own else None
        self._capacity = capacity
        self._most_bytes = most_bytes
        self.day = Reservoir(capacity)

    @property
    def device(self) -> torch.device:
        """Where it learns and dreams."""
        return self.generator.experience.device

    def fit_values(self, values: Values | None) -> Generator:
        """Let it learn, and dream, samples of a range; what dreams them is returned."""
        self._fitted = generator_for(self.generator, values)
        return self._fitted

    def learn(self, x: Tensor, y: Tensor, rng: torch.Generator, choice: torch.Generator) -> None:
        """Learn from a batch of the day, once.

        Args:
            choice: generator on the CPU, for what is kept.
        """
        if tuple(x.shape[1:]) != self.generator.sample_shape:
            shape = self.generator.sample_shape
            raise ValueError(f"the generator makes samples of shape {shape}, the day has {tuple(x.shape[1:])}")
        if int(y.max()) >= self.generator.num_classes:
            known = self.generator.num_classes
            raise ValueError(f"the generator has {known} classes, the day has class {int(y.max())}")
        if not len(self.day):
            self.day = self._room_for(x)
        self.day.add(x, y, choice)
        with torch.enable_grad():
            loss = self._fitted.loss(x, y, rng)
            if loss is None or self._optimizer is None:
                return
            self._optimizer.zero_grad()
            loss.backward()
        self._optimizer.step()

    def batches(self) -> Iterator[Batch]:
        """What was kept of the day."""
        everything = self.day.held
        for start in range(0, len(self.day), _BATCH):
            rows = slice(start, min(start + _BATCH, len(self.day)))
            yield Batch(everything["x"][rows], everything["y"][rows])

    def forget_day(self) -> None:
        """Drop what was kept for the dusk."""
        self.day = Reservoir(self._capacity)

    def _room_for(self, x: Tensor) -> Reservoir:
        """An empty memory of a day of such (B, *S) samples."""
        each = max(1, x[0].numel() * x.element_size())
        return Reservoir(max(1, min(self._capacity, self._most_bytes // each)))

    def state_dict(self) -> dict[str, Any]:
        """Generator, optimiser and what is kept of the day, as tensors and plain containers."""
        optimizer = None if self._optimizer is None else self._optimizer.state_dict()
        return {"generator": self.generator.state_dict(), "optimizer": optimizer, "day": self.day.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        self.generator.load_state_dict(state["generator"])
        if self._optimizer is not None and state["optimizer"] is not None:
            self._optimizer.load_state_dict(state["optimizer"])
        if state["day"]["size"]:
            self.day = self._room_for(state["day"]["held"]["x"])
        self.day.load_state_dict(state["day"])
        self.day.to(self.device)

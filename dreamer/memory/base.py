"""A rehearsal buffer of fixed capacity, held as two contiguous tensors; its children decide who stays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from dreamer.types import Batch


class Memory(ABC):
    """Real samples with their labels.

    It is no ``nn.Module``: as module buffers its samples would be broadcast from rank 0 by DDP. Each rank keeps its
    own.

    Args:
        capacity: samples that fit, at least 1.
        store: ``float32`` keeps samples as they come; ``uint8`` keeps values in [0, 1] in 255 steps, four times
            smaller and without loss for pixels that were read from 8-bit images.

    Raises:
        ValueError: when the capacity is below 1.
    """

    def __init__(self, capacity: int, store: Literal["float32", "uint8"] = "float32"):
        if capacity < 1:
            raise ValueError(f"expected a memory of at least 1 sample, got capacity={capacity}")
        self.capacity = capacity
        self.store = store
        self.x: Tensor | None = None
        self.y = torch.empty(0, dtype=torch.int64)
        self.size = 0
        self.offered = 0

    def __len__(self) -> int:
        return self.size

    @property
    def nbytes(self) -> int:
        """Bytes of the samples and labels held now."""
        if self.x is None:
            return 0
        return self.size * (self.x[0].numel() * self.x.element_size() + self.y.element_size())

    def planned_bytes(self, sample_shape: tuple[int, ...]) -> int:
        """Bytes when full, for samples of shape *S."""
        pixels = int(torch.Size(sample_shape).numel())
        return self.capacity * (pixels * (1 if self.store == "uint8" else 4) + 8)

    def add(self, x: Tensor, y: Tensor, rng: torch.Generator) -> None:
        """Offer samples, each of which is kept or not.

        Args:
            x: (B, *S) samples.
            y: (B,) int64 labels.
            rng: generator on the CPU.
        """
        if self.x is None:
            dtype = torch.uint8 if self.store == "uint8" else x.dtype
            self.x = torch.empty(self.capacity, *x.shape[1:], dtype=dtype, device=x.device)
            self.y = torch.empty(self.capacity, dtype=torch.int64, device=x.device)
        # a slot that is filled twice within the batch keeps the later sample
        kept: dict[int, int] = {}
        for position, label in enumerate(y.tolist()):
            slot = self._slot(label, rng)
            self.offered += 1
            if slot is not None:
                kept[slot] = position
        if kept:
            slots = torch.tensor(list(kept), device=x.device)
            chosen = torch.tensor(list(kept.values()), device=x.device)
            self.x[slots] = self._encode(x[chosen]).to(self.x.dtype)
            self.y[slots] = y[chosen]

    @abstractmethod
    def _slot(self, label: int, rng: torch.Generator) -> int | None:
        """The slot, in [0, capacity), for the next sample; None to drop it. Counts in ``size`` what it fills."""

    def draw(self, count: int, rng: torch.Generator) -> Batch:
        """Draw samples uniformly, without repetition while there are enough.

        Args:
            count: how many.
            rng: generator on any device.

        Raises:
            RuntimeError: when the memory is empty.
        """
        if self.x is None or not self.size:
            raise RuntimeError("the memory is empty: it must live through a wake step before it is asked for samples")
        if count <= self.size:
            index = torch.randperm(self.size, generator=rng, device=rng.device)[:count]
        else:
            index = torch.randint(self.size, (count,), generator=rng, device=rng.device)
        index = index.to(self.x.device)
        return Batch(self._decode(self.x[index]), self.y[index])

    def to(self, device: torch.device | str) -> None:
        """Move what is held to a device."""
        if self.x is not None:
            self.x, self.y = self.x.to(device), self.y.to(device)

    def state_dict(self) -> dict[str, Any]:
        """What is held, as tensors and plain numbers."""
        held = None if self.x is None else self.x[: self.size].clone()
        return {"x": held, "y": self.y[: self.size].clone(), "size": self.size, "offered": self.offered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave.

        Raises:
            ValueError: when it holds more samples than fit.
        """
        if state["size"] > self.capacity:
            raise ValueError(f"expected at most {self.capacity} samples, got a memory of {state['size']}")
        self.size, self.offered = state["size"], state["offered"]
        self.x = None
        if state["x"] is not None:
            self.x = state["x"].new_empty(self.capacity, *state["x"].shape[1:])
            self.x[: self.size] = state["x"]
            self.y = state["y"].new_empty(self.capacity)
            self.y[: self.size] = state["y"]

    def _encode(self, x: Tensor) -> Tensor:
        return (x * 255).round_() if self.store == "uint8" else x

    def _decode(self, x: Tensor) -> Tensor:
        return x.to(torch.float32) / 255 if self.store == "uint8" else x

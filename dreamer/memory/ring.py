"""The latest samples of every class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.memory._shards import Hand, Key, Piles, by_class, part
from dreamer.memory.base import Buffer, Store


class Ring(Buffer):
    """One ring buffer per class: the first in is the first out.

    The ring buffer of "On tiny episodic memories in continual learning" (Chaudhry et al. 2019, arXiv 1902.10486). As
    there, the part of a class is fixed beforehand, one K-th of the capacity: every class is represented equally from
    its first experience to the last, old classes never change, and at first some of the memory lies idle (the authors'
    code, facebookresearch/agem, ``conv_split_cifar.py``, has ``mem_size`` rows for each of all classes). There are no
    random choices. Where experiences have classes in common, a class keeps samples of the last experience only.

    Args:
        capacity: samples that fit on all processes, at least one per class; what cannot be split evenly is not used.
        store: see :class:`dreamer.memory.Buffer`.
        logits: see :class:`dreamer.memory.Buffer`.
        every_pass: see :class:`dreamer.memory.Buffer`; the rings then hold samples of the last pass.
        num_classes: K, which a configuration leaves to the stream. None splits over the classes seen so far: the oldest
            samples of the largest class make room for those of a class with less than its part.

    Raises:
        ValueError: when there is not a sample for every class.

    >>> memory, rng = Ring(capacity=4, num_classes=2), torch.Generator().manual_seed(0)
    >>> memory.add(torch.arange(6.0)[:, None], torch.tensor([0, 0, 0, 0, 0, 1]), rng)
    >>> memory.draw(3, rng).x.flatten().sort().values  # the last two of class 0, and all of class 1
    tensor([3., 4., 5.])
    """

    @checked
    def __init__(
        self,
        capacity: int,
        store: Store = "float32",
        logits: bool = False,
        every_pass: bool | None = None,
        num_classes: int | None = None,
    ):
        at_least(1, num_classes=num_classes)
        if num_classes is not None and capacity < num_classes:
            raise ValueError(
                f"expected a memory of at least 1 sample for each of {num_classes} classes, got capacity={capacity}"
            )
        whole = capacity if num_classes is None else capacity // num_classes * num_classes
        super().__init__(whole, store, logits, every_pass)
        self.num_classes = num_classes
        self._slots: dict[int, list[int]] = {}

    def _slot(self, label: int, rng: torch.Generator) -> int | None:
        own = self._slots.setdefault(label, [])
        quota = self._quota(label)
        if len(own) < quota and self.size < self.capacity:
            slot = self.size
            self.size += 1
        elif len(own) < quota:
            slot = max(self._slots.values(), key=len).pop(0)
        elif own:
            slot = own.pop(0)
        else:
            return None
        own.append(slot)
        return slot

    def _quota(self, label: int) -> int:
        """Rows of a class on this process."""
        if self.num_classes is None:
            return self.capacity // len(self._slots)
        # as if the full rings were dealt like cards, so that the quotas of all processes add up for every class
        quota = self.total // self.num_classes
        return part(quota, (self.rank - label * quota) % self.ranks, self.ranks)

    def state_dict(self) -> dict[str, Any]:
        # oldest first
        return super().state_dict() | {"classes": [[label, list(slots)] for label, slots in self._slots.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._slots = {label: list(slots) for label, slots in state["classes"]}

    def _piles(self, state: Mapping[str, Any]) -> Piles:
        return by_class(state)

    def _regrouped(self, states: Sequence[Mapping[str, Any]], hands: Mapping[Key, Hand]) -> dict[str, Any]:
        return {"classes": [[label, hand.rows] for (label,), hand in hands.items()]}

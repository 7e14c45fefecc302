"""Fill up, then make room for classes that have less than their part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dreamer.core.arguments import checked
from dreamer.memory._shards import Hand, Key, Piles, by_class
from dreamer.memory.base import Buffer, Store, below


class Greedy(Buffer):
    """The memory of GDumb: the first samples of every class that fit.

    Greedy sampler and balancer (Prabhu, Torr and Dokania 2020, "GDumb: a simple approach that questions our progress
    in continual learning", algorithm 1). A sample is taken when its class is new, or has less than ``capacity`` over
    the classes seen so far; when the memory is full, it replaces a random sample of the largest class (of several, a
    random one). The others are dropped, so what a class once has changes no more while it has its part. The authors'
    code (drimpossible/GDumb, ``src/dataloader.py``) knows all classes beforehand and takes the first ``capacity / K``
    samples of each, where this ends too. Arguments as for :class:`dreamer.memory.Buffer`, but there is no
    ``every_pass``: logits, where they are kept, stay those of the first pass, and of a learner that knows little yet.
    """

    @checked
    def __init__(self, capacity: int, store: Store = "float32", logits: bool = False):
        # offered again, a sample would only fill its class with copies of itself
        super().__init__(capacity, store, logits, every_pass=False)
        self._slots: dict[int, list[int]] = {}

    def _slot(self, label: int, rng: torch.Generator) -> int | None:
        own = self._slots.get(label)
        if own is not None and len(own) >= self.capacity / len(self._slots):
            return None
        if self.size < self.capacity:
            slot = self.size
            self.size += 1
        else:
            largest = max(len(slots) for slots in self._slots.values())
            candidates = sorted(other for other, slots in self._slots.items() if len(slots) == largest)
            giver = self._slots[candidates[below(len(candidates), rng)]]
            slot = giver.pop(below(len(giver), rng))
        self._slots.setdefault(label, []).append(slot)
        return slot

    def state_dict(self) -> dict[str, Any]:
        # the order of the slots is kept: random picks after a resume must hit the same ones
        return super().state_dict() | {"classes": [[label, list(slots)] for label, slots in self._slots.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._slots = {label: list(slots) for label, slots in state["classes"]}

    def _piles(self, state: Mapping[str, Any]) -> Piles:
        return by_class(state)

    def _regrouped(self, states: Sequence[Mapping[str, Any]], hands: Mapping[Key, Hand]) -> dict[str, Any]:
        return {"classes": [[label, hand.rows] for (label,), hand in hands.items()]}

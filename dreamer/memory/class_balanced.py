"""Every class gets the same part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dreamer.core.arguments import checked
from dreamer.memory._shards import Hand, Key, Piles, by_class, part
from dreamer.memory.base import Buffer, Store, below


class ClassBalanced(Buffer):
    """As many samples of every class as possible, without knowing how many classes will come.

    Class-balancing reservoir sampling (Chrysakis and Moens 2020, "Online continual learning from imbalanced data",
    algorithm 1): while the memory is full, a sample of a class that was never the largest replaces one of the
    largest class; one of a class that is or was the largest takes part in a reservoir of its own class. Arguments as
    for :class:`dreamer.memory.Buffer`.

    >>> memory, rng = ClassBalanced(capacity=6), torch.Generator().manual_seed(0)
    >>> memory.add(torch.rand(50, 4), torch.tensor([0] * 40 + [1] * 10), rng)
    >>> memory.draw(6, rng).y.bincount()
    tensor([3, 3])
    """

    @checked
    def __init__(self, capacity: int, store: Store = "float32", logits: bool = False, every_pass: bool | None = None):
        super().__init__(capacity, store, logits, every_pass)
        self._slots: dict[int, list[int]] = {}
        self._seen: dict[int, int] = {}
        self._full: set[int] = set()
        # the largest classes, in order, until a slot changes hands: to look through all for every sample would take
        # longer the more there are
        self._largest: list[int] = []

    def _slot(self, label: int, rng: torch.Generator) -> int | None:
        self._seen[label] = self._seen.get(label, 0) + 1
        own = self._slots.setdefault(label, [])
        if self.size < self.capacity:
            self.size += 1
            own.append(self.size - 1)
            return self.size - 1
        if not self._largest:
            most = max(len(slots) for slots in self._slots.values())
            self._largest = sorted(other for other, slots in self._slots.items() if len(slots) == most)
            self._full.update(self._largest)
        if label not in self._full:
            giver = self._slots[self._largest[below(len(self._largest), rng)]]
            slot = giver.pop(below(len(giver), rng))
            own.append(slot)
            self._largest = []
            return slot
        chance = below(self._seen[label], rng)
        return own[chance] if chance < len(own) else None

    def state_dict(self) -> dict[str, Any]:
        # the order of the slots is kept: random picks after a resume must hit the same ones
        classes = [[label, self._seen[label], list(self._slots[label])] for label in sorted(self._slots)]
        return super().state_dict() | {"classes": classes, "full": sorted(self._full)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._seen = {label: seen for label, seen, _ in state["classes"]}
        self._slots = {label: list(slots) for label, _, slots in state["classes"]}
        self._full = set(state["full"])
        self._largest = []

    def _piles(self, state: Mapping[str, Any]) -> Piles:
        return by_class(state)

    def _regrouped(self, states: Sequence[Mapping[str, Any]], hands: Mapping[Key, Hand]) -> dict[str, Any]:
        seen = Counter[int]()
        for state in states:
            seen.update({label: count for label, count, _ in state["classes"]})
        classes = [[label, part(seen[label], hand.turn, self.ranks), hand.rows] for (label,), hand in hands.items()]
        # a class that was the largest on one of them; where it has no row, its reservoir could never take one again
        full = {label for state in states for label in state["full"] if hands[label,].rows}
        return {"classes": classes, "full": sorted(full)}

"""One memory on several processes: each keeps a part, and what all keep can be dealt out anew."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Key = tuple[int, ...]
Piles = Mapping[Key, Sequence[int]]
"""Rows that belong together, such as those of a class, in an order that means something: the oldest or best first."""


def part(total: int, index: int, parts: int) -> int:
    """One of several whole parts that add up to the total, the earlier ones larger by at most one."""
    return total // parts + (index < total % parts)


class Hand(NamedTuple):
    """What one process gets of a pile.

    Attributes:
        rows: of the pile, in its order.
        turn: after how many others this process was dealt to; it says how to divide whatever is counted with the rows.
    """

    rows: list[int]
    turn: int


def deal(tables: Iterable[Piles], rank: int, ranks: int) -> dict[Key, Hand]:
    """Deal out rows like cards, pile after pile: what is even on all processes together is even on each.

    Args:
        tables: the piles of every process that kept some, their rows counted through; of equal ones the tops lie
            together.
        rank: who is dealt to.
        ranks: how many are.

    Returns:
        A hand of every pile, in the order of the keys; of two processes none has two rows more than another.
    """
    piles: dict[Key, list[Sequence[int]]] = {}
    for table in tables:
        for key, rows in table.items():
            piles.setdefault(key, []).append(rows)
    hands, dealt = {}, 0
    for key in sorted(piles):
        layers = itertools.zip_longest(*piles[key])
        pile = [row for layer in layers for row in layer if row is not None]
        turn = (rank - dealt) % ranks
        hands[key] = Hand(pile[turn::ranks], turn)
        dealt += len(pile)
    return hands


def by_class(state: Mapping[str, Any]) -> dict[Key, list[int]]:
    """The piles of a memory whose state lists the rows of each class, behind whatever else it says of the class."""
    return {(label,): rows for label, *_, rows in state["classes"]}

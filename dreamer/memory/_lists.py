"""Which rows of a buffer belong to which class of which experience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dreamer.memory._shards import Hand, Key, part


class Lists:
    """Lists of rows: one for every class of every experience, in the order in which they were written.

    The rows of a buffer lie list after list; within a list those that are kept longest come first.

    Attributes:
        entries: class, experience and number of rows of every list.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, int]] = []

    def renew(
        self, total: int, place: tuple[int, int], experience: int, counts: Mapping[int, int]
    ) -> tuple[list[int], dict[int, int]]:
        """Make room for an experience; what was written for it before goes, the other lists are cut at their end.

        The capacity is split evenly over the classes, and that of a class over its experiences; where that leaves
        a remainder, earlier ones get one more. So no list ever grows. Several processes have each a part of every
        list, dealt like cards.

        Args:
            total: rows on all processes together.
            place: rank of this process, and how many there are.
            experience: its number.
            counts: how many samples it has of each class.

        Returns:
            The rows that stay, and how many each class of the experience gets: those follow in the order of classes.
        """
        starts = {}
        start = 0
        for label, number, count in self.entries:
            starts[label, number] = start
            start += count
        entries = [entry for entry in self.entries if entry[1] != experience]
        entries += [(label, experience, counts[label]) for label in sorted(counts)]
        self.entries = _split(entries, total, *place)
        rows: list[int] = []
        for label, number, count in self.entries:
            if number != experience:
                rows += range(starts[label, number], starts[label, number] + count)
        return rows, {label: count for label, number, count in self.entries if number == experience}


def _split(entries: list[tuple[int, int, int]], total: int, rank: int, ranks: int) -> list[tuple[int, int, int]]:
    """The same lists, none longer than its quota on this process."""
    siblings: dict[int, list[int]] = {}
    for label, experience, _ in entries:
        siblings.setdefault(label, []).append(experience)
    order = {label: index for index, label in enumerate(siblings)}
    cut, dealt = [], 0
    for label, experience, count in entries:
        quota = part(total, order[label], len(order))
        quota = part(quota, siblings[label].index(experience), len(siblings[label]))
        cut.append((label, experience, min(count, part(quota, (rank - dealt) % ranks, ranks))))
        dealt += quota
    return cut


def piles(entries: Sequence[tuple[int, int, int]]) -> dict[Key, range]:
    """The rows of lists, by experience and class."""
    found: dict[Key, range] = {}
    start = 0
    for label, experience, count in entries:
        found[experience, label] = range(start, start + count)
        start += count
    return found


def entries(hands: Mapping[Key, Hand]) -> list[list[int]]:
    """The lists that one process is dealt, without those of which it gets nothing."""
    return [[label, experience, len(hand.rows)] for (experience, label), hand in hands.items() if hand.rows]

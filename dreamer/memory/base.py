"""The contract of the family, and a rehearsal buffer of fixed capacity whose children decide which samples stay."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.tokens import IGNORED
from dreamer.core.types import Batch, Dream
from dreamer.memory._shards import Hand, Key, Piles, deal, part

Store = Literal["float32", "float16", "uint8"]

_SLACK = 1e-3
_BYTES: dict[str, int] = {"float32": 4, "float16": 2, "uint8": 1}
_FIELD = "field "


@runtime_checkable
class Memory(Protocol):
    """What is kept of past experiences.

    Where several processes train one run, each has a memory of its own samples, and they are one memory together: a
    capacity is that of all. It is no ``nn.Module``: as module buffers its content would be broadcast from rank 0 by
    DDP.

    Memories balance by group: the label of a sample, or its domain where targets are no labels.

    Attributes:
        is_features: True when it keeps features of the learner rather than samples.
        logits: True when it keeps the learner's logits beside them.
        every_pass: True when it is offered the samples of every pass over an experience, not those of the first alone.
        needs_dawn: True when :meth:`end_experience` needs the learner as it was at dawn.
        rank: number of this process, from 0.
        ranks: how many there are; see :meth:`distribute`.
    """

    is_features: bool
    logits: bool
    every_pass: bool
    needs_dawn: bool
    rank: int
    ranks: int

    def __len__(self) -> int:
        """How much it holds; 0 when nothing can be drawn yet."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of what is held now, on this process."""
        ...

    def planned_bytes(self, shape: tuple[int, ...], outputs: int, itemsize: int = 4, target_bytes: int = 8) -> int:
        """Bytes when full, of all processes together.

        Args:
            shape: *S of a sample, or (H,) of a feature where :attr:`is_features`.
            outputs: K, numbers that a learner puts out for a sample.
            itemsize: bytes of an element of a sample as it comes: 4 for float32, 8 for the int64 of tokens.
            target_bytes: of a sample's target and domain: 8 for an int64 label.
        """
        ...

    def add(
        self,
        x: Tensor,
        y: Tensor,
        rng: torch.Generator,
        logits: Tensor | None = None,
        group: Tensor | None = None,
        fields: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Offer real samples: each of them once or, where :attr:`every_pass`, once in every pass.

        Args:
            x: (B, *S) samples.
            y: their targets, (B,) int64 labels where ``group`` is None.
            rng: generator on the CPU.
            logits: (B, K) the learner's output for them, where :attr:`logits`.
            group: (B,) int64 domains by which they are balanced; None balances by label.
            fields: what else belongs to them, by name, each with B entries; drawn with them.
        """
        ...

    def end_experience(
        self, day: Iterable[Batch], learner: nn.Module, dawn: nn.Module | None, experience: int, rng: torch.Generator
    ) -> None:
        """At dusk, choose from the whole experience, or write what the learner now makes of it.

        Args:
            day: real batches of the experience, read once; where nights cut an experience, a later call brings them
                again among those seen since, and replaces what the earlier call wrote.
            learner: as it is now, in evaluation mode.
            dawn: as it was before the experience, where :attr:`needs_dawn` and not in the first experience.
            experience: its number.
            rng: generator on the CPU.
        """
        ...

    def draw(self, count: int, rng: torch.Generator) -> Dream:
        """Draw ``count`` samples, without repetition while there are enough.

        Args:
            count: how many.
            rng: generator on any device.

        Raises:
            RuntimeError: when the memory is empty.
        """
        ...

    def to(self, device: torch.device | str) -> None:
        """Move what is held to a device."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What is held, as tensors and plain containers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave.

        Raises:
            ValueError: when it holds more than fits.
        """
        ...

    def distribute(self, rank: int, ranks: int) -> None:
        """Be one of several from here on; what is held already, the same on all, is dealt out.

        Args:
            rank: number of this process, from 0.
            ranks: how many there are.

        Raises:
            ValueError: when there is not room for a sample on each, or it is one of others already.
        """
        ...

    def dealt(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The state of this one, when all that several processes held is dealt out evenly to as many as there are now.

        Nothing is lost and nothing is held twice; classes that are even over all are even on each. Counters become this
        process's part of what one process would have counted.

        Args:
            states: those of the processes that held it, by rank.
        """
        ...


class Buffer:
    """Real samples with their targets, as contiguous tensors.

    Children decide which stay: awake, sample by sample, in :meth:`_slot`; or at dusk, in :meth:`end_experience`.

    Args:
        capacity: samples that fit, at least 1; on several processes together.
        store: ``float32`` keeps samples as they come, whole numbers too; ``float16`` rounds them to half the size;
            ``uint8`` keeps values in [0, 1] in 255 steps, four times smaller and without loss for pixels that were read
            from 8-bit images.
        logits: keep the learner's logits too, as it gave them when the sample was real (dark experience replay, Buzzega
            et al. 2020, arXiv 2004.07211).
        every_pass: be offered the samples of every pass over an experience, with the logits of that pass; otherwise
            those of the first alone, so that none is held twice. None: where ``logits`` are kept, for in its first
            pass the learner knows nothing yet that were worth keeping. So does the official code (aimagelab/mammoth,
            ``models/der.py``: ``add_data`` in every step).

    Attributes:
        capacity: samples that fit on this process.
        total: those that fit on all.
        rank: number of this process, from 0.
        ranks: how many there are.

    Raises:
        ValueError: when the capacity is below 1, or ``store`` is none of the above.
    """

    is_features: bool = False
    needs_dawn: bool = False

    @checked
    def __init__(self, capacity: int, store: Store = "float32", logits: bool = False, every_pass: bool | None = None):
        if capacity < 1:
            raise ValueError(f"expected a memory of at least 1 sample, got capacity={capacity}")
        if store not in _BYTES:
            raise ValueError(f"expected store to be one of {', '.join(_BYTES)}, got {store!r}")
        self.capacity = self.total = capacity
        self.rank, self.ranks = 0, 1
        self.store = store
        self.logits = logits
        self.every_pass = logits if every_pass is None else every_pass
        self.held: dict[str, Tensor] = {}
        self.size = 0
        self.offered = 0

    def __len__(self) -> int:
        return self.size

    @property
    def nbytes(self) -> int:
        """Bytes of the samples, targets and logits held now."""
        return sum(self.size * column[0].numel() * column.element_size() for column in self.held.values())

    @property
    def fields(self) -> frozenset[str]:
        """Names of what is kept beside samples and targets."""
        return frozenset(name.removeprefix(_FIELD) for name in self.held if name.startswith(_FIELD))

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and largest value that it can store; None for any."""
        return (0.0, 1.0) if self.store == "uint8" else None

    def planned_bytes(self, shape: tuple[int, ...], outputs: int, itemsize: int = 4, target_bytes: int = 8) -> int:
        """See :meth:`Memory.planned_bytes`."""
        elements = int(torch.Size(shape).numel())
        each = itemsize if self.store == "float32" else _BYTES[self.store]
        return self.total * (elements * each + target_bytes + (4 * outputs if self.logits else 0))

    def add(
        self,
        x: Tensor,
        y: Tensor,
        rng: torch.Generator,
        logits: Tensor | None = None,
        group: Tensor | None = None,
        fields: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Offer samples, each of which is kept or not; see :meth:`Memory.add`.

        Rows of sequences may differ in their length, from one batch to the next: the shorter ones are filled up.

        Raises:
            ValueError: when logits are to be kept and none come.
        """
        # a slot that is filled twice within the batch keeps the later sample
        kept: dict[int, int] = {}
        for position, label in enumerate((y if group is None else group).tolist()):
            slot = self._slot(label, rng)
            self.offered += 1
            if slot is not None:
                kept[slot] = position
        if not kept:
            return
        if self.logits and logits is None:
            raise ValueError("the memory keeps the learner's logits, but none came with the samples")
        rows = {"x": x, "y": y} | ({"logits": logits.float()} if self.logits and logits is not None else {})
        rows |= {} if group is None else {"group": group}
        rows |= {f"{_FIELD}{name}": column for name, column in (fields or {}).items()}
        self._write(list(kept), {name: row[list(kept.values())] for name, row in rows.items()})

    def _slot(self, label: int, rng: torch.Generator) -> int | None:
        """The slot, in [0, capacity), for the next sample, of group ``label``; None, the default, to drop it.

        It counts in ``size`` what it fills; slots are filled from 0 upwards.
        """
        return None

    def end_experience(
        self, day: Iterable[Batch], learner: nn.Module, dawn: nn.Module | None, experience: int, rng: torch.Generator
    ) -> None:
        """See :meth:`Memory.end_experience`; a buffer that chooses while awake has nothing to do at dusk."""

    def draw(self, count: int, rng: torch.Generator) -> Dream:
        """Draw samples uniformly; see :meth:`Memory.draw`."""
        if not self.size:
            raise RuntimeError("the memory is empty: it must be offered samples before any are drawn")
        if count <= self.size:
            index = torch.randperm(self.size, generator=rng, device=rng.device)[:count]
        else:
            index = torch.randint(self.size, (count,), generator=rng, device=rng.device)
        drawn = self._rows(index)
        logits, group = drawn.get("logits"), drawn.get("group")
        fields = {name.removeprefix(_FIELD): rows for name, rows in drawn.items() if name.startswith(_FIELD)} or None
        return Dream(drawn["x"], drawn["y"], logits=logits, is_features=self.is_features, group=group, fields=fields)

    def to(self, device: torch.device | str) -> None:
        """Move what is held to a device."""
        self.held = {name: column.to(device) for name, column in self.held.items()}

    def state_dict(self) -> dict[str, Any]:
        """What is held, as tensors and plain numbers."""
        held = {name: column[: self.size].clone() for name, column in self.held.items()}
        return {"held": held, "size": self.size, "offered": self.offered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`Memory.load_state_dict`."""
        if state["size"] > self.capacity:
            raise ValueError(f"expected at most {self.capacity} samples, got a memory of {state['size']}")
        self.size, self.offered = state["size"], state["offered"]
        self.held = {name: _room(self.capacity, rows) for name, rows in state["held"].items()}
        for name, rows in state["held"].items():
            self.held[name][: self.size] = rows

    def distribute(self, rank: int, ranks: int) -> None:
        """See :meth:`Memory.distribute`."""
        if (rank, ranks) == (self.rank, self.ranks):
            return
        if self.size and self.ranks > 1:
            raise ValueError(f"expected a memory of one process to be shared, got the part of one of {self.ranks}")
        if ranks > self.total:
            raise ValueError(f"expected a memory of at least 1 sample on each of {ranks} devices, got {self.total}")
        state = self.state_dict()
        self.rank, self.ranks, self.capacity = rank, ranks, part(self.total, rank, ranks)
        if self.size:
            self.load_state_dict(self.dealt([state]))

    def dealt(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """See :meth:`Memory.dealt`."""
        tables: list[Piles] = []
        columns, before = [], 0
        for state in states:
            piles = self._piles(state)
            tables.append({key: [before + row for row in rows] for key, rows in piles.items()})
            columns += [state["held"]] if state["size"] else []
            before += state["size"]
        hands: dict[Key, Hand] = {}
        rows: list[int] = []
        for key, (pile, turn) in deal(tables, self.rank, self.ranks).items():
            hands[key] = Hand(list(range(len(rows), len(rows) + len(pile))), turn)
            rows += pile
        joined = {name: _levelled([column[name] for column in columns], name) for name in columns[0]} if rows else {}
        held = {name: torch.cat(pieces)[rows] for name, pieces in joined.items()}
        offered = part(sum(state["offered"] for state in states), self.rank, self.ranks)
        return {"held": held, "size": len(rows), "offered": offered} | self._regrouped(states, hands)

    def _piles(self, state: Mapping[str, Any]) -> Piles:
        """Which rows of a state belong together: by default those of a group."""
        held = state["held"]
        y = held.get("group", held.get("y", torch.empty(0, dtype=torch.int64)))
        # targets of a stranger's that are no labels, without domains
        groups = y.tolist() if y.ndim == 1 and not y.is_floating_point() else [0] * len(y)
        piles: dict[Key, list[int]] = {}
        for row, label in enumerate(groups):
            piles.setdefault((label,), []).append(row)
        return piles

    def _regrouped(self, states: Sequence[Mapping[str, Any]], hands: Mapping[Key, Hand]) -> dict[str, Any]:
        """What :meth:`state_dict` of a child holds beside samples and ``offered``, when rows have been dealt.

        Args:
            states: what all held.
            hands: what this process was dealt of every pile, with the new numbers of the rows.
        """
        return {}

    def _rows(self, index: Tensor) -> dict[str, Tensor]:
        """Copies of rows, samples as they came."""
        rows = {name: column[index.to(column.device)] for name, column in self.held.items()}
        return rows | {"x": self._decode(rows["x"])} if rows else {}

    def _hold(self, rows: dict[str, Tensor]) -> None:
        """Hold these rows, at most ``capacity``, and nothing else."""
        self.size = len(rows["y"])
        self.held = {}
        self._write(list(range(self.size)), rows)

    def _write(self, slots: list[int], rows: dict[str, Tensor]) -> None:
        """Put rows into slots."""
        rows = rows | {"x": self._encode(rows["x"])}
        if not self.held:
            self.held = {name: _room(self.capacity, row) for name, row in rows.items()}
        index = torch.tensor(slots, device=rows["y"].device)
        for name, row in rows.items():
            self.held[name], row = _levelled([self.held[name], row], name)
            self.held[name][index] = row

    def _encode(self, x: Tensor) -> Tensor:
        if self.store != "float32" and not x.is_floating_point():
            raise ValueError(f"store={self.store!r} keeps floating-point samples, got {x.dtype}: expected 'float32'")
        if self.store == "uint8":
            least, largest = (float(end) for end in x.aminmax())
            if least < -_SLACK or largest > 1 + _SLACK:
                raise ValueError(
                    f"store='uint8' keeps values in [0, 1], got {least:.3g} to {largest:.3g}: expected 'float32' or "
                    "'float16'"
                )
            return (x * 255).round_().to(torch.uint8)
        return x.to(torch.float16) if self.store == "float16" else x

    def _decode(self, x: Tensor) -> Tensor:
        if self.store == "uint8":
            return x.to(torch.float32) / 255
        return x.to(torch.float32) if self.store == "float16" else x


def below(bound: int, rng: torch.Generator) -> int:
    """A random whole number in [0, bound)."""
    # the same number as that of torch.randint, in a quarter of the time
    return int(_scratch.number.random_(bound, generator=rng).item())


class _Scratch(threading.local):
    """Room for a random number, of each thread its own: to make room takes longer than to draw."""

    def __init__(self) -> None:
        self.number = torch.empty((), dtype=torch.int64, device="cpu")


_scratch = _Scratch()


def _levelled(pieces: Sequence[Tensor], name: str) -> list[Tensor]:
    """Rows of one length: those of shorter sequences are filled up, targets with what a cross-entropy leaves out."""
    if len({piece.shape[1:] for piece in pieces}) == 1:
        return list(pieces)
    if min(piece.ndim for piece in pieces) < 2 or len({piece.shape[2:] for piece in pieces}) > 1:
        shapes = " and ".join(str(tuple(piece.shape[1:])) for piece in pieces)
        raise ValueError(f"expected {name.removeprefix(_FIELD)} of one shape in a memory, got {shapes}")
    width = max(piece.shape[1] for piece in pieces)
    fill = IGNORED if name == "y" and not pieces[0].is_floating_point() else 0
    return [
        functional.pad(piece, (0, 0) * (piece.ndim - 2) + (0, width - piece.shape[1]), value=fill) for piece in pieces
    ]


def _room(capacity: int, rows: Tensor) -> Tensor:
    return rows.new_empty(capacity, *rows.shape[1:])

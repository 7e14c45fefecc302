"""Where samples and targets lie in a user's own batch, and how to build a batch of the same structure from others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Place = int | str | Callable[[Any], Any]
Where = Place | Sequence[int | str]
Extras = Literal["keep", "repeat"]


class BatchFields:
    """Reads batches, and builds new ones like them.

    Args:
        inputs: index, key, name of an attribute, or a callable on the batch that gives the tensor of samples, or
            several of one shape (as the views of self-supervised learning), which stay together as one sample (V, *S).
            Of a list of keys the first is the sample where they are no such views; the others are kept with it.
        targets: the same for the targets; None where a batch has none.
        extras: what to do with further fields that have one entry for every sample: ``keep`` them with their sample, or
            ``repeat`` those of the day's batch, whichever sample they belonged to.

    Attributes:
        names: of the fields that are kept; None before the first batch, which decides.

    Raises:
        ValueError: when ``extras`` is neither.
    """

    def __init__(self, inputs: Where, targets: Place | None, extras: Extras):
        if extras not in ("keep", "repeat"):
            raise ValueError(f"expected extras to be 'keep' or 'repeat', got {extras!r}")
        self.inputs = inputs
        self.targets = targets
        self.extras = extras
        self.names: frozenset[str] | None = None

    def read(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Samples (B, *S) or (B, V, *S), and targets, (B,) zeros where there are none."""
        found = self._samples(batch)
        x = torch.stack(list(found), dim=1) if isinstance(found, tuple | list) else found
        if self.targets is None:
            return x.detach(), torch.zeros(len(x), dtype=torch.int64, device=x.device)
        y = _find(batch, self.targets, "targets")
        if not isinstance(y, Tensor) or y.ndim < 1 or len(y) != len(x):
            shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"targets={self.targets!r}: expected a tensor with one entry for each of the {len(x)} samples, got "
                f"{shape}; say where they are, or targets=None for data without any"
            )
        return x.detach(), y.detach()

    def keep(self, names: frozenset[str]) -> None:
        """Say which further fields are kept, in place of the first batch: those that a memory holds already."""
        self.names = names

    def read_others(self, batch: Any) -> dict[str, Tensor]:
        """What else has an entry for every sample, by its place in the batch; texts as numbers.

        Raises:
            ValueError: when an entry can be kept in no tensor, or a field of the first batch is none now.
        """
        taken = self._taken(batch)
        if self.extras == "repeat":
            return {}
        every = dict(_others(batch, "batch", taken, len(taken[0])))
        found = {path: part for path, part in every.items() if self.names is None or path in self.names}
        missing = sorted((self.names or frozenset()) - set(found))
        if missing:
            raise ValueError(
                f"{missing[0]} had an entry for every sample in the first batch, and has not now: take it out of the "
                "batch, or say extras='repeat'"
            )
        self.names = frozenset(found)
        return {path: _numbers(part, path) for path, part in found.items()}

    def views(self, batch: Any) -> bool:
        """Whether a sample consists of several tensors of one shape."""
        return isinstance(self._samples(batch), tuple | list)

    def rebuild(self, batch: Any, x: Tensor, y: Tensor, others: Mapping[str, Tensor] | None = None) -> Any:
        """A batch of the structure, types and devices of ``batch`` that holds other samples.

        Args:
            y: targets of as many; not looked at where a batch has none.
            others: what :meth:`read_others` gave for these samples.

        Raises:
            ValueError: when samples or targets are no tensors of the batch itself, or a further field has no entries.
        """
        taken = self._taken(batch)
        several = isinstance(self._samples(batch), tuple | list)
        new = [*(x.unbind(dim=1) if several else [x]), *([] if self.targets is None else [y])]
        _check_inside(batch, taken, self.inputs, self.targets)
        return self._like(batch, "batch", list(zip(taken, new, strict=True)), len(taken[0]), others or {})

    def _samples(self, batch: Any) -> Any:
        """The tensor of samples, or the tensors of their views."""
        if isinstance(self.inputs, Sequence) and not isinstance(self.inputs, str):
            found: Any = [_find(batch, place, "inputs") for place in self.inputs]
            alike = len({(one.shape, one.dtype) for one in found if isinstance(one, Tensor)}) == 1
            if not (alike and found[0].is_floating_point()):
                found = found[0]
        else:
            found = _find(batch, self.inputs, "inputs")
        _tensors(found, "inputs", self.inputs)
        return found

    def _taken(self, batch: Any) -> list[Tensor]:
        """The tensors of a batch that are samples or targets."""
        found = self._samples(batch)
        taken = list(found) if isinstance(found, tuple | list) else [found]
        return taken if self.targets is None else [*taken, _find(batch, self.targets, "targets")]

    def _like(
        self, part: Any, path: str, pairs: list[tuple[Tensor, Tensor]], rows: int, others: Mapping[str, Tensor]
    ) -> Any:
        """A part of a batch of ``rows`` samples with its tensors exchanged as the (old, new) pairs say."""
        for old, new in pairs:
            if part is old:
                return new.to(old.device, old.dtype)
        if path in others:
            return _as(part, others[path])
        if isinstance(part, Mapping):
            made: Any = copy.copy(part)
            for key, value in part.items():
                made[key] = self._like(value, f"{path}[{key!r}]", pairs, rows, others)
            return made
        if _is_record(part):
            made = copy.copy(part)
            for name, value in _record(part).items():
                # the one way into a frozen record
                object.__setattr__(made, name, self._like(value, f"{path}.{name}", pairs, rows, others))
            return made
        counts = self.names is None or path in self.names or self.extras == "repeat"
        if counts and path != "batch" and _per_sample(part, rows):
            return self._repeated(part, path, len(pairs[0][1]))
        if isinstance(part, tuple | list):
            items = [self._like(item, f"{path}[{index}]", pairs, rows, others) for index, item in enumerate(part)]
            return type(part)(*items) if hasattr(part, "_fields") else type(part)(items)
        return part

    def _repeated(self, part: Any, path: str, rows: int) -> Any:
        if self.extras == "keep":
            raise ValueError(
                f"{path} has an entry for every sample, and no generator dreams of one: replay from the memory "
                "alone (source='memory'), take the field out of the batch, or say extras='repeat' to give dreams those "
                "of the day's batch, whichever samples they belong to"
            )
        if isinstance(part, Tensor):
            return part[torch.arange(rows, device=part.device) % len(part)]
        return type(part)(part[row % len(part)] for row in range(rows))


def _others(part: Any, path: str, taken: Sequence[Tensor], rows: int) -> Iterator[tuple[str, Any]]:
    """Parts of a batch of ``rows`` samples with an entry for each of them, beside samples and targets."""
    if any(part is one for one in taken):
        return
    if isinstance(part, Mapping) or _is_record(part):
        record = not isinstance(part, Mapping)
        for key, value in (_record(part) if record else part).items():
            yield from _others(value, f"{path}.{key}" if record else f"{path}[{key!r}]", taken, rows)
    elif path != "batch" and _per_sample(part, rows):
        yield path, part
    elif isinstance(part, tuple | list):
        for index, item in enumerate(part):
            yield from _others(item, f"{path}[{index}]", taken, rows)


def _numbers(part: Any, path: str) -> Tensor:
    """What is kept of a field: a tensor as it is, numbers as one, texts as (B, W) bytes, filled up with zeros."""
    if isinstance(part, Tensor):
        return part.detach()
    if all(isinstance(entry, str) for entry in part):
        texts = [entry.encode() for entry in part]
        width = max(map(len, texts))
        return torch.tensor([list(text.ljust(width, b"\0")) for text in texts], dtype=torch.uint8).view(len(part), -1)
    if all(isinstance(entry, bool | int | float) for entry in part):
        return torch.tensor(list(part))
    raise ValueError(
        f"{path} has an entry for every sample, a {type(part[0]).__name__}, which a memory cannot keep: expected "
        "tensors, numbers or texts; take the field out of the batch, or say extras='repeat'"
    )


def _as(part: Any, kept: Tensor) -> Any:
    """A field as it was in the batch, out of what was kept of it."""
    if isinstance(part, Tensor):
        return kept.to(part.device, part.dtype)
    if isinstance(part[0], str):
        return type(part)(bytes(row).rstrip(b"\0").decode() for row in kept.tolist())
    return type(part)(kept.tolist())


def _find(batch: Any, where: Place, name: str) -> Any:
    if callable(where):
        return where(batch)
    if isinstance(batch, Tensor):
        raise ValueError(
            f"{name}={where!r}: the batch is a single tensor of shape {tuple(batch.shape)}; "
            "say inputs=lambda batch: batch and targets=None"
        )
    if isinstance(where, str) and not isinstance(batch, Mapping) and hasattr(batch, where):
        return getattr(batch, where)
    try:
        return batch[where]
    except (TypeError, KeyError, IndexError):
        has = f" with the keys {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else ""
        if _is_record(batch):
            has = f" with the fields {', '.join(_record(batch))}"
        size = f" of length {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise ValueError(
            f"{name}={where!r}: not found in a batch that is a {type(batch).__name__}{has}{size}; "
            f"say where they are with {name}=, an index, a key, an attribute or a callable"
        ) from None


def _tensors(found: Any, name: str, where: Any) -> None:
    several = list(found) if isinstance(found, tuple | list) else [found]
    if not several or not all(isinstance(one, Tensor) and one.ndim > 0 for one in several):
        raise ValueError(f"{name}={where!r}: expected a tensor of samples, got {type(found).__name__}")
    if len({one.shape for one in several}) > 1:
        shapes = ", ".join(str(tuple(one.shape)) for one in several)
        raise ValueError(f"{name}={where!r}: expected tensors of one shape, got {shapes}")


def _check_inside(batch: Any, wanted: list[Tensor], inputs: Where, targets: Where | None) -> None:
    """Refuse tensors that a callable has made from a batch: no dream could take their place."""
    inside = {id(leaf) for leaf in _leaves(batch)}
    for number, tensor in enumerate(wanted):
        if id(tensor) not in inside:
            last = targets is not None and number == len(wanted) - 1
            raise ValueError(
                f"{f'targets={targets!r}' if last else f'inputs={inputs!r}'}: expected tensors that lie in the batch "
                "itself, in tuples, lists, dicts or dataclasses, so that dreams can take their place, got one made "
                "from it"
            )


def _leaves(part: Any) -> Iterator[Any]:
    part = _record(part) if _is_record(part) else part
    if isinstance(part, Mapping | tuple | list):
        for item in part.values() if isinstance(part, Mapping) else part:
            yield from _leaves(item)
    else:
        yield part


def _is_record(part: Any) -> bool:
    return is_dataclass(part) and not isinstance(part, type | Mapping)


def _record(part: Any) -> dict[str, Any]:
    return {entry.name: getattr(part, entry.name) for entry in fields(part)}


def _per_sample(part: Any, rows: int) -> bool:
    """A tensor with as many entries as the batch has samples, or a list of as many, such as file names."""
    if isinstance(part, Tensor):
        return part.ndim > 0 and len(part) == rows
    if not isinstance(part, tuple | list) or len(part) != rows:
        return False
    # two tensors of two rows each are two fields of two samples
    return not any(isinstance(item, Tensor) and item.ndim > 0 and len(item) == rows for item in part)

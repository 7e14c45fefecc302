"""Where samples and targets lie in a user's own batch, and how to build a batch of the same structure from others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Where = int | str | Callable[[Any], Any]
Extras = Literal["refuse", "repeat"]


class BatchFields:
    """Reads batches, and builds new ones like them.

    Args:
        inputs: index, key, name of an attribute, or a callable on the batch that gives the tensor of samples, or
            several of one shape (as the views of self-supervised learning), which stay together as one sample (V, *S).
        targets: the same for the targets; None where a batch has none.
        extras: what to do with further fields that have one entry for every sample: ``refuse`` them, or ``repeat``
            those of the day's batch, whichever sample they belonged to.

    Raises:
        ValueError: when ``extras`` is neither.
    """

    def __init__(self, inputs: Where, targets: Where | None, extras: Extras):
        if extras not in ("refuse", "repeat"):
            raise ValueError(f"expected extras to be 'refuse' or 'repeat', got {extras!r}")
        self.inputs = inputs
        self.targets = targets
        self.extras = extras

    def read(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Samples (B, *S) or (B, V, *S), and targets, (B,) zeros where there are none."""
        found = _find(batch, self.inputs, "inputs")
        _tensors(found, "inputs", self.inputs)
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

    def views(self, batch: Any) -> bool:
        """Whether a sample consists of several tensors of one shape."""
        return isinstance(_find(batch, self.inputs, "inputs"), tuple | list)

    def rebuild(self, batch: Any, x: Tensor, y: Tensor) -> Any:
        """A batch of the structure, types and devices of ``batch`` that holds other samples.

        Args:
            y: targets of as many; not looked at where a batch has none.

        Raises:
            ValueError: when samples or targets are no tensors of the batch itself, or a further field is refused.
        """
        found = _find(batch, self.inputs, "inputs")
        several = isinstance(found, tuple | list)
        pairs = list(zip(found, x.unbind(dim=1), strict=True)) if several else [(found, x)]
        if self.targets is not None:
            pairs.append((_find(batch, self.targets, "targets"), y))
        _check_inside(batch, [old for old, _ in pairs], self.inputs, self.targets)
        return self._like(batch, "batch", pairs, len(pairs[0][0]))

    def _like(self, part: Any, path: str, pairs: list[tuple[Tensor, Tensor]], rows: int) -> Any:
        """A part of a batch of ``rows`` samples with its tensors exchanged as the (old, new) pairs say."""
        for old, new in pairs:
            if part is old:
                return new.to(old.device, old.dtype)
        if isinstance(part, Mapping):
            made: Any = copy.copy(part)
            for key, value in part.items():
                made[key] = self._like(value, f"{path}[{key!r}]", pairs, rows)
            return made
        if _is_record(part):
            made = copy.copy(part)
            for name, value in _record(part).items():
                # the one way into a frozen record
                object.__setattr__(made, name, self._like(value, f"{path}.{name}", pairs, rows))
            return made
        if _per_sample(part, rows):
            return self._extra(part, path, len(pairs[0][1]))
        if isinstance(part, tuple | list):
            items = [self._like(item, f"{path}[{index}]", pairs, rows) for index, item in enumerate(part)]
            return type(part)(*items) if hasattr(part, "_fields") else type(part)(items)
        return part

    def _extra(self, part: Any, path: str, rows: int) -> Any:
        if self.extras == "refuse":
            raise ValueError(
                f"{path} has an entry for every sample, and no dream brings one: take the field out of the batch, or "
                "say extras='repeat' to give dreams those of the day's batch"
            )
        if isinstance(part, Tensor):
            return part[torch.arange(rows, device=part.device) % len(part)]
        return type(part)(part[row % len(part)] for row in range(rows))


def _find(batch: Any, where: Where, name: str) -> Any:
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
    """A tensor with as many entries as the batch has samples, or a list of as many plain values, such as file names."""
    if isinstance(part, Tensor):
        return part.ndim > 0 and len(part) == rows
    if not isinstance(part, tuple | list) or len(part) != rows:
        return False
    return not any(isinstance(item, Tensor | Mapping | tuple | list) for item in part)

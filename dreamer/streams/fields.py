"""Datasets whose items have names: where in an item the sample lies, and where its label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

Inputs = str | Sequence[str] | Callable[[Any], Any]

_LABELS = ("label", "labels", "target", "targets", "class", "y")
_SAMPLES = ("image", "img", "pixel_values", "input_ids", "inputs", "input", "features", "x")


class Picked(Dataset):
    """Items (sample, label) out of items that are mappings, or anything else.

    Args:
        dataset: map-style.
        inputs: key of the sample; several keys of numbers, which become one float32 vector; or a callable that gives
            the sample of an item.
        label: key of the integer label; None where the labels are not in the items.
    """

    def __init__(self, dataset: Any, inputs: Inputs, label: str | None):
        self.dataset = dataset
        self.inputs = inputs
        self.label = label

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> tuple[Any, ...]:
        item = self.dataset[position]
        sample = self._sample(item)
        if self.label is not None:
            return sample, field(item, self.label)
        # an item of (sample, label) may have had its sample picked by a callable
        return (sample, *item[1:2]) if isinstance(item, list | tuple) else (sample,)

    def _sample(self, item: Any) -> Any:
        if callable(self.inputs):
            return self.inputs(item)
        if isinstance(self.inputs, str):
            return field(item, self.inputs)
        values = [field(item, key) for key in self.inputs]
        wrong = next((key for key, value in zip(self.inputs, values, strict=True) if not _is_number(value)), None)
        if wrong is not None:
            raise ValueError(f"expected a number in the field {wrong!r} of every item, got {item[wrong]!r:.60}")
        return torch.tensor([float(value) for value in values])


def picked(dataset: Any, inputs: Inputs | None = None, label: str | None = None) -> Any:
    """The dataset, or its (sample, label) items where those it has are mappings, or ``inputs`` or ``label`` say more.

    Args:
        dataset: map-style, not empty.
        inputs: see :class:`Picked`; None finds the only field beside the label, one with a usual name (image, x,
            input_ids ...), or takes all fields together where they are numbers.
        label: None finds one with a usual name (label, target, y ...).

    Raises:
        ValueError: when a field is not there, or it is not clear which one holds the sample.
    """
    item = dataset[0]
    if not isinstance(item, Mapping):
        return dataset if inputs is None else Picked(dataset, inputs, None)
    if label is None:
        label = next((name for name in _LABELS if name in item), None)
    else:
        field(item, label)
    if inputs is None:
        inputs = _find(item, label)
    for key in [] if callable(inputs) else [inputs] if isinstance(inputs, str) else inputs:
        field(item, key)
    return Picked(dataset, inputs, label)


def field(item: Any, key: str) -> Any:
    """One field of an item; a ``ValueError`` when it has none of that name."""
    if not isinstance(item, Mapping) or key not in item:
        there = ", ".join(map(str, item)) if isinstance(item, Mapping) else f"none, being a {type(item).__name__}"
        raise ValueError(f"expected items with a field {key!r}, got {there}")
    return item[key]


def _find(item: Mapping[str, Any], label: str | None) -> Inputs:
    names = [name for name in item if name != label]
    usual = [name for name in _SAMPLES if name in names]
    if len(names) == 1 or usual:
        return (usual or names)[0]
    if names and all(_is_number(item[name]) for name in names):
        return names
    raise ValueError(
        f"cannot tell which field holds the sample, expected inputs=..., one of {', '.join(names) or 'none'}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) or (isinstance(value, Tensor) and value.ndim == 0)

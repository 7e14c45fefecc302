"""Datasets of Hugging Face as streams. The package ``datasets`` is imported here, inside a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.streams.base import DataNotFound, Samples, Scenario, Stream
from dreamer.streams.dataset_samples import LIMIT_BYTES, materialise
from dreamer.streams.fields import Inputs, Picked, picked
from dreamer.streams.folder import default_experiences
from dreamer.streams.split import split_stream
from dreamer.streams.tensors import split_off

_TESTS = ("test", "validation", "valid", "val")


@checked
def hugging_face(
    root: str | Path | None = None,
    experiences: int | None = None,
    inputs: str | Sequence[str] | None = None,
    label: str | None = None,
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    test: float = 0.2,
    limit_bytes: int = LIMIT_BYTES,
    workers: int = 0,
) -> Stream:
    """A folder that Hugging Face's ``save_to_disk`` wrote; nothing is downloaded.

    Args:
        root: the folder.
        experiences: how many; None deals out about two classes each, in at least two experiences and at most ten.
        inputs: column of the sample, or several columns of numbers; None finds it.
        label: column of the labels; None finds it.
        seed: decides the order of the classes.
        shuffle: False keeps the order 0, 1, 2 ...
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class``, ``task`` or ``domain``, see :func:`dreamer.streams.split.split_stream`.
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out, and split off.
        test: fraction of each class that is split off where the folder has no test data, in (0, 1).
        limit_bytes: bytes up to which samples are held in memory; more are read batch by batch.
        workers: processes that read; 0 reads in this one.
        experiences, seed, shuffle, class_order, scenario, validation, split_seed, limit_bytes, workers: see
            :func:`from_hugging_face`.

    Raises:
        DataNotFound: when there is no such folder.
        ValueError: when the package is absent, or columns do not fit.
    """
    if root is None:
        raise DataNotFound("stream 'hugging_face' needs a folder that save_to_disk wrote: set data.root")
    try:
        from datasets import load_from_disk
    except ImportError:
        raise ValueError("stream 'hugging_face' needs the package datasets: pip install datasets") from None
    try:
        data = load_from_disk(str(Path(root).expanduser()))
    except FileNotFoundError as error:
        raise DataNotFound(
            f"stream 'hugging_face': there is no dataset that save_to_disk wrote in {str(root)!r}"
        ) from error
    return from_hugging_face(
        data,
        experiences=experiences,
        inputs=inputs,
        label=label,
        seed=seed,
        shuffle=shuffle,
        class_order=class_order,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        test_fraction=test,
        limit_bytes=limit_bytes,
        workers=workers,
    )


def from_hugging_face(
    data: Any,
    test: Any = None,
    *,
    experiences: int | None = None,
    inputs: Inputs | None = None,
    label: str | None = None,
    name: str = "hugging_face",
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    test_fraction: float = 0.2,
    limit_bytes: int = LIMIT_BYTES,
    workers: int = 0,
) -> Stream:
    """A ``datasets.Dataset`` or ``DatasetDict``; its classes are dealt out to experiences.

    Images become 8-bit pixels, lists of numbers tensors of their type (token ids stay int64), several columns of
    numbers one float32 vector. Sequences have to be of one length: pad or cut them with ``map`` first.

    Args:
        data: the training data, or a ``DatasetDict`` with ``train`` and, where it has one, ``test`` or ``validation``.
        test: what the run is evaluated on; without it a fraction is split off.
        experiences: how many; None deals out about two classes each, in at least two experiences and at most ten.
        inputs: column of the sample, several columns of numbers, or a callable on an item that gives the sample (a
            tokeniser, say); None finds it, see :func:`dreamer.streams.fields.picked`.
        label: column of the labels: whole numbers, a ``ClassLabel``, or texts, which are numbered in their order; None
            finds it.
        name: how the stream is called in tables.
            ``split_seed`` decides what is split off as well.
        test_fraction: fraction of each class that is split off where there are no test data, in (0, 1).
        limit_bytes: bytes up to which samples are held in memory; more are read batch by batch.
        workers: processes that read; 0 reads in this one.

    Raises:
        ValueError: when a column is not there or not clear, labels are none, or samples differ in shape.
        TypeError: when a column holds what no tensor can.
    """
    if hasattr(data, "keys"):
        data, test = _parts(name, data, test)
    picked_train = _picked(name, data, inputs, label)
    assert picked_train.label is not None
    names = _class_names(data, picked_train.label)

    def read(part: Any) -> Samples:
        chosen = _picked(name, part, inputs, label)
        assert chosen.label is not None
        numbers = _labels(name, part, chosen.label, names)
        return materialise(
            Picked(chosen.dataset, chosen.inputs, None), limit_bytes, targets=lambda _: numbers, workers=workers
        )

    train = read(data)
    if test is None:
        train, tested = split_off(name, train, test_fraction, split_seed)
    else:
        tested = read(test)
    count = len(train.y.unique())
    return split_stream(
        name,
        train,
        tested,
        experiences=default_experiences(count) if experiences is None else experiences,
        seed=seed,
        shuffle=shuffle,
        class_order=class_order,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        class_names=names,
    )


def _parts(name: str, data: Any, test: Any) -> tuple[Any, Any]:
    if "train" not in data:
        raise ValueError(f"stream {name!r}: expected a part 'train', got {', '.join(map(str, data.keys())) or 'none'}")
    return data["train"], test if test is not None else next((data[part] for part in _TESTS if part in data), None)


def _picked(name: str, data: Any, inputs: Inputs | None, label: str | None) -> Picked:
    if not hasattr(data, "column_names") or not hasattr(data, "features"):
        raise ValueError(f"stream {name!r}: expected a datasets.Dataset or DatasetDict, got {type(data).__name__}")
    if not len(data):
        raise ValueError(f"stream {name!r}: expected at least one row, got none")
    found: Picked = picked(data, inputs, label)
    if found.label is None:
        raise ValueError(
            f"stream {name!r}: cannot tell which column holds the labels, expected label=..., one of "
            f"{', '.join(data.column_names)}"
        )
    if isinstance(found.inputs, str):
        # other columns, which may be images, are not decoded
        found.dataset = data.select_columns([found.inputs])
    return found


def _class_names(data: Any, label: str) -> list[str]:
    named = getattr(data.features[label], "names", None)
    if named:
        return list(named)
    values = list(data[label])
    return sorted(set(values)) if values and all(isinstance(value, str) for value in values) else []


def _labels(name: str, data: Any, label: str, names: Sequence[str]) -> Tensor:
    values = list(data[label])
    if names and isinstance(values[0], str):
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise ValueError(
                f"stream {name!r}: the test data have the class {unknown[0]!r}, the training data have not"
            )
        values = [names.index(value) for value in values]
    whole = all(isinstance(value, int) or (isinstance(value, Tensor) and value.ndim == 0) for value in values)
    if not whole or min(map(int, values)) < 0:
        raise ValueError(f"stream {name!r}: expected whole numbers from 0 or texts in the column {label!r}")
    return torch.tensor([int(value) for value in values])

"""Streams out of what the user already has: plain tensors, or a list of datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dreamer.streams.base import Samples, Scenario, Stream, TensorSamples, hold_out
from dreamer.streams.dataset_samples import LIMIT_BYTES, materialise, size_of
from dreamer.streams.fields import Inputs, picked
from dreamer.streams.split import chain_stream, split_stream


def from_tensors(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    test_x: Tensor | np.ndarray | None = None,
    test_y: Tensor | np.ndarray | None = None,
    *,
    experiences: int,
    name: str = "tensors",
    test: float = 0.2,
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    scale: float | None = None,
    class_names: Sequence[str] = (),
) -> Stream:
    """A stream out of tensors, or arrays; their classes are dealt out to experiences.

    Args:
        x: (N, *S) samples of any dtype (float64 becomes float32); pixels lie in [0, 1] after ``scale``.
        y: (N,) integer labels, at least 0.
        test_x: (M, *S) samples to be evaluated on; without them a fraction is split off.
        test_y: (M,) labels of these.
        experiences: how many.
        name: how the stream is called in tables.
        test: fraction of each class that is split off where no test tensors are given, in (0, 1).
        seed: decides the order of the classes.
        shuffle: False keeps the order 0, 1, 2 ...
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class`` and ``task`` keep the labels; ``domain`` relabels with the position within the experience.
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out, and which are test data where a fraction is split off.
        scale: factor by which samples are multiplied (as float32) when read: ``1 / 255`` for 8-bit pixels.
        class_names: one per label.

    Raises:
        ValueError: when lengths differ, a class is too small to be split, or an option is impossible.
    """
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    test_x, test_y = (None if given is None else torch.as_tensor(given) for given in (test_x, test_y))
    named: list[tuple[str, Any]] = [("y", y), ("test_y", test_y)]
    for label_name, labels in named:
        if labels is not None and (labels.is_floating_point() or labels.ndim != 1 or (labels < 0).any()):
            raise ValueError(f"stream {name!r}: expected {label_name} to hold one integer label >= 0 per sample")
    if (test_x is None) != (test_y is None):
        raise ValueError(f"stream {name!r}: expected test_x and test_y together, got one of them")
    train: Samples = TensorSamples(x, y, scale)
    if test_x is not None and test_y is not None:
        tested: Samples = TensorSamples(torch.as_tensor(test_x), torch.as_tensor(test_y), scale)
    else:
        train, tested = split_off(name, train, test, split_seed)
    return split_stream(
        name,
        train,
        tested,
        experiences=experiences,
        seed=seed,
        shuffle=shuffle,
        class_order=class_order,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        class_names=class_names,
    )


def from_datasets(
    pairs: Sequence[tuple[Dataset, Dataset]],
    *,
    name: str = "datasets",
    targets: Callable[[Any], Any] | str | None = None,
    inputs: Inputs | None = None,
    scenario: Scenario | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
    num_classes: int | None = None,
    class_names: Sequence[str] = (),
    limit_bytes: int = LIMIT_BYTES,
    workers: int = 0,
) -> Stream:
    """A stream out of (train, test) datasets, one pair per experience, in the order in which they are seen.

    Args:
        pairs: map-style datasets of (sample, integer label, ...) items, or of items with named fields.
        name: how the stream is called in tables.
        targets: gives the labels of a dataset, where they are not to be found in ``targets``, ``labels``, ``y``,
            ``tensors[1]`` or in the items; or the name of their field.
        inputs: where in an item the sample lies, see :func:`dreamer.streams.fields.picked`; None finds it.
        scenario: see :class:`~dreamer.streams.base.Stream`; None means ``domain`` where every experience brings the
            same classes, else ``class``. In ``task``, labels that several experiences share are moved apart.
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out.
        num_classes: K; by default one more than the largest label.
        class_names: K names.
        limit_bytes: bytes up to which one dataset is held in memory; a larger one is read batch by batch.
        workers: processes that read; 0 reads in this one.

    Raises:
        ValueError: when labels cannot be found, or shapes differ.
    """
    label, given = (targets, None) if isinstance(targets, str) else (None, targets)

    def read(part: Dataset) -> Samples:
        chosen = part if isinstance(part, Samples) or not size_of(part) else picked(part, inputs, label)
        return materialise(chosen, limit_bytes, targets=given, workers=workers)

    read_pairs = [(read(train), read(test)) for train, test in pairs]
    return chain_stream(
        name,
        read_pairs,
        range(len(read_pairs)),
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        num_classes=num_classes,
        class_names=class_names,
    )


def split_off(name: str, whole: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    """Split test data off, class by class, at least one sample of each class on either side.

    Raises:
        ValueError: when the fraction is not in (0, 1) or a class has fewer than two samples.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"stream {name!r}: expected a fraction of test data in (0, 1), got {fraction}")
    labels, counts = whole.y.unique(return_counts=True)
    if len(counts) and int(counts.min()) < 2:
        lonely = int(labels[int(counts.argmin())])
        raise ValueError(f"stream {name!r}: class {lonely} has one sample, expected two or more to split test data off")
    train, held = hold_out(whole, fraction, seed, least=1)
    if held is None or set(train.y.unique().tolist()) != set(labels.tolist()):
        raise ValueError(f"stream {name!r}: a fraction of {fraction} test data leaves a class without training data")
    return train, held

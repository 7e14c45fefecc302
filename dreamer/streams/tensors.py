"""Streams out of what the user already has: plain tensors, or a list of datasets."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from dreamer.core.arguments import checked, checked_but
from dreamer.streams.base import Samples, Scenario, Stream, TensorSamples, hold_out
from dreamer.streams.dataset_samples import LIMIT_BYTES, materialise, size_of, text_labels
from dreamer.streams.fields import Inputs, picked
from dreamer.streams.labels import integer_labels, numeric
from dreamer.streams.split import chain_stream, split_stream


@checked
def from_tensors(
    x: Any,
    y: Any,
    test_x: Any = None,
    test_y: Any = None,
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
        x: (N, *S) samples of any dtype (float64 becomes float32), a tensor, an array or a frame of numbers; pixels lie
            in [0, 1] after ``scale``.
        y: (N,) labels: whole numbers of at least 0, texts, which are numbered in their order, or (N, K) one-hot rows.
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
    try:
        x, test_x = numeric("x", x), None if test_x is None else numeric("test_x", test_x)
        y, class_names = integer_labels("y", y, class_names)
        test_y = None if test_y is None else integer_labels("test_y", test_y, class_names)[0]
    except ValueError as error:
        raise ValueError(f"stream {name!r}: {error}") from None
    if (test_x is None) != (test_y is None):
        raise ValueError(f"stream {name!r}: expected test_x and test_y together, got one of them")
    train: Samples = TensorSamples(x, y, scale)
    if test_x is not None and test_y is not None:
        tested: Samples = TensorSamples(test_x, test_y, scale)
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


@checked_but("pairs")
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

    def chosen(part: Any) -> Any:
        part = _map_style(name, part)
        return part if isinstance(part, Samples) or not size_of(part) else picked(part, inputs, label)

    parts = [[chosen(train), chosen(test)] for train, test in _pairs(name, pairs)]
    texts = _labels(name, {id(part): found for part in itertools.chain(*parts) if (found := _texts(part, given))})
    class_names = tuple(class_names) or tuple(sorted(set(itertools.chain(*texts.values()))))

    def read(part: Any) -> Samples:
        own = given
        if id(part) in texts:
            numbers, _ = integer_labels(f"labels of the stream {name!r}", texts[id(part)], class_names)
            own = functools.partial(_same, numbers)
        return materialise(part, limit_bytes, targets=own, workers=workers)

    read_pairs = [(read(train), read(test)) for train, test in parts]
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


def _pairs(name: str, given: Any) -> list[tuple[Any, Any]]:
    """The (train, test) pairs, or a ValueError that says what was given in their place."""
    pairs = list(given) if isinstance(given, list | tuple) else []
    if not pairs or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        got = type(given).__name__ if not pairs else f"a list of {type(pairs[0]).__name__}"
        raise ValueError(
            f"stream {name!r}: expected a list of (train, test) datasets, a pair for each experience, got {got}; "
            "split_stream(name, train, test, experiences=...) deals out the classes of one"
        )
    return pairs


def _map_style(name: str, part: Any) -> Any:
    """A dataset that can be read in any order; that of a loader is taken out of it."""
    part = part.dataset if isinstance(part, DataLoader) else part
    if isinstance(part, IterableDataset) or not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
        if not isinstance(part, Samples):
            raise ValueError(
                f"stream {name!r}: a {type(part).__name__} can only be read once and in order: expected a map-style "
                "dataset, or from_iterable(...)"
            )
    return part


def _texts(part: Any, targets: Callable[[Any], Any] | None) -> list[tuple[str, ...]] | None:
    return None if isinstance(part, Samples) else text_labels(part, targets)


def _labels(name: str, texts: Mapping[int, list[tuple[str, ...]]]) -> dict[int, tuple[str, ...]]:
    """The labels of each dataset: the first text of an item, or the next that items share where no two share it.

    File names are shared by no two items.
    """
    together = [list(itertools.chain(*columns)) for columns in zip(*texts.values(), strict=False)]
    shared = [len(set(values)) < len(values) for values in together]
    if len(together) < 2 or shared[0]:
        return {part: columns[0] for part, columns in texts.items()}
    at = next((i for i, values in enumerate(together) if shared[i] and len(set(values)) > 1), None)
    if at is None:
        shown = " and ".join(repr(values[0]) for values in together)
        raise ValueError(
            f"stream {name!r}: it is not clear which of the texts in an item, such as {shown}, is its label: expected "
            "items (sample, label), or targets=... that gives the labels of a dataset"
        )
    return {part: columns[at] for part, columns in texts.items()}


def _same(numbers: Tensor, _: Any) -> Tensor:
    return numbers


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

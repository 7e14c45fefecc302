"""Samples out of any map-style ``Dataset``: read lazily where they do not fit in memory, once where they do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

from dreamer.core.types import Batch
from dreamer.streams.base import Samples, TensorSamples, single
from dreamer.streams.labels import label_of
from dreamer.streams.pixels import pixels

LIMIT_BYTES = 2 * 2**30
"""Bytes up to which one set of samples is held in memory."""

_ATTRIBUTES = ("targets", "labels", "y")
_READ_BATCH = 256


class DatasetSamples:
    """Samples of a map-style dataset, read when they are needed.

    Args:
        dataset: its items are samples or tuples that begin with one: a tensor, an array, a number, a list of numbers
            within a tuple, or a PIL image (which becomes (C, H, W) uint8).
        y: (N,) integer labels of the chosen items; those inside the items are not looked at.
        index: (N,) int64 positions of the chosen items; None means all of them.
        scale: factor by which samples are multiplied (as float32) when read: ``1 / 255`` for 8-bit pixels.
        workers: processes that read, at most one per core; 0 reads in this one.
        device: where batches are put.

    Raises:
        ValueError: when labels and items differ in number.
    """

    def __init__(
        self,
        dataset: Dataset,
        y: Tensor,
        *,
        index: Tensor | None = None,
        scale: float | None = None,
        workers: int = 0,
        device: torch.device | str = "cpu",
    ):
        self.dataset = dataset
        self.index = torch.arange(size_of(dataset)) if index is None else index.to("cpu", torch.int64)
        if len(self.index) != len(y):
            raise ValueError(f"expected as many labels as items, got {len(self.index)} items and {len(y)} labels")
        self.y = y.to(device, torch.int64)
        self.scale = scale
        self.workers = workers
        self.device = torch.device(device)
        self._shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        if self._shape is None:
            first = int(self.index[0]) if len(self) else 0
            self._shape = tuple(_tensor(_sample(self.dataset[first])).shape)
        return self._shape

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        positions = (index.tolist() for index in indices)
        for read in _read(self.dataset, self.index, positions, self.workers):
            x = read.x.to(self.device)
            y = self.y.index_select(0, read.position.to(self.device))
            yield Batch(x if self.scale is None else x.to(torch.float32).mul_(self.scale), y)

    def subset(self, index: Tensor) -> DatasetSamples:
        return self._like(self.y[index.to(self.y.device)], self.index[index.cpu()], self.device)

    def with_labels(self, y: Tensor) -> DatasetSamples:
        return self._like(y, self.index, self.device)

    def to(self, device: torch.device | str) -> DatasetSamples:
        return self._like(self.y, self.index, device)

    def _like(self, y: Tensor, index: Tensor, device: torch.device | str) -> DatasetSamples:
        other = DatasetSamples(self.dataset, y, index=index, scale=self.scale, workers=self.workers, device=device)
        other._shape = self._shape
        return other


def materialise(
    source: Samples | Dataset,
    limit_bytes: int = LIMIT_BYTES,
    *,
    targets: Callable[[Any], Any] | None = None,
    workers: int = 0,
) -> Samples:
    """Read a data set into memory where it fits, else leave it where it is and read it batch by batch.

    Every item is read once, so a random transform inside the dataset is drawn once, too: augmentation belongs to
    the stages of a run.

    Args:
        source: samples, or a map-style dataset of (sample, label, ...) items.
        limit_bytes: bytes up to which samples are held in memory, as stored (one byte for a pixel of a PIL image).
        targets: gives the (N,) labels of the dataset; by default they are found, see :func:`find_labels`.
        workers: processes that read; 0 reads in this one.

    Raises:
        ValueError: when the dataset is empty, its labels cannot be found, or its samples differ in shape.
        TypeError: when a sample is nothing that can become a tensor.
    """
    if isinstance(source, TensorSamples) or (isinstance(source, Samples) and not isinstance(source, DatasetSamples)):
        return source
    if isinstance(source, DatasetSamples):
        x, _ = _read_all(source.dataset, source.index, limit_bytes, max(workers, source.workers), labels=False)
        return source if x is None else TensorSamples(x, source.y.cpu(), source.scale)
    if not size_of(source):
        raise ValueError(f"expected at least one item, got an empty {type(source).__name__}")
    if type(source) is TensorDataset and len(source.tensors) >= 2 and targets is None:
        return TensorSamples(source.tensors[0], source.tensors[1])
    return _materialise_dataset(source, limit_bytes, targets, workers)


def size_of(dataset: Dataset) -> int:
    """How many items a map-style dataset has; its type does not declare a length."""
    return len(cast(Sized, dataset))


def find_labels(dataset: Dataset, targets: Callable[[Any], Any] | None = None) -> Tensor | None:
    """The labels of a map-style dataset without reading its items.

    Looks for ``targets``, ``labels``, ``y`` and ``tensors[1]``, through ``Subset`` and ``ConcatDataset``, and applies
    the ``target_transform`` of torchvision's datasets.

    Args:
        targets: gives the labels, a sequence of N integers; then nothing is looked for.

    Returns:
        (N,) int64, or None when they are not to be found.

    Raises:
        ValueError: when ``targets`` does not give N integers.
    """
    if targets is not None:
        found = _integers(targets(dataset), size_of(dataset))
        if found is None:
            raise ValueError(f"expected targets to give {size_of(dataset)} integer labels of {type(dataset).__name__}")
        return found
    if isinstance(dataset, Subset):
        inner = find_labels(dataset.dataset)
        return None if inner is None else inner[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [part for each in dataset.datasets if (part := find_labels(each)) is not None]
        return torch.cat(parts) if len(parts) == len(dataset.datasets) else None
    candidates = [getattr(dataset, name, None) for name in _ATTRIBUTES]
    candidates.append([*getattr(dataset, "tensors", ()), None, None][1])
    found = next((y for y in (_integers(c, size_of(dataset)) for c in candidates) if y is not None), None)
    transform = getattr(dataset, "target_transform", None)
    if found is None or transform is None:
        return found
    return _integers([transform(label) for label in found.tolist()], size_of(dataset))


def _materialise_dataset(
    dataset: Dataset, limit_bytes: int, targets: Callable[[Any], Any] | None, workers: int
) -> Samples:
    y = find_labels(dataset, targets)
    first = dataset[0]
    own = _label(first)
    if targets is None and y is not None and own is not None and own != int(y[0]):
        raise ValueError(
            f"{type(dataset).__name__}: item 0 has label {own} but the labels found beside it begin with {int(y[0])}: "
            "say with targets=... which ones are meant"
        )
    if y is None and own is None:
        raise ValueError(
            f"cannot find the labels of {type(dataset).__name__}: expected an attribute targets, labels, y or tensors, "
            "items (sample, integer label), or targets=... that gives them"
        )
    scale = 1 / 255 if isinstance(_sample(first), Image.Image) else None
    index = torch.arange(size_of(dataset))
    x, read = _read_all(dataset, index, limit_bytes, workers, labels=y is None)
    y = read if y is None else y
    assert y is not None
    return TensorSamples(x, y, scale) if x is not None else DatasetSamples(dataset, y, scale=scale, workers=workers)


def _read_all(
    dataset: Dataset, index: Tensor, limit_bytes: int, workers: int, labels: bool
) -> tuple[Tensor | None, Tensor | None]:
    """All samples at the positions (None when they do not fit) and, if wanted, the labels of their items."""
    if not len(index):
        return None, None
    first = _tensor(_sample(dataset[int(index[0])]))
    fits = len(index) * first.numel() * first.element_size() <= limit_bytes
    if not fits and not labels:
        return None, None
    x = torch.empty(len(index), *first.shape, dtype=first.dtype) if fits else None
    y = torch.empty(len(index), dtype=torch.int64) if labels else None
    chunks = (chunk.tolist() for chunk in torch.arange(len(index)).split(_READ_BATCH))
    for read in _read(dataset, index, chunks, workers):
        if x is not None:
            if read.x.shape[1:] != first.shape or read.x.dtype != first.dtype:
                raise ValueError(
                    f"expected samples like the first, {tuple(first.shape)} of {first.dtype}, "
                    f"got {tuple(read.x.shape[1:])} of {read.x.dtype} in {type(dataset).__name__}"
                )
            x[read.position] = read.x
        if y is not None:
            if read.y is None:
                raise ValueError(f"expected items (sample, integer label) in {type(dataset).__name__}")
            y[read.position] = read.y
    return x, y


class _Read(NamedTuple):
    """A batch of items: (B,) positions, (B, *S) samples, and (B,) labels unless one has none."""

    position: Tensor
    x: Tensor
    y: Tensor | None


class _Items(Dataset):
    """Items with their position, at chosen places of a dataset."""

    def __init__(self, dataset: Dataset, index: Tensor):
        self.dataset = dataset
        self.index = index

    def __getitem__(self, position: int) -> tuple[int, Tensor, int | None]:
        item = self.dataset[int(self.index[position])]
        return position, _tensor(_sample(item)), _label(item)


def _read(dataset: Dataset, index: Tensor, positions: Iterable[list[int]], workers: int) -> Iterator[_Read]:
    # a generator of its own: a loader draws a seed for its workers, which must not touch the global numbers
    return iter(
        DataLoader(
            _Items(dataset, index),
            batch_sampler=positions,
            collate_fn=_collate,
            num_workers=min(workers, _cores()),
            generator=torch.Generator(),
        )
    )


def _cores() -> int:
    """Cores that this process may use; more workers than that only stand in each other's way."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collate(items: list[tuple[int, Tensor, int | None]]) -> _Read:
    positions, samples, labels = zip(*items, strict=True)
    shapes = {tuple(sample.shape) for sample in samples}
    if len(shapes) != 1:
        raise ValueError(f"expected samples of one shape, got {sorted(shapes)}: resize, crop or pad them first")
    y = None if any(label is None for label in labels) else torch.tensor(labels)
    return _Read(torch.tensor(positions), torch.stack(samples), y)


def _sample(item: Any) -> Any:
    return item[0] if isinstance(item, (tuple, list)) else item


def _label(item: Any) -> int | None:
    found = label_of(item)
    return found if isinstance(found, int) else None


def text_labels(dataset: Any, targets: Callable[[Any], Any] | None = None) -> list[tuple[str, ...]] | None:
    """The labels of a map-style dataset where they are texts; None where they are not. Its items may be read.

    Returns:
        the N labels; where every item holds several texts, such as a file name and a class, the N of each place.
    """
    if not size_of(dataset):
        return None
    given: list[Any] = (
        [targets(dataset)] if targets is not None else [getattr(dataset, name, None) for name in _ATTRIBUTES]
    )
    for values in given:
        if not isinstance(values, str) and hasattr(values, "__len__") and len(values) == size_of(dataset):
            if all(isinstance(value, str) for value in values):
                return [tuple(values)]
    if targets is not None or find_labels(dataset) is not None or not isinstance(label_of(dataset[0]), str):
        return None
    items = [[value for value in dataset[at][1:] if isinstance(value, str)] for at in range(size_of(dataset))]
    return [*zip(*items, strict=False)]


def _tensor(sample: Any) -> Tensor:
    if isinstance(sample, Tensor):
        return single(sample)
    if isinstance(sample, Image.Image):
        return pixels(sample)
    if isinstance(sample, (np.ndarray, np.generic, int, float)):
        return single(torch.as_tensor(sample))
    if isinstance(sample, (list, tuple)) and sample:
        try:
            return single(torch.as_tensor(np.asarray(sample)))
        except (TypeError, ValueError):
            raise TypeError(
                f"expected a sample that is a list to hold numbers, as many in each row, got {sample!r:.60}"
            ) from None
    raise TypeError(
        f"expected samples that are tensors, arrays, numbers or PIL images, got {type(sample).__name__}"
        + (": make token numbers of texts first" if isinstance(sample, str) else "")
    )


def _integers(values: Any, count: int) -> Tensor | None:
    """(N,) int64 out of whatever holds N whole numbers, else None."""
    if values is None or isinstance(values, (str, bytes)) or callable(values):
        return None
    if not isinstance(values, (Tensor, np.ndarray)):
        try:
            values = np.asarray([v.item() if isinstance(v, Tensor) else v for v in values])
        except (TypeError, ValueError, RuntimeError):
            return None
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iub":
            return None
        values = torch.from_numpy(values.astype(np.int64))
    if values.is_floating_point() or values.is_complex() or values.numel() != count:
        return None
    return values.reshape(-1).to(torch.int64)

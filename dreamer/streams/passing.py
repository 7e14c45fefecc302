"""A stream out of an iterable that never ends: every experience is read when it begins, and gone when the next does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dreamer.core.arguments import checked
from dreamer.core.types import Batch
from dreamer.streams.base import Experience, Samples, Stream, TensorSamples
from dreamer.streams.dataset_samples import materialise


@checked
def from_iterable(
    batches: Iterable[tuple[Tensor, Tensor]],
    test: Samples | Dataset | Sequence[Samples | Dataset],
    *,
    experiences: int,
    size: int,
    num_classes: int | None = None,
    name: str = "iterable",
    class_names: Sequence[str] = (),
) -> Stream:
    """A stream out of batches that are read while the run goes on, in order, once.

    No more than one experience is held. Which classes an experience brings is known when it begins, and not before: it
    is read then. A run that is resumed in a new process reads the iterable from its start and skips what has been
    trained on, so it goes on as before where the iterable gives the same batches again.

    Args:
        batches: gives (B, *S) samples with (B,) integer labels, as a ``DataLoader`` of an ``IterableDataset`` does, for
            as long as it likes. An iterator, which cannot begin anew, serves one run.
        test: what the run is evaluated on: one set for the whole stream, or one for each experience.
        experiences: how many there are; the iterable may go on behind them.
        size: samples of each experience, whatever the size of the batches.
        num_classes: K; by default one more than the largest test label.
        name: how the stream is called in tables.
        class_names: K names; by default the numbers.

    Raises:
        ValueError: when there is no experience, nothing to be evaluated on, or not as many test sets as experiences;
            when an experience begins: when the iterable has ended, or gives something else.
    """
    if experiences < 1 or size < 1:
        raise ValueError(
            f"stream {name!r}: expected at least one experience of one sample, got {experiences} of {size}"
        )
    whole = not isinstance(test, list | tuple)
    tests = [materialise(each) for each in cast(Sequence[Any], [test] if whole else test)]
    if not whole and len(tests) != experiences:
        raise ValueError(
            f"stream {name!r}: expected one test set, or one for each of {experiences} experiences, got {len(tests)}"
        )
    if not all(len(each) for each in tests):
        raise ValueError(f"stream {name!r}: expected test samples, got an empty set")
    k = max(int(each.y.max()) for each in tests) + 1 if num_classes is None else num_classes
    shape = tests[0].sample_shape
    source = _Source(name, batches, size, shape, k)
    passing = [
        Experience(
            index,
            _Classes(source, index),
            cast(Samples, PassingSamples(source, index)),
            tests[0 if whole else index],
            origin=0 if whole else None,
        )
        for index in range(experiences)
    ]
    names = tuple(class_names) or tuple(str(label) for label in range(k))
    return Stream(name, tuple(passing), k, shape, "class", names, passing=True)


class _Source:
    """Reads one experience after the other, and holds the last one."""

    def __init__(self, name: str, batches: Iterable[tuple[Tensor, Tensor]], size: int, shape: tuple[int, ...], k: int):
        self.name = name
        self.batches = batches
        self.size = size
        self.shape = shape
        self.num_classes = k
        self.classes: dict[int, tuple[int, ...]] = {}
        self._reading: Iterator[tuple[Tensor, Tensor]] | None = None
        self._rest: list[Batch] = []
        self._held: tuple[int, TensorSamples] | None = None

    def read(self, index: int) -> TensorSamples:
        """The samples of an experience, which begins with this, or goes on."""
        at = -1 if self._held is None else self._held[0]
        if index < at or self._reading is None:
            if index < at and iter(self.batches) is self.batches:
                raise ValueError(
                    f"stream {self.name!r}: experience {index} has passed, and an iterator cannot begin anew: "
                    "expected an iterable that can, such as a list or a DataLoader"
                )
            self._reading, self._rest, at = iter(self.batches), [], -1
        while at < index:
            # what has passed is let go before more is read
            self._held = None
            at += 1
            self._held = at, self._next(at)
            self.classes[at] = tuple(self._held[1].y.unique().tolist())
        assert self._held is not None
        return self._held[1]

    def move(self, index: int, device: torch.device) -> TensorSamples:
        """The same on a device, where they stay."""
        samples = self.read(index).to(device)
        self._held = index, samples
        return samples

    def _next(self, index: int) -> TensorSamples:
        parts, count = self._rest, sum(len(part.y) for part in self._rest)
        while count < self.size:
            assert self._reading is not None
            given = next(self._reading, None)
            if given is None:
                raise ValueError(
                    f"stream {self.name!r}: expected {self.size} samples for each experience, but the iterable ended "
                    f"after {index * self.size + count}, in experience {index}"
                )
            parts.append(self._checked(given))
            count += len(parts[-1].y)
        x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
        self._rest = [Batch(x[self.size :].clone(), y[self.size :].clone())]
        return TensorSamples(x[: self.size].clone(), y[: self.size].clone())

    def _checked(self, given: tuple[Tensor, Tensor]) -> Batch:
        parts = tuple(given[:2]) if isinstance(given, list | tuple) else ()
        shapes = [tuple(part.shape) for part in parts if isinstance(part, Tensor)]
        fits = len(shapes) == 2 and len(shapes[1]) == 1 and shapes[0] == (*shapes[1], *self.shape)
        if not fits or parts[1].is_floating_point():
            raise ValueError(
                f"stream {self.name!r}: expected batches of a tensor of samples of shape {self.shape}, like the test "
                f"data, and one with an integer label for each, got {shapes or type(given).__name__}"
            )
        x, y = parts
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.num_classes:
            raise ValueError(
                f"stream {self.name!r}: expected labels from 0 to {self.num_classes - 1}, got {int(y.min())} to "
                f"{int(y.max())}: say num_classes where the test data do not show all classes"
            )
        return Batch(x, y.to(torch.int64))


class PassingSamples:
    """The training samples of one experience, there from its beginning to the next one's."""

    def __init__(self, source: _Source, index: int, device: torch.device | str = "cpu"):
        self._source = source
        self._index = index
        self._device = torch.device(device)

    def __len__(self) -> int:
        return self._source.size

    @property
    def y(self) -> Tensor:
        """(N,) int64 labels."""
        return self._source.move(self._index, self._device).y

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self._source.shape

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        return self._source.move(self._index, self._device).batches(indices)

    def subset(self, index: Tensor) -> Samples:
        return self._source.read(self._index).subset(index)

    def with_labels(self, y: Tensor) -> Samples:
        return self._source.read(self._index).with_labels(y)

    def to(self, device: torch.device | str) -> PassingSamples:
        return PassingSamples(self._source, self._index, device)


class _Classes(Sequence[int]):
    """The sorted classes of one experience, which is read when they are first needed."""

    def __init__(self, source: _Source, index: int):
        self._source = source
        self._index = index

    @property
    def so_far(self) -> tuple[int, ...]:
        """The classes, as far as the experience has been read; this reads nothing."""
        return self._source.classes.get(self._index, ())

    def _read(self) -> tuple[int, ...]:
        if self._index not in self._source.classes:
            self._source.read(self._index)
        return self.so_far

    def __len__(self) -> int:
        return len(self._read())

    def __getitem__(self, position):
        return self._read()[position]

    def __repr__(self) -> str:
        return repr(self.so_far)

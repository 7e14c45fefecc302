"""The train loader of a user's own script, with nights behind its days."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Protocol

from dreamer.callbacks.sleep.lightning_trees import combined_loader, tree_of


class EpochSource(Protocol):
    """Says what follows a day."""

    def epoch_length(self, day: int) -> int:
        """Batches of the current or next epoch, whose day has a length."""
        ...

    def epoch_batches(self, day: Iterator[Any], length: int | None) -> Iterator[Any]:
        """The batches of an epoch whose day has some left; ``length`` is that of the whole day, where it is known."""
        ...


class _Nightly:
    """Mixed in before Lightning's CombinedLoader, which the Trainer takes for what it is.

    So samplers for several devices, ``overfit_batches`` and ``limit_train_batches`` reach the loaders of the day just
    as without nights, and the Trainer counts the batches of the night.
    """

    _source: EpochSource
    _steps: Iterator[Any]

    @property
    def day_length(self) -> int | None:
        """Batches of a day, limits included; None where it is unknown."""
        try:
            return int(super().__len__())  # type: ignore[misc]
        except TypeError:  # of loaders without a length it makes an infinite one, which is none
            return None

    def __len__(self) -> int:
        length = self.day_length
        if length is None:
            raise TypeError("the length of the train loader is not known")
        return self._source.epoch_length(length)

    def __reduce__(self) -> Any:
        # of a Trainer that is copied or pickled after its fit: its nights are over
        parent: Any = next(each for each in type(self).__mro__ if each.__name__ == "CombinedLoader")
        return parent, (self.iterables, self._mode)  # type: ignore[attr-defined]

    def __iter__(self) -> Any:
        super().__iter__()  # type: ignore[misc]
        # drawn when the first batch is needed: by then a checkpoint has been loaded
        self._steps = self._source.epoch_batches(self._day(), self.day_length)
        self._count = -1
        return self

    def __next__(self) -> tuple[Any, int, int]:
        batch = next(self._steps)
        self._count += 1
        return batch, self._count, 0

    def _day(self) -> Iterator[Any]:
        while True:
            try:
                batch, _, _ = super().__next__()  # type: ignore[misc]
            except StopIteration:
                return
            yield batch


def with_nights(trainer: Any, loaders: Any, source: EpochSource) -> Any:
    """Wrap what a Trainer would train on: a loader, a collection of loaders, or a CombinedLoader."""
    tree = tree_of(trainer)
    combined = combined_loader(tree)
    mode = "max_size_cycle"
    if isinstance(loaders, combined):
        loaders, mode = loaders.iterables, loaders._mode  # type: ignore[attr-defined]
    loader = _night_loader(tree)(loaders, mode)
    loader._source = source
    return loader


@functools.cache
def _night_loader(tree: str) -> type:
    return type("NightLoader", (_Nightly, combined_loader(tree)), {"__module__": __name__})

"""Any Avalanche benchmark object as a stream.

Avalanche is imported here and in its two neighbours, always inside functions: its import takes seconds.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import Dataset

from dreamer.streams.base import Samples, Scenario, Stream
from dreamer.streams.dataset_samples import LIMIT_BYTES, materialise
from dreamer.streams.split import chain_stream, of_the_same_classes, overlap


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Import and use Avalanche without its prints and warnings, and without its patch of ``Dataset.__add__``.

    The patch (it lets ``torch_dataset + avalanche_dataset`` be one of Avalanche's) is taken back when the import
    happens in here; whoever imported Avalanche before keeps it.
    """
    first, original = "avalanche" not in sys.modules, Dataset.__add__
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        if first:
            Dataset.__add__ = original  # type: ignore[method-assign]


def from_benchmark(
    benchmark: Any,
    *,
    name: str = "benchmark",
    transforms: bool = False,
    scenario: Scenario | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
    num_classes: int | None = None,
    class_names: Sequence[str] = (),
    limit_bytes: int = LIMIT_BYTES,
    workers: int = 0,
) -> Stream:
    """Any Avalanche benchmark with a ``train_stream`` and a ``test_stream``.

    Each training experience is evaluated on the test experience that it was cut out of where it belongs to an online
    stream, on the one of the same position where both streams are equally long, else on the test samples of its
    classes. Where the classes lie in several test experiences, as in the pieces of a blurry stream, it is the one
    from which most of its samples come. Pieces of one experience count once (see
    :attr:`dreamer.streams.Experience.origin`).

    Args:
        benchmark: class-, domain- or task-incremental, or online; it is not changed.
        validation, split_seed, num_classes, class_names, limit_bytes, workers: see
            :func:`dreamer.streams.from_datasets`.
        name: how the stream is called in tables.
        transforms: True applies the benchmark's own evaluation transforms (often a normalisation, after which pixels
            are no longer in [0, 1]); False leaves them out. Transforms that make the benchmark what it is (the
            permutations of permuted MNIST) are always applied.
        scenario: see :class:`~dreamer.streams.base.Stream`; None means ``task`` where task labels differ, ``domain``
            where every experience brings the same classes, else ``class``. In ``task``, labels that several tasks share
            are moved apart.

    Raises:
        ValueError: when streams or labels are missing, or samples differ in shape.
    """
    for stream in ("train_stream", "test_stream"):
        if not hasattr(benchmark, stream):
            raise ValueError(f"expected an Avalanche benchmark with a {stream}, got {type(benchmark).__name__}")
    with quiet():
        trained, tested = list(benchmark.train_stream), list(benchmark.test_stream)
        read = partial(_read_experience, transforms=transforms, limit_bytes=limit_bytes, workers=workers)
        trains, tests = [read(each) for each in trained], [read(each) for each in tested]
        origins = [_origin(each) for each in trained]
        tasks = [_task(each) for each in trained]
    matched = _evaluated_on(trains, origins, tests)
    pairs = [(train, test) for train, (test, _) in zip(trains, matched, strict=True)]
    if scenario is None and len(set(tasks)) > 1:
        scenario = "task"
    if len(set(tasks)) < 2:
        tasks = list(range(len(pairs)))
    return chain_stream(
        name,
        pairs,
        tasks,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        num_classes=num_classes,
        class_names=class_names,
        origins=[origin for _, origin in matched],
    )


def _read_experience(experience: Any, transforms: bool, limit_bytes: int, workers: int) -> Samples:
    dataset = experience.dataset.eval()
    if not transforms:
        dataset = _without_transforms(dataset)
    return materialise(dataset, limit_bytes, workers=workers)


def _without_transforms(dataset: Any) -> Any:
    # Avalanche's own way to drop transforms writes into groups that the copy shares with the benchmark
    from avalanche.benchmarks.utils.data import _FlatDataWithTransform
    from avalanche.benchmarks.utils.transform_groups import EmptyTransformGroups

    def bare(data: Any) -> Any:
        if not isinstance(data, _FlatDataWithTransform):
            return data
        other = data._shallow_clone_dataset()
        other._transform_groups = EmptyTransformGroups()
        other._datasets = [bare(each) for each in data._datasets]
        return other

    copy = dataset._shallow_clone_dataset()
    copy._flat_data = bare(dataset._flat_data)
    return copy


def _origin(experience: Any) -> int | None:
    """The position of the experience that an online one was cut out of."""
    with _unmasked(experience):
        origin = getattr(experience, "origin_experience", None)
    return None if origin is None else int(origin.current_experience)


def _task(experience: Any) -> int:
    with _unmasked(experience):
        labels = getattr(experience, "task_labels", None)
    return int(labels[0]) if labels else 0


def _unmasked(experience: Any) -> contextlib.AbstractContextManager[Any]:
    return (
        experience.no_attribute_masking() if hasattr(experience, "no_attribute_masking") else contextlib.nullcontext()
    )


def _evaluated_on(
    trains: list[Samples], origins: list[int | None], tests: list[Samples]
) -> list[tuple[Samples, int | None]]:
    """What every experience is evaluated on, and, where it is a piece, of which test experience."""
    if trains and all(origin is not None and origin < len(tests) for origin in origins):
        return [(tests[origin], origin) for origin in origins if origin is not None]
    if len(tests) == len(trains):
        return [(test, None) for test in tests]
    if len(tests) == 1:
        return [(of_the_same_classes(tests[0], train), None) for train in trains]
    labels = [test.y.unique() for test in tests]
    # how many samples of each training experience are of classes of each test experience
    shared = [[int(torch.isin(train.y, own).sum()) for own in labels] for train in trains]
    ambiguous = overlap(labels, range(len(tests)))
    for index, counts in enumerate(shared):
        if not max(counts) or (ambiguous and sum(count > 0 for count in counts) > 1):
            raise ValueError(
                f"training experience {index} has no test experience of its own: expected as many of both, one test "
                f"experience in all, or one that shares its classes; got {len(trains)} and {len(tests)}, "
                f"{sum(count > 0 for count in counts)} sharing"
            )
    most = [counts.index(max(counts)) for counts in shared]
    if all(sum(count > 0 for count in counts) == 1 for counts in shared):
        return [(of_the_same_classes(tests[j], train), None) for j, train in zip(most, trains, strict=True)]
    return [(tests[j], j) for j in most]

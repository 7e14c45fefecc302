"""The classic benchmarks of continual learning, by the names that Avalanche gave them.

They are read from their native files straight into tensors; Avalanche is not needed. Tests hold them equal, sample by
sample, to what Avalanche gives for the same class order or seed, with two exceptions: its normalisation is left out,
and an experience's samples stay in the order of the files, where Avalanche groups them by class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dreamer.config.streams import STREAMS
from dreamer.core.arguments import checked
from dreamer.core.suggest import one_of
from dreamer.streams import native
from dreamer.streams.base import Samples, Scenario, Stream
from dreamer.streams.dataset_samples import LIMIT_BYTES
from dreamer.streams.folder import read_images
from dreamer.streams.mnist_domains import permuted_mnist, rotated_mnist
from dreamer.streams.sources import Source, locate
from dreamer.streams.split import chain_stream, of_the_same_classes, split_stream
from dreamer.streams.tensors import split_off

Protocol = Literal["ni", "nc", "nic", "nicv2_79", "nicv2_196", "nicv2_391"]


@checked
def classic(name: str, root: str | Path | None = None, **options: Any) -> Stream:
    """One of Avalanche's classic benchmarks.

    Args:
        name: one of :data:`CLASSIC`.
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        options: see :func:`split`, :func:`split_pictures`, :func:`~dreamer.streams.permuted_mnist`,
            :func:`~dreamer.streams.rotated_mnist` and :func:`core50`.

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
        ValueError: when there is no such benchmark or option.
    """
    function = function_of(name)
    known = [key for key in inspect.signature(function).parameters if key != "root"]
    for key in options:
        if key not in known:
            raise ValueError(f"stream {name!r} has no option {key!r}; {one_of(key, known)}")
    return function(root=root, **options)


def function_of(name: str) -> Callable[..., Stream]:
    """The function behind a classic benchmark, whose signature says which options there are; else a ``ValueError``."""
    if name not in _FUNCTIONS:
        raise ValueError(f"there is no classic benchmark {name!r}; {one_of(name, CLASSIC)}")
    return _FUNCTIONS[name]


def split(
    name: str,
    *,
    root: str | Path | None = None,
    experiences: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    download: bool = True,
) -> Stream:
    """MNIST, Fashion-MNIST, CIFAR-10 or CIFAR-100, split by class.

    Args:
        name: ``split_mnist``, ``split_fmnist``, ``split_cifar10`` or ``split_cifar100``.
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        experiences: how many, as even as possible; None means 5, or 10 for CIFAR-100.
        seed: decides the order of the classes.
        shuffle: False keeps the order 0, 1, 2 ...
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class`` and ``task`` keep the labels; ``domain`` relabels with the position within the experience.
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out.
        download: False never uses the network.

    Returns:
        Samples of shape (1, 28, 28) or (3, 32, 32), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
    """
    plan = _SPLITS[name]
    train, test, names = plan.read(locate(plan.source, root, download))
    return split_stream(
        name,
        train,
        test,
        experiences=plan.experiences if experiences is None else experiences,
        seed=seed,
        shuffle=shuffle,
        class_order=class_order,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        class_names=names,
    )


def split_pictures(
    name: str,
    *,
    root: str | Path | None = None,
    experiences: int = 10,
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    size: int | None = None,
    limit_bytes: int = LIMIT_BYTES,
    workers: int = 4,
    download: bool = True,
) -> Stream:
    """Tiny ImageNet or Omniglot, split by class.

    Omniglot's evaluation set holds other characters than its background set, so a class-incremental learner cannot be
    evaluated on it (Avalanche pairs the two by number all the same); here a fifth of the drawings of each background
    character is test data. Tiny ImageNet is evaluated on its validation images, its test labels being secret.

    Args:
        name: ``split_tinyimagenet`` or ``split_omniglot``.
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        experiences: how many, as even as possible.
        seed: decides the order of the classes.
        shuffle: False keeps the order 0, 1, 2 ...
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class`` and ``task`` keep the labels; ``domain`` relabels with the position within the experience.
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out, and which of Omniglot's drawings are test data.
        size: side that pictures are resized to; None keeps theirs (64 and 105).
        limit_bytes: bytes up to which pictures are held in memory; more are read batch by batch.
        workers: threads that read pictures into memory, or processes that read them batch by batch.
        download: False never uses the network.

    Returns:
        Samples of shape (3, 64, 64) or (1, 105, 105), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
    """
    reading: dict[str, Any] = {"size": size, "limit_bytes": limit_bytes, "workers": workers}
    if name == "split_omniglot":
        files, names = native.omniglot_files(locate(native.OMNIGLOT, root, download))
        train, test = split_off(name, read_images(*files, channels=1, **reading), 0.2, split_seed)
    else:
        place = locate(native.TINY_IMAGENET, root, download) / "tiny-imagenet-200"
        train_files, test_files, names = native.tiny_imagenet_files(place)
        train = read_images(*train_files, channels=3, **reading)
        test = read_images(*test_files, channels=3, **reading)
    return split_stream(
        name,
        train,
        test,
        experiences=experiences,
        seed=seed,
        shuffle=shuffle,
        class_order=class_order,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        class_names=names,
    )


@checked
def core50(
    *,
    root: str | Path | None = None,
    protocol: Protocol = "nc",
    experiences: int | None = None,
    seed: int = 0,
    run: int | None = None,
    mini: bool = True,
    scenario: Scenario | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
    limit_bytes: int = LIMIT_BYTES,
    workers: int = 4,
    download: bool = True,
) -> Stream:
    """CORe50, fifty everyday objects filmed in eleven sessions, in its authors' own orders.

    V. Lomonaco and D. Maltoni, CORe50: a new dataset and benchmark for continuous object recognition, CoRL 2017.
    Every experience is evaluated on the test images of its own objects, whatever its sessions.

    Args:
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        protocol: ``ni`` (8 experiences, all objects in new sessions), ``nc`` (9, new objects), ``nic`` (79, both) or
            ``nicv2_79``, ``nicv2_196``, ``nicv2_391``.
        experiences: keeps the first so many; None keeps all.
        seed: chooses the run: seed modulo 10.
        run: the run itself, 0 to 9: one of the orders that the authors fixed; overrides the seed.
        mini: True reads the images of 32 x 32 pixels, False those of 128 x 128.
        scenario: see :class:`~dreamer.streams.base.Stream`; None means ``domain`` for ``ni``, else ``class``.
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out.
        limit_bytes: bytes up to which one experience is held in memory; a larger one is read batch by batch.
        workers: threads that read pictures into memory, or processes that read them batch by batch.
        download: False never uses the network.

    Returns:
        Samples of shape (3, 32, 32) or (3, 128, 128), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
    """
    if protocol not in native.CORE50_LISTS:
        raise ValueError(f"stream 'core50': there is no protocol {protocol!r}; {one_of(protocol, native.CORE50_LISTS)}")
    run = seed % 10 if run is None else run
    if not 0 <= run <= 9:
        raise ValueError(f"stream 'core50': expected a run from 0 to 9, got {run}")
    pictures = "core50_32x32" if mini else "core50_128x128"
    place = locate(native.core50_source(pictures, protocol), root, download)
    batches, tested = native.core50_files(place, place / pictures, protocol, run)
    reading: dict[str, Any] = {"size": None, "channels": 3, "limit_bytes": limit_bytes, "workers": workers}
    whole = read_images(*tested, **reading)
    pairs = []
    for files in batches[:experiences]:
        train = read_images(*files, **reading)
        pairs.append((train, of_the_same_classes(whole, train)))
    return chain_stream(
        "core50",
        pairs,
        range(len(pairs)),
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        num_classes=50,
    )


@dataclass(frozen=True)
class _Split:
    """A data set that is held in memory whole and split by class."""

    source: Source
    experiences: int
    read: Callable[[Path], tuple[Samples, Samples, list[str]]]


_FASHION = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


def _read_idx(place: Path, folder: str, names: list[str]) -> tuple[Samples, Samples, list[str]]:
    return *native.read_mnist(place / folder / "raw"), names


_SPLITS = {
    "split_mnist": _Split(native.MNIST, 5, partial(_read_idx, folder="MNIST", names=list("0123456789"))),
    "split_fmnist": _Split(native.FASHION_MNIST, 5, partial(_read_idx, folder="FashionMNIST", names=_FASHION)),
    "split_cifar10": _Split(native.cifar_source(10), 5, partial(native.read_cifar, name="CIFAR10")),
    "split_cifar100": _Split(native.cifar_source(100), 10, partial(native.read_cifar, name="CIFAR100")),
}


def _as(name: str, function: Callable[..., Stream]) -> Callable[..., Stream]:
    """The function with its first argument filled in, named and described after it."""

    def stream(**options: Any) -> Stream:
        return function(name, **options)

    whole = inspect.signature(function)
    stream.__name__ = stream.__qualname__ = name
    arguments = (inspect.getdoc(function) or "").partition("Args:\n")[2]
    stream.__doc__ = f"{STREAMS[name]}\n\nArgs:\n" + arguments.partition("\n")[2]
    stream.__signature__ = whole.replace(parameters=list(whole.parameters.values())[1:])  # type: ignore[attr-defined]
    return stream


_FUNCTIONS: dict[str, Callable[..., Stream]] = {
    "split_mnist": _as("split_mnist", split),
    "permuted_mnist": permuted_mnist,
    "rotated_mnist": rotated_mnist,
    "split_fmnist": _as("split_fmnist", split),
    "split_cifar10": _as("split_cifar10", split),
    "split_cifar100": _as("split_cifar100", split),
    "split_tinyimagenet": _as("split_tinyimagenet", split_pictures),
    "split_omniglot": _as("split_omniglot", split_pictures),
    "core50": core50,
}


CLASSIC: tuple[str, ...] = tuple(_FUNCTIONS)
"""The names that :func:`classic` knows."""

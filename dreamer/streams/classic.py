"""Avalanche's classic benchmarks by name.

They are read from their native files straight into tensors, without importing Avalanche unless something has to be
downloaded. Tests hold them equal, sample by sample, to what Avalanche itself gives for the same class order or seed,
but for its normalisation, which is left out, and its grouping of an experience's samples by class: here they stay in
the order of the files.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dreamer.core.suggest import one_of
from dreamer.interop.avalanche import benchmarks
from dreamer.streams import native
from dreamer.streams.base import DataNotFound, Samples, Scenario, Stream, TensorSamples, make_stream
from dreamer.streams.dataset_samples import LIMIT_BYTES
from dreamer.streams.folder import read_images
from dreamer.streams.sources import Source, locate
from dreamer.streams.split import chain_stream, check_scenario, of_the_same_classes, separate, split_stream
from dreamer.streams.tensors import split_off

Protocol = Literal["ni", "nc", "nic", "nicv2_79", "nicv2_196", "nicv2_391"]


def classic(name: str, root: str | Path | None = None, **options: Any) -> Stream:
    """One of Avalanche's classic benchmarks.

    Args:
        name: one of :data:`CLASSIC`.
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        options: see :func:`split`, :func:`split_pictures`, :func:`permuted_mnist`, :func:`rotated_mnist` and
            :func:`core50`.

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
    """The function behind a classic benchmark; its signature says which options there are.

    Raises:
        ValueError: when there is none of that name.
    """
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
        validation: share of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out.
        download: False never asks the network.

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

    Omniglot's evaluation set holds other characters than its background set, so it cannot examine a class-incremental
    learner (Avalanche pairs the two by number all the same); here a fifth of the drawings of each background
    character is test data. Tiny ImageNet is examined on its validation images, its test labels being secret.

    Args:
        name: ``split_tinyimagenet`` or ``split_omniglot``.
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        experiences: how many, as even as possible.
        seed: decides the order of the classes.
        shuffle: False keeps the order 0, 1, 2 ...
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class`` and ``task`` keep the labels; ``domain`` relabels with the position within the experience.
        validation: share of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out, and which of Omniglot's drawings are test data.
        size: side that pictures are resized to; None keeps theirs (64 and 105).
        limit_bytes: bytes up to which pictures are held in memory; more are read batch by batch.
        workers: threads that read pictures into memory, or processes that read them batch by batch.
        download: False never asks the network.

    Returns:
        Samples of shape (3, 64, 64) or (1, 105, 105), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
    """
    reading: dict[str, Any] = {"size": size, "limit_bytes": limit_bytes, "workers": workers}
    if name == "split_omniglot":
        place = locate(_OMNIGLOT, root, download)
        files, names = native.omniglot_files(next(each for each in _omniglot_places(place) if each.is_dir()))
        train, test = split_off(name, read_images(*files, channels=1, **reading), 0.2, split_seed)
    else:
        place = locate(_TINY_IMAGENET, root, download) / "tiny-imagenet-200"
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


def permuted_mnist(
    *,
    root: str | Path | None = None,
    experiences: int = 10,
    seed: int = 0,
    scenario: Scenario = "domain",
    validation: float = 0.1,
    split_seed: int = 0,
    download: bool = True,
) -> Stream:
    """MNIST under another fixed permutation of its pixels in every experience (Goodfellow et al. 2013).

    Args:
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        experiences: how many permutations; each is drawn as Avalanche draws it, the first included.
        seed: decides the permutations.
        scenario: ``domain``: ten labels; ``class`` and ``task``: ten labels of its own for each experience.
        validation: share of each experience's training data that is held out, in [0, 1); the same images in each.
        split_seed: decides which samples are held out.
        download: False never asks the network.

    Returns:
        Samples of shape (1, 28, 28), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
    """
    _check_count("permuted_mnist", experiences)
    pair = native.read_mnist(locate(_MNIST, root, download) / "MNIST" / "raw")
    draws = np.random.RandomState(seed % 2**32)
    orders = [torch.from_numpy(draws.permutation(784)) for _ in range(experiences)]
    shares = [tuple(_permuted(part, order) for part in pair) for order in orders]
    return _looks("permuted_mnist", shares, scenario, validation, split_seed)


def rotated_mnist(
    *,
    root: str | Path | None = None,
    experiences: int = 5,
    angles: Sequence[int] | None = None,
    seed: int = 0,
    scenario: Scenario = "domain",
    validation: float = 0.1,
    split_seed: int = 0,
    download: bool = True,
) -> Stream:
    """MNIST rotated by another fixed angle in every experience.

    Args:
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        experiences: how many angles.
        angles: the angles, in degrees from -180 to 180, one per experience; None draws them as Avalanche does.
        seed: decides the angles when they are drawn.
        scenario: ``domain``: ten labels; ``class`` and ``task``: ten labels of its own for each experience.
        validation: share of each experience's training data that is held out, in [0, 1); the same images in each.
        split_seed: decides which samples are held out.
        download: False never asks the network.

    Returns:
        Samples of shape (1, 28, 28), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
        ValueError: when the angles are not as many as the experiences.
    """
    _check_count("rotated_mnist", experiences)
    if angles is not None and len(angles) != experiences:
        raise ValueError(
            f"stream 'rotated_mnist': expected {experiences} angles, one per experience, got {len(angles)}"
        )
    pair = native.read_mnist(locate(_MNIST, root, download) / "MNIST" / "raw")
    draws = np.random.RandomState(seed % 2**32)
    turns = [draws.randint(-180, 181) for _ in range(experiences)] if angles is None else angles
    shares = [tuple(_rotated(part, float(angle)) for part in pair) for angle in turns]
    return _looks("rotated_mnist", shares, scenario, validation, split_seed)


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
    """CORe50, fifty household objects filmed in eleven sessions, in its authors' own orders.

    V. Lomonaco and D. Maltoni, CORe50: a new dataset and benchmark for continuous object recognition, CoRL 2017.
    Every experience is examined on the test images of its own objects, whatever its sessions.

    Args:
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        protocol: ``ni`` (8 experiences, all objects in new sessions), ``nc`` (9, new objects), ``nic`` (79, both) or
            ``nicv2_79``, ``nicv2_196``, ``nicv2_391``.
        experiences: keeps the first so many; None keeps all.
        seed: chooses the run: seed modulo 10.
        run: the run itself, 0 to 9: one of the orders that the authors fixed; overrides the seed.
        mini: True reads the images of 32 x 32 pixels, False those of 128 x 128.
        scenario: see :class:`~dreamer.streams.base.Stream`; None means ``domain`` for ``ni``, else ``class``.
        validation: share of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out.
        limit_bytes: bytes up to which one experience is held in memory; a larger one is read batch by batch.
        workers: threads that read pictures into memory, or processes that read them batch by batch.
        download: False never asks the network.

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
    place = locate(_core50_source(pictures, protocol), root, download)
    batches, tested = native.core50_files(place, place / pictures, protocol, run)
    reading: dict[str, Any] = {"size": None, "channels": 3, "limit_bytes": limit_bytes, "workers": workers}
    whole = read_images(*tested, **reading)
    shares = []
    for files in batches[:experiences]:
        train = read_images(*files, **reading)
        shares.append((train, of_the_same_classes(whole, train)))
    return chain_stream(
        "core50",
        shares,
        range(len(shares)),
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        num_classes=50,
    )


def _looks(name: str, shares: Sequence[Any], scenario: Scenario, validation: float, split_seed: int) -> Stream:
    """The same ten digits in new looks; each look has labels of its own unless the scenario is ``domain``."""
    check_scenario(scenario)
    if scenario != "domain":
        shares = separate(shares, range(len(shares)))
    return make_stream(name, shares, validation=validation, split_seed=split_seed, scenario=scenario)


def _check_count(name: str, experiences: int) -> None:
    if experiences < 1:
        raise ValueError(f"stream {name!r}: expected at least one experience, got {experiences}")


def _permuted(samples: TensorSamples, order: torch.Tensor) -> TensorSamples:
    x = samples.x.flatten(1).index_select(1, order).view_as(samples.x)
    return TensorSamples(x, samples.y, samples.scale)


def _rotated(samples: TensorSamples, angle: float) -> TensorSamples:
    from torchvision.transforms.functional import rotate

    # the chunks bound the memory of the float copies that the rotation works on
    x = torch.cat([rotate(chunk, angle) for chunk in samples.x.split(4096)])
    return TensorSamples(x, samples.y, samples.scale)


@dataclass(frozen=True)
class _Split:
    """A data set that is held in memory whole and split by class."""

    source: Source
    experiences: int
    read: Callable[[Path], tuple[Samples, Samples, list[str]]]


_FASHION = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


def _has_idx(place: Path, folder: str) -> bool:
    return all(native.idx_file(place / folder / "raw", stem) is not None for stem in native.IDX_STEMS)


def _read_idx(place: Path, folder: str, names: list[str]) -> tuple[Samples, Samples, list[str]]:
    return *native.read_mnist(place / folder / "raw"), names


def _read_cifar(place: Path, name: str) -> tuple[Samples, Samples, list[str]]:
    import torchvision.datasets

    try:
        parts = [getattr(torchvision.datasets, name)(str(place), train=train) for train in (True, False)]
    except RuntimeError as error:  # torchvision's checksums
        raise DataNotFound(
            f"{name} in {str(place)!r} is damaged or incomplete: put a whole copy of it there"
        ) from error
    train, test = (
        TensorSamples(torch.from_numpy(part.data).permute(0, 3, 1, 2), torch.tensor(part.targets), scale=1 / 255)
        for part in parts
    )
    return train, test, list(parts[0].classes)


def _omniglot_places(place: Path) -> list[Path]:
    # Avalanche joins the folder's name twice, torchvision once
    return [place / "omniglot-py" / "images_background", place / "omniglot-py" / "omniglot-py" / "images_background"]


def _idx_layout(folder: str) -> str:
    return f"the four IDX files of {folder}/raw (train-images-idx3-ubyte and so on, unpacked or .gz)"


_MNIST = Source(
    "MNIST",
    "mnist",
    _idx_layout("MNIST"),
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    partial(_has_idx, folder="MNIST"),
    benchmarks.download_mnist,
)


_FMNIST = Source(
    "Fashion-MNIST",
    "fashionmnist",
    _idx_layout("FashionMNIST"),
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    partial(_has_idx, folder="FashionMNIST"),
    benchmarks.download_fmnist,
)


_CIFAR10 = Source(
    "CIFAR-10",
    "cifar10",
    "the folder cifar-10-batches-py of its Python version",
    "https://www.cs.toronto.edu/~kriz/",
    lambda place: (place / "cifar-10-batches-py" / "test_batch").is_file(),
    partial(benchmarks.download_cifar, classes=10),
)


_CIFAR100 = Source(
    "CIFAR-100",
    "cifar100",
    "the folder cifar-100-python of its Python version",
    "https://www.cs.toronto.edu/~kriz/",
    lambda place: (place / "cifar-100-python" / "test").is_file(),
    partial(benchmarks.download_cifar, classes=100),
)


_TINY_IMAGENET = Source(
    "Tiny ImageNet",
    "tinyimagenet",
    "the folder tiny-imagenet-200 (with wnids.txt, train and val)",
    "http://cs231n.stanford.edu/",
    lambda place: all((place / "tiny-imagenet-200" / part).exists() for part in ("wnids.txt", "train", "val")),
    benchmarks.download_tiny_imagenet,
)


_OMNIGLOT = Source(
    "Omniglot",
    "omniglot",
    "the folder omniglot-py/images_background",
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    lambda place: any(each.is_dir() for each in _omniglot_places(place)),
    benchmarks.download_omniglot,
)


def _core50_source(pictures: str, protocol: str) -> Source:
    lists = native.CORE50_LISTS[protocol]
    return Source(
        "CORe50",
        "core50",
        f"the folders {pictures} and {lists}",
        "http://bias.csr.unibo.it/maltoni/download/core50/",
        lambda place: (place / pictures).is_dir() and (place / lists).is_dir(),
        partial(benchmarks.download_core50, mini=pictures == "core50_32x32"),
    )


_SPLITS = {
    "split_mnist": _Split(_MNIST, 5, partial(_read_idx, folder="MNIST", names=[str(digit) for digit in range(10)])),
    "split_fmnist": _Split(_FMNIST, 5, partial(_read_idx, folder="FashionMNIST", names=_FASHION)),
    "split_cifar10": _Split(_CIFAR10, 5, partial(_read_cifar, name="CIFAR10")),
    "split_cifar100": _Split(_CIFAR100, 10, partial(_read_cifar, name="CIFAR100")),
}


def _as(name: str, function: Callable[..., Stream], about: str) -> Callable[..., Stream]:
    """The function with its first argument filled in, named and described after it."""

    def stream(**options: Any) -> Stream:
        return function(name, **options)

    whole = inspect.signature(function)
    stream.__name__ = stream.__qualname__ = name
    arguments = (inspect.getdoc(function) or "").partition("Args:\n")[2]
    stream.__doc__ = f"{about}\n\nArgs:\n" + arguments.partition("\n")[2]
    stream.__signature__ = whole.replace(parameters=list(whole.parameters.values())[1:])  # type: ignore[attr-defined]
    return stream


_FUNCTIONS: dict[str, Callable[..., Stream]] = {
    "split_mnist": _as("split_mnist", split, "MNIST, ten digits of 28 x 28 pixels, split by class."),
    "permuted_mnist": permuted_mnist,
    "rotated_mnist": rotated_mnist,
    "split_fmnist": _as(
        "split_fmnist", split, "Fashion-MNIST, ten kinds of clothes of 28 x 28 pixels, split by class."
    ),
    "split_cifar10": _as("split_cifar10", split, "CIFAR-10, ten kinds of things of 32 x 32 pixels, split by class."),
    "split_cifar100": _as("split_cifar100", split, "CIFAR-100, a hundred kinds of things, split by class."),
    "split_tinyimagenet": _as(
        "split_tinyimagenet", split_pictures, "Tiny ImageNet, 200 kinds of things, split by class."
    ),
    "split_omniglot": _as("split_omniglot", split_pictures, "Omniglot, 964 hand-drawn characters, split by class."),
    "core50": core50,
}


CLASSIC: tuple[str, ...] = tuple(_FUNCTIONS)
"""The names that :func:`classic` knows."""

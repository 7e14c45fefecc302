"""A folder of pictures as a stream: one sub-folder per class, or a file with their labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dreamer.core.arguments import checked
from dreamer.streams.base import Samples, Scenario, Stream, TensorSamples
from dreamer.streams.dataset_samples import LIMIT_BYTES, DatasetSamples
from dreamer.streams.folder_layout import find_layout
from dreamer.streams.pixels import coloured, open_image, pixels, readable
from dreamer.streams.sources import own_folder
from dreamer.streams.split import split_stream
from dreamer.streams.tensors import split_off

_MOST_EXPERIENCES = 10
_MOST_NAMED = 5
"""Pictures that are named of those left out."""


@checked
def folder(
    root: str | Path | None = None,
    experiences: int | None = None,
    size: int = 32,
    crop: bool = False,
    channels: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    test: float = 0.2,
    limit_bytes: int = LIMIT_BYTES,
    workers: int = 4,
    label: str | None = None,
    skip_bad: bool = False,
) -> Stream:
    """A folder of pictures, ``train/<class>/*`` and ``test/<class>/*``, or ``<class>/*``, or with a file of labels.

    Classes are numbered in the order of their names. Pictures of any size and mode become squares of 8-bit pixels.
    See :func:`dreamer.streams.folder_layout.find_layout` for the folders that are understood.

    Args:
        root: the folder; None means the environment variable ``DREAMER_DATA``.
        experiences: how many; None deals out about two classes each, in at least two experiences and at most ten.
        size: side of the square that every picture is resized to, in pixels.
        crop: take the largest square in the middle of a picture, as pretrained networks are evaluated; False stretches
            pictures that are no squares.
        channels: 1 (grey) or 3 (RGB); None means 3 where any picture is coloured, else 1.
        seed: decides the order of the classes.
        shuffle: False keeps their order.
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class``, ``task`` or ``domain`` (a label is then the position within the experience).
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which pictures are validation and, where there is no test part, which are test.
        test: fraction of each class that becomes test data where there is no test part, in (0, 1).
        limit_bytes: bytes up to which pictures are held in memory; more are read batch by batch.
        workers: threads that read pictures into memory, or processes that read them batch by batch.
        label: column of the labels, where a csv file names the pictures; None finds it.
        skip_bad: leave out pictures that cannot be read, and say how many and which; False refuses them.

    Returns:
        Samples of shape (channels, size, size), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when there is no such folder.
        ValueError: when its classes cannot be told, a class is only in one part, or a picture cannot be read.
    """
    if channels not in (None, 1, 3) or size < 1:
        raise ValueError(
            f"stream 'folder': expected channels 1, 3 or null and a size of at least 1, got {channels}, {size}"
        )
    place = own_folder("folder", "pictures", root)
    train_files, test_files = find_layout(place, label)
    if skip_bad:
        train_files, test_files = _without_bad(train_files, test_files, workers)
    names = list(train_files)
    if channels is None:
        everything = (path for part in (train_files, test_files) for paths in part.values() for path in paths)
        channels = 3 if any(map(_is_coloured, everything)) else 1
    reading: dict[str, Any] = {
        "size": size,
        "crop": crop,
        "channels": channels,
        "limit_bytes": limit_bytes,
        "workers": workers,
    }
    train = read_images(*_listed(train_files, names), **reading)
    if test_files:
        tested = read_images(*_listed(test_files, names), **reading)
    else:
        lonely = next((name for name in names if len(train_files[name]) < 2), None)
        if lonely is not None:
            raise ValueError(f"class {lonely!r} has one picture, expected two or more to split test data off")
        train, tested = split_off("folder", train, test, split_seed)
    return split_stream(
        "folder",
        train,
        tested,
        experiences=default_experiences(len(names)) if experiences is None else experiences,
        seed=seed,
        shuffle=shuffle,
        class_order=class_order,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        class_names=names,
    )


def default_experiences(classes: int) -> int:
    """A sensible number of experiences: about two classes each, at least two experiences and at most ten."""
    return max(1, min(_MOST_EXPERIENCES, max(min(2, classes), classes // 2)))


def read_images(
    paths: Sequence[str | Path],
    y: Tensor,
    *,
    size: int | None,
    channels: int,
    crop: bool = False,
    limit_bytes: int = LIMIT_BYTES,
    workers: int = 4,
) -> Samples:
    """Read picture files into one uint8 tensor where it fits, else leave them to be read batch by batch.

    Args:
        size: side of the square that every picture is resized to; None where they all have the first one's size.
        channels: 1 or 3.
        crop: take the largest square in the middle first.

    Raises:
        ValueError: when a file cannot be read, naming it.
    """
    files = _ImageFiles(paths, size, channels, crop)
    shape = files[0].shape
    if len(files) * shape.numel() > limit_bytes:
        return DatasetSamples(files, y, scale=1 / 255, workers=workers)
    x = torch.empty(len(files), *shape, dtype=torch.uint8)

    def fill(start: int) -> None:
        for position in range(start, min(start + 256, len(files))):
            image = files[position]
            if image.shape != shape:
                raise ValueError(
                    f"expected pictures of one size, {tuple(shape)} as in {str(paths[0])!r}, "
                    f"got {tuple(image.shape)} in {str(paths[position])!r}"
                )
            x[position] = image

    # small pictures spend their time in Python, where threads stand in each other's way
    small = os.path.getsize(files.paths[0]) < 2**14
    with ThreadPoolExecutor(1 if small else max(1, workers)) as pool:
        for _ in pool.map(fill, range(0, len(files), 256)):
            pass
    return TensorSamples(x, y, scale=1 / 255)


class _ImageFiles(Dataset):
    """(C, H, W) uint8 pixels of picture files."""

    def __init__(self, paths: Sequence[str | Path], size: int | None, channels: int, crop: bool):
        self.paths = [str(path) for path in paths]
        self.size = size
        self.channels = channels
        self.crop = crop

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Tensor:
        path = self.paths[position]
        with readable(path):
            return pixels(open_image(path), self.channels, self.size, self.crop)


def _listed(files: dict[str, list[str]], names: list[str]) -> tuple[list[str], Tensor]:
    """All paths, class by class, and their (N,) labels."""
    paths = [path for name in names for path in files[name]]
    counts = torch.tensor([len(files[name]) for name in names])
    return paths, torch.arange(len(names)).repeat_interleave(counts)


def _without_bad(train: dict[str, list[str]], test: dict[str, list[str]], workers: int) -> list[dict[str, list[str]]]:
    """Both parts without the pictures that cannot be read; every picture is read once for it."""
    every = [path for part in (train, test) for paths in part.values() for path in paths]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        bad = {path for path, whole in zip(every, pool.map(_is_whole, every), strict=True) if not whole}
    if bad:
        named = ", ".join(sorted(bad)[:_MOST_NAMED]) + (" ..." if len(bad) > _MOST_NAMED else "")
        warnings.warn(f"left out {len(bad):,} of {len(every):,} pictures that cannot be read: {named}", stacklevel=3)
    kept = [
        {name: [path for path in paths if path not in bad] for name, paths in part.items()} for part in (train, test)
    ]
    for name, paths in kept[0].items():
        if not paths:
            raise ValueError(f"class {name!r} has no picture left that can be read")
    return kept


def _is_whole(path: str) -> bool:
    try:
        with readable(path):
            open_image(path)
    except ValueError:
        return False
    return True


def _is_coloured(path: str) -> bool:
    # the head alone shows that a file is grey
    with readable(path), Image.open(path) as image:
        return coloured(image)

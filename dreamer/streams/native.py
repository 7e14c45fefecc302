"""Readers of the classic data sets in the layouts in which their authors (and torchvision, and Avalanche) keep them."""

from __future__ import annotations

import csv
import gzip
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamer.streams.base import TensorSamples

IDX_STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
"""The four files of MNIST and its relatives, without ``.gz``."""

CORE50_LISTS = {
    "ni": "batches_filelists/NI_inc",
    "nc": "batches_filelists/NC_inc",
    "nic": "batches_filelists/NIC_inc",
    "nicv2_79": "NIC_v2_79",
    "nicv2_196": "NIC_v2_196",
    "nicv2_391": "NIC_v2_391",
}
"""Where CORe50 keeps the file lists of each protocol."""

Files = tuple[list[Path], Tensor]
"""Picture files and their (N,) int64 labels."""


def idx_file(raw: Path, stem: str) -> Path | None:
    """The file of that stem, unpacked or gzipped; None where there is neither."""
    return next((path for path in (raw / stem, raw / f"{stem}.gz") if path.is_file()), None)


def read_idx(path: Path) -> Tensor:
    """Read a file of unsigned bytes in the IDX format (http://yann.lecun.com/exdb/mnist), gzipped or not.

    Returns:
        uint8 of the shape that the file tells.

    Raises:
        ValueError: when the file is damaged, naming it.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            zero, kind, dims = struct.unpack(">HBB", stream.read(4))
            shape = struct.unpack(f">{dims}I", stream.read(4 * dims))
            data = np.frombuffer(bytearray(stream.read()), dtype=np.uint8)
        if (zero, kind) != (0, 8):
            raise ValueError("its head does not announce unsigned bytes")
        return torch.from_numpy(data.reshape(shape))
    except (struct.error, EOFError, OSError, ValueError) as error:
        raise ValueError(f"cannot read {str(path)!r} as an IDX file ({error}): get a whole copy of it") from error


def read_mnist(raw: Path) -> tuple[TensorSamples, TensorSamples]:
    """Training and test samples, (1, 28, 28) pixels, of a folder that holds the four IDX files.

    Raises:
        ValueError: when a file is missing or damaged.
    """
    found = [idx_file(raw, stem) for stem in IDX_STEMS]
    if None in found:
        raise ValueError(f"expected {IDX_STEMS[found.index(None)]}[.gz] in {str(raw)!r}, found none")
    train_x, train_y, test_x, test_y = (read_idx(path) for path in found if path is not None)
    return (
        TensorSamples(train_x.unsqueeze(1), train_y, scale=1 / 255),
        TensorSamples(test_x.unsqueeze(1), test_y, scale=1 / 255),
    )


def tiny_imagenet_files(place: Path) -> tuple[Files, Files, list[str]]:
    """Training files, validation files (which serve as test, their own test labels being secret) and class names.

    Args:
        place: the folder ``tiny-imagenet-200``.
    """
    names = [line.strip() for line in (place / "wnids.txt").read_text().splitlines() if line.strip()]
    label = {name: i for i, name in enumerate(names)}
    train = [(path, label[name]) for name in names for path in sorted((place / "train" / name / "images").glob("*.*"))]
    with open(place / "val" / "val_annotations.txt", newline="") as lines:
        rows = [(row[0], label[row[1]]) for row in csv.reader(lines, dialect="excel-tab")]
    return _files(train), _files([(place / "val" / "images" / name, y) for name, y in sorted(rows)]), names


def omniglot_files(background: Path) -> tuple[Files, list[str]]:
    """All drawings of the background set and their characters' names; characters are numbered by alphabet and name.

    Args:
        background: the folder ``images_background``.
    """
    characters = sorted(path for path in background.glob("*/*") if path.is_dir())
    pairs = [(path, i) for i, character in enumerate(characters) for path in sorted(character.glob("*.png"))]
    return _files(pairs), [f"{character.parent.name}/{character.name}" for character in characters]


def core50_files(place: Path, pictures: Path, protocol: str, run: int) -> tuple[list[Files], Files]:
    """The files of every training batch, in order, and of the one test set.

    Args:
        place: the folder that holds the file lists.
        pictures: the folder that the lists' paths start from (``core50_32x32`` or ``core50_128x128``).
        protocol: a key of :data:`CORE50_LISTS`.
        run: one of the ten orders that CORe50 fixed, 0 to 9.
    """
    lists = place / CORE50_LISTS[protocol] / f"run{run}"
    batches = sorted(lists.glob("train_batch_*_filelist.txt"))
    return [_listed(batch, pictures) for batch in batches], _listed(lists / "test_filelist.txt", pictures)


def _listed(path: Path, pictures: Path) -> Files:
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return _files([(pictures / name, int(label)) for name, label in rows])


def _files(pairs: list[tuple[Path, int]]) -> Files:
    return [path for path, _ in pairs], torch.tensor([label for _, label in pairs], dtype=torch.int64)

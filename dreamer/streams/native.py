"""The classic data sets: the files that each needs, where they are downloaded from, and how they are read.

torchvision downloads and reads MNIST, Fashion-MNIST and CIFAR, and downloads Omniglot; Omniglot, Tiny ImageNet and
CORe50 are listed here, in an order that does not depend on the disk, and read picture by picture.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dreamer.streams.base import DataNotFound, TensorSamples
from dreamer.streams.sources import Source

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

Archive = tuple[str, str]
"""The address of a .zip file and its MD5 sum."""

_TINY_IMAGENET_ARCHIVES = [("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de")]
_CORE50_LIST_ARCHIVES = [
    ("https://vlomonaco.github.io/core50/data/batches_filelists.zip", "e3297508a8998ba0c99a83d6b36bde62"),
    ("https://vlomonaco.github.io/core50/data/batches_filelists_NICv2.zip", "460f980a6c85b86b1ec8e7c6067bb7a3"),
]
_CORE50_PICTURES = {
    "core50_32x32": ("http://vps.continualai.org/data/core50_32x32.zip", "d89d34cdc0281fa84074430e9a22b728"),
    "core50_128x128": (
        "http://bias.csr.unibo.it/maltoni/download/core50/core50_128x128.zip",
        "745f3373fed08d69343f1058ee559e13",
    ),
}


# --- where they come from ------------------------------------------------------------------------------------------


def _idx_source(title: str, home: str, name: str, url: str) -> Source:
    """MNIST or a relative of it, in four IDX files."""
    layout = f"the four IDX files of {name}/raw (train-images-idx3-ubyte and so on, unpacked or .gz)"

    def present(place: Path) -> bool:
        return all(idx_file(place / name / "raw", stem) is not None for stem in IDX_STEMS)

    return Source(title, home, layout, url, present, lambda place: _torchvision(name, place))


MNIST = _idx_source("MNIST", "mnist", "MNIST", "https://ossci-datasets.s3.amazonaws.com/mnist/")
FASHION_MNIST = _idx_source(
    "Fashion-MNIST", "fashionmnist", "FashionMNIST", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
)


def cifar_source(classes: int) -> Source:
    """CIFAR-10 or CIFAR-100 in its Python version."""
    folder, last = {10: ("cifar-10-batches-py", "test_batch"), 100: ("cifar-100-python", "test")}[classes]
    return Source(
        f"CIFAR-{classes}",
        f"cifar{classes}",
        f"the folder {folder} of its Python version",
        "https://www.cs.toronto.edu/~kriz/",
        lambda place: (place / folder / last).is_file(),
        lambda place: _torchvision(f"CIFAR{classes}", place),
    )


OMNIGLOT = Source(
    "Omniglot",
    "omniglot",
    "the folder omniglot-py/images_background, or omniglot/python/images_background",
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    lambda place: any(each.is_dir() for each in _omniglot_places(place)),
    lambda place: _torchvision("Omniglot", place),
)
TINY_IMAGENET = Source(
    "Tiny ImageNet",
    "tinyimagenet",
    "the folder tiny-imagenet-200 (with wnids.txt, train and val)",
    "http://cs231n.stanford.edu/",
    lambda place: all((place / "tiny-imagenet-200" / part).exists() for part in ("wnids.txt", "train", "val")),
    lambda place: _unpack(place, _TINY_IMAGENET_ARCHIVES),
)


def core50_source(pictures: str, protocol: str) -> Source:
    """CORe50's pictures of one size, and the file lists of all protocols."""
    lists = CORE50_LISTS[protocol]
    archives = [_CORE50_PICTURES[pictures], *_CORE50_LIST_ARCHIVES]
    return Source(
        "CORe50",
        "core50",
        f"the folders {pictures} and {lists}",
        archives[0][0],
        lambda place: (place / pictures).is_dir() and (place / lists).is_dir(),
        lambda place: _unpack(place, archives),
    )


def _torchvision(name: str, place: Path) -> None:
    import torchvision.datasets

    getattr(torchvision.datasets, name)(str(place), download=True)


def _unpack(place: Path, archives: Sequence[Archive]) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    for url, md5 in archives:
        download_and_extract_archive(url, str(place), md5=md5, remove_finished=True)


# --- how they are read ---------------------------------------------------------------------------------------------


def idx_file(raw: Path, stem: str) -> Path | None:
    """The file of that stem, unpacked or gzipped; None where there is neither."""
    return next((path for path in (raw / stem, raw / f"{stem}.gz") if path.is_file()), None)


def read_mnist(raw: Path) -> tuple[TensorSamples, TensorSamples]:
    """Training and test samples, (1, 28, 28) pixels, of a folder that holds the four IDX files.

    Raises:
        ValueError: when a file is missing or damaged.
    """
    found = [idx_file(raw, stem) for stem in IDX_STEMS]
    if None in found:
        raise ValueError(f"expected {IDX_STEMS[found.index(None)]}[.gz] in {str(raw)!r}, found none")
    train_x, train_y, test_x, test_y = (_read_idx(path) for path in found if path is not None)
    return (
        TensorSamples(train_x.unsqueeze(1), train_y, scale=1 / 255),
        TensorSamples(test_x.unsqueeze(1), test_y, scale=1 / 255),
    )


def _read_idx(path: Path) -> Tensor:
    """Images, (N, 28, 28) uint8, or labels, (N,) int64, of a file in the IDX format, gzipped or not."""
    from torchvision.datasets.mnist import read_image_file, read_label_file
    from torchvision.datasets.utils import extract_archive

    read = read_image_file if "idx3" in path.name else read_label_file
    try:
        if path.suffix != ".gz":
            return read(str(path))
        # torchvision reads unpacked files only, and the data folder may be read-only
        with tempfile.TemporaryDirectory() as folder:
            return read(extract_archive(str(path), folder))
    except Exception as error:  # torchvision asserts, and gzip has errors of its own
        raise ValueError(f"cannot read {str(path)!r} as an IDX file ({error}): get a whole copy of it") from error


def read_cifar(place: Path, name: str) -> tuple[TensorSamples, TensorSamples, list[str]]:
    """Training and test samples, (3, 32, 32) pixels, and class names.

    Raises:
        DataNotFound: when files are missing, or differ from those that their authors published.
    """
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


def tiny_imagenet_files(place: Path) -> tuple[Files, Files, list[str]]:
    """Training files, validation files (which serve as test, their own test labels being secret) and class names."""
    names = [line.strip() for line in (place / "wnids.txt").read_text().splitlines() if line.strip()]
    label = {name: i for i, name in enumerate(names)}
    train = [(path, label[name]) for name in names for path in sorted((place / "train" / name / "images").glob("*.*"))]
    with open(place / "val" / "val_annotations.txt", newline="") as lines:
        rows = [(row[0], label[row[1]]) for row in csv.reader(lines, dialect="excel-tab")]
    return _files(train), _files([(place / "val" / "images" / name, y) for name, y in sorted(rows)]), names


def omniglot_files(place: Path) -> tuple[Files, list[str]]:
    """All drawings of the background set and their characters' names; characters are numbered by alphabet and name."""
    background = next(each for each in _omniglot_places(place) if each.is_dir())
    characters = sorted(path for path in background.glob("*/*") if path.is_dir())
    pairs = [(path, i) for i, character in enumerate(characters) for path in sorted(character.glob("*.png"))]
    return _files(pairs), [f"{character.parent.name}/{character.name}" for character in characters]


def _omniglot_places(place: Path) -> list[Path]:
    # torchvision, Avalanche (which joins the folder's name twice), the official repository and its archive, unpacked
    above = ["omniglot-py", "omniglot-py/omniglot-py", "omniglot/python", "python", "omniglot", "."]
    return [place / folder / "images_background" for folder in above]


def core50_files(place: Path, pictures: Path, protocol: str, run: int) -> tuple[list[Files], Files]:
    """The files of every training batch, in order, and of the one test set.

    Args:
        pictures: the folder that the lists' paths start from (``core50_32x32`` or ``core50_128x128``).
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

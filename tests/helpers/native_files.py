"""Small data sets in their authors' own layouts, written by tests."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def write_idx(raw: Path, train: int = 60, test: int = 30, packed: bool = False) -> None:
    """The four IDX files of MNIST and its relatives, random pixels, labels 0 to 9 in turn."""
    raw.mkdir(parents=True, exist_ok=True)
    draws = np.random.RandomState(0)
    for stem, n in (("train", train), ("t10k", test)):
        images = draws.randint(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for name, array in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
            (raw / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


def write_cifar10(root: Path) -> None:
    """Five training batches of 20 images and a test batch of 20."""
    place = root / "cifar-10-batches-py"
    place.mkdir(parents=True)
    draws = np.random.RandomState(1)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        entry = {"data": draws.randint(0, 256, (20, 3072), dtype=np.uint8), "labels": [i % 10 for i in range(20)]}
        (place / name).write_bytes(pickle.dumps(entry))
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"thing {i}" for i in range(10)]}))


def write_cifar100(root: Path) -> None:
    """400 training and 200 test images of 100 classes."""
    place = root / "cifar-100-python"
    place.mkdir(parents=True)
    draws = np.random.RandomState(2)
    for name, n in (("train", 400), ("test", 200)):
        data = draws.randint(0, 256, (n, 3072), dtype=np.uint8)
        (place / name).write_bytes(pickle.dumps({"data": data, "fine_labels": [i % 100 for i in range(n)]}))
    (place / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"thing {i}" for i in range(100)]}))


def picture(path: Path, seed: int, size: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.RandomState(seed).randint(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)


def write_tiny_imagenet(root: Path, classes: int = 200) -> None:
    """Two training images and one validation image per class; one image is grey, as some of the real ones are."""
    place = root / "tiny-imagenet-200"
    names = [f"n{i:08d}" for i in range(classes)]
    rows = []
    for i, name in enumerate(names):
        for j in range(2):
            picture(
                place / "train" / name / "images" / f"{name}_{j}.JPEG", 10 * i + j, 64, "L" if i == j == 1 else "RGB"
            )
        picture(place / "val" / "images" / f"val_{i}.JPEG", 10 * i + 5, 64)
        rows.append(f"val_{i}.JPEG\t{name}\t0\t0\t62\t62")
    # the real list is in no order of classes
    (place / "val" / "val_annotations.txt").write_text("\n".join(rows[::-1]) + "\n")
    (place / "wnids.txt").write_text("\n".join(names) + "\n")


def write_omniglot(root: Path, above: str = "omniglot-py") -> None:
    """Two alphabets of three and two characters with five drawings each, in a folder of the root."""
    place = root / above / "images_background"
    for a, (alphabet, characters) in enumerate((("Alpha", 3), ("Beta", 2))):
        for c in range(1, characters + 1):
            for drawing in range(5):
                path = place / alphabet / f"character{c:02d}" / f"{a}{c:02d}_{drawing:02d}.png"
                picture(path, 100 * a + 10 * c + drawing, 105, "1")


def write_core50(root: Path, protocol: str, batches: list[list[int]], size: int = 32) -> None:
    """File lists of run 0 (and run 1, reversed) and their images: two training and one test image per object."""
    folder = f"core50_{size}x{size}"
    lists = {"nc": "batches_filelists/NC_inc", "ni": "batches_filelists/NI_inc", "nicv2_79": "NIC_v2_79"}[protocol]
    objects = sorted({label for batch in batches for label in batch})
    for run, order in ((0, batches), (1, batches[::-1])):
        place = root / lists / f"run{run}"
        place.mkdir(parents=True)
        for i, batch in enumerate(order):
            rows = [f"s{i + 1}/o{label + 1}/C_{j}.png {label}" for label in batch for j in range(2)]
            (place / f"train_batch_{i:02d}_filelist.txt").write_text("\n".join(rows) + "\n")
            for row in rows:
                picture(root / folder / row.split()[0], sum(row.encode()) + 1000 * run, size)
        rows = [f"s11/o{label + 1}/C_0.png {label}" for label in objects]
        (place / "test_filelist.txt").write_text("\n".join(rows) + "\n")
        for row in rows:
            picture(root / folder / row.split()[0], len(row), size)

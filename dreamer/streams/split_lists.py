"""An official split in lists beside the pictures, as Caltech-UCSD Birds (CUB-200-2011) has it."""

from __future__ import annotations

from pathlib import Path

Classes = dict[str, list[str]]
_NAMES, _SPLIT = "images.txt", "train_test_split.txt"


def has_split_lists(place: Path) -> bool:
    """Whether a folder has the pictures in ``images``, with lists of their names and of who is in which part."""
    return all((place / name).is_file() for name in (_NAMES, _SPLIT)) and (place / "images").is_dir()


def read_split_lists(place: Path) -> tuple[Classes, Classes]:
    """Sorted picture files by class, of the training part and of the test part.

    ``images.txt`` has ``<number> <class>/<file>`` in each line, ``train_test_split.txt`` has ``<number> <1 or 0>``, 1
    for training (README of CUB-200-2011). A leading ``001.`` of a folder's name is the number of the class, and left
    out.

    Raises:
        ValueError: when the lists do not fit each other or the pictures.
    """
    names, parts = _pairs(place / _NAMES), _pairs(place / _SPLIT)
    apart = sorted(names.keys() ^ parts.keys())
    if apart:
        raise ValueError(f"number {apart[0]!r} is in one of {_NAMES!r} and {_SPLIT!r} in {str(place)!r} alone")
    found: dict[str, Classes] = {"1": {}, "0": {}}
    for number, name in names.items():
        path, part = place / "images" / name, parts[number]
        if part not in found:
            raise ValueError(f"{str(place / _SPLIT)!r}: expected 0 or 1 for number {number}, got {part!r}")
        if len(Path(name).parts) != 2 or ".." in Path(name).parts or not path.is_file():
            raise ValueError(f"{str(place / _NAMES)!r}: expected a picture <class>/<file> in 'images', got {name!r}")
        head, _, rest = path.parent.name.partition(".")
        label = rest if head.isdecimal() and rest else path.parent.name
        found[part].setdefault(label, []).append(str(path))
    return _in_order(found["1"]), _in_order(found["0"])


def _in_order(classes: Classes) -> Classes:
    return {label: sorted(classes[label]) for label in sorted(classes)}


def _pairs(path: Path) -> dict[str, str]:
    """The two words of each line."""
    pairs = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split(maxsplit=1)
        if len(words) == 1:
            raise ValueError(f"{str(path)!r}: expected two words in line {number}, got {line!r}")
        if words:
            pairs[words[0]] = words[1].strip()
    return pairs

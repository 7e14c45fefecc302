"""Which pictures of a folder belong to which class: by sub-folders, or by a label file beside them."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dreamer.streams.label_files import LabelFile, label_files
from dreamer.streams.split_lists import has_split_lists, read_split_lists

Files = dict[str, list[str]]
"""Sorted picture files by class name."""

_TRAIN_NAMES = ("train", "training", "trainset", "trainingset")
_TEST_NAMES = ("test", "testing", "testset", "val", "valid", "validation", "dev", "eval", "evaluation")
_OF_A_REPOSITORY = (".github", "pyproject.toml", "setup.py", "setup.cfg", "package.json", "CMakeLists.txt")
_NO_CLASSES = ("assets", "doc", "docs", "examples", "images", "img", "lib", "public", "scripts", "src", "static")
"""Folders of a repository that may hold pictures."""


class Layout(NamedTuple):
    """Pictures to learn from and to be evaluated on; the latter empty where a part must be split off."""

    train: Files
    test: Files


def find_layout(place: Path, label: str | None = None) -> Layout:
    """Find the classes of a folder of pictures.

    Understood are ``<class>/*``, ``train/<class>/*`` beside ``test/<class>/*`` (also ``val``, ``valid``, ``validation``
    and so on, in any spelling, and ``seg_train`` beside ``seg_test``), pictures with a csv file of their names and
    labels, and the lists of CUB-200-2011.

    Args:
        label: the column of the labels in a label file; None finds it.

    Raises:
        ValueError: when no classes can be told, with the reason.
    """
    place = _unwrapped(place)
    if has_split_lists(place):
        learnt, tested = read_split_lists(place)
        _check_same(learnt, place, tested, place)
        return Layout(learnt, tested)
    train, tests = _parts(place)
    if train is None or not _pictures(train):
        return _without_train(place, tests, label)
    if not _folders(train) and _is_class_beside(place, train):
        return Layout(_labelled(place, place, label, by_folder=True), {})
    learnt = _labelled(_unwrapped(train, parts_too=True), place, label)
    for part in tests:
        tested = _tested(_unwrapped(part, parts_too=True), place, label)
        if tested:
            _check_same(learnt, train, tested, part)
            return Layout(learnt, tested)
    _refuse_unknown_part(place, train, learnt, tests)
    return Layout(learnt, {})


def _without_train(place: Path, tests: list[Path], label: str | None) -> Layout:
    classes = [each for each in _folders(place) if each not in tests]
    if tests and any(map(_folders, tests)) and not classes:
        raise ValueError(f"expected {str(place / 'train')!r} beside the test part {str(tests[0])!r}, found none")
    learnt = _labelled(place, place, label, without=tests)
    for part in tests if len(classes) > 1 else ():
        if not _folders(part):
            raise ValueError(
                f"{str(part)!r} lies beside class folders, and has none itself: expected 'train' and 'test' side by "
                "side, or classes alone"
            )
        tested = _by_folder(part)
        _check_same(learnt, place, tested, part)
        return Layout(learnt, tested)
    # one folder of pictures may serve two label files, train.csv and test.csv
    tested = _by_file(place, place, label, of_test=True) or {}
    if tested:
        _check_same(learnt, place, tested, place)
    return Layout(learnt, tested)


def _parts(place: Path) -> tuple[Path | None, list[Path]]:
    """The folder to learn from, None where there is none, and those to be evaluated on, the best first."""
    folders = _folders(place)
    train = next((each for each in folders if _spelled(each) in _TRAIN_NAMES), None)
    tests = [each for each in folders if _spelled(each) in _TEST_NAMES]
    if train is not None or tests:
        return train, sorted(tests, key=lambda each: _TEST_NAMES.index(_spelled(each)))
    # seg_train beside seg_test, train_images beside test_images
    pairs = {}
    for each in folders:
        rest = _without_word(each, _TRAIN_NAMES)
        tests = [other for other in folders if rest is not None and _without_word(other, _TEST_NAMES) == rest]
        if tests:
            pairs[each] = tests
    if len(pairs) > 1 and not label_files(place):
        names = ", ".join(repr(each.name) for each in pairs)
        raise ValueError(f"{names} in {str(place)!r} are all training parts by their names: expected one of them")
    return next(iter(pairs.items())) if len(pairs) == 1 else (None, [])


def _without_word(place: Path, words: Sequence[str]) -> tuple[str, ...] | None:
    """The words of a folder's name with a gap for the one that is among the given; None unless one is."""
    own = re.split(r"[^a-z]+", place.name.lower())
    return tuple("" if word in words else word for word in own) if sum(word in words for word in own) == 1 else None


def _unwrapped(place: Path, parts_too: bool = False) -> Path:
    """The folder that holds the parts or classes, where archives have wrapped it into others.

    Args:
        parts_too: whether a folder called as a part is such a wrapper, as within a part.
    """
    while True:
        inside = [child for child in place.iterdir() if not child.name.startswith((".", "__MACOSX"))]
        if len(inside) != 1 or not inside[0].is_dir() or not _folders(inside[0]):
            return place
        if not parts_too and _spelled(inside[0]) in (*_TRAIN_NAMES, *_TEST_NAMES):
            return place
        place = inside[0]


def _is_class_beside(place: Path, train: Path) -> bool:
    """Whether a flat folder called train is a class, such as a railway train, beside others that are no parts."""
    others = [each for each in _folders(place) if each != train and _pictures(each)]
    parts = [each for each in others if _spelled(each) in _TEST_NAMES]
    return bool(others) and not parts and not label_files(train) and not label_files(place)


def _tested(part: Path, place: Path, label: str | None) -> Files:
    """Classes of a test part; none, with a warning, where its pictures have no labels."""
    found = _by_file(part, place, label, of_test=True)
    if found:
        return found
    if _folders(part):
        return _by_folder(part)
    count = len(_pictures(part))
    if count:
        warnings.warn(
            f"the {count} pictures in {str(part)!r} have no labels and are left out: test data are split off those of "
            "the training part",
            stacklevel=2,
        )
    return {}


def _labelled(
    part: Path, place: Path, label: str | None, by_folder: bool = False, without: Sequence[Path] = ()
) -> Files:
    """Classes of a part that has to be learnt from: by a label file, else by its sub-folders."""
    found = None if by_folder else _by_file(part, place, label)
    if found is not None:
        return found
    loose = [path for path in _pictures(part) if Path(path).parent == part]
    if loose:
        raise ValueError(
            f"{len(loose)} pictures such as {Path(loose[0]).name!r} lie in {str(part)!r} itself, and nothing says "
            "their classes: expected a folder for each class, or a csv file with their names and labels beside them"
        )
    return _by_folder(part, without)


def _by_file(part: Path, place: Path, label: str | None, of_test: bool = False) -> Files | None:
    """Classes as a label file of the part, or beside it, says; None where there is none that can be understood."""
    paths = _pictures(part)
    if not paths:
        return None
    files = {
        path.name: path for path in [*label_files(part), *label_files(place)] if _is_for(path, part, place, of_test)
    }
    # pictures in one folder have no classes by folder either
    loose = len(_folders(part)) == 1 or any(Path(path).parent == part for path in paths)
    for path in sorted(files.values(), key=lambda path: "train" not in path.name.lower()):
        read = LabelFile(path, part, paths)
        if read.names is None:
            continue
        column = read.label_column(label, certain=not loose and bool(_folders(part)))
        if column is not None:
            return read.classes(column)
        if loose and not of_test:
            raise ValueError(
                f"{str(path)!r} has the columns {', '.join(read.columns)}, and it is not clear which holds the labels: "
                "expected stream.label=COLUMN"
            )
    return None


def _is_for(path: Path, part: Path, place: Path, of_test: bool) -> bool:
    """Whether a label file is about a part; one that somebody would hand in is about none."""
    stem = path.stem.lower()
    if "submission" in stem or "submit" in stem:
        return False
    if path.parent == part != place:
        return True
    return any(word in _TEST_NAMES for word in stem.replace("-", "_").split("_")) == of_test


def _by_folder(place: Path, without: Sequence[Path] = ()) -> Files:
    """Sorted picture files of every sub-folder: at least two of them, none without pictures."""
    folders = [each for each in _folders(place) if each not in without]
    if len(folders) < 2:
        found = f"only {folders[0].name!r}" if folders else "none"
        raise ValueError(
            f"expected at least two class folders of pictures in {str(place)!r}, or a csv of names and labels beside "
            f"them, found {found}"
        )
    files = {each.name: _pictures(each) for each in folders}
    for each in folders:
        _refuse_repository(place, each)
        if not files[each.name]:
            raise ValueError(f"expected pictures (.png, .jpg, ...) in the class folder {str(each)!r}, found none")
    _refuse_other_trees(folders, files)
    return files


def _refuse_repository(place: Path, each: Path) -> None:
    """Raise a ValueError where a folder lies in a repository's root, or has parts of its own, and is no class."""
    found = (".git",) if each.name.lower() not in _NO_CLASSES else (".git", *_OF_A_REPOSITORY)
    sign = next((name for name in found if (place / name).exists()), None)
    if sign is not None:
        raise ValueError(
            f"{str(place)!r} is a repository (it has {sign!r}), whose folders are no classes: expected "
            "data.root=PICTURES"
        )
    if any(_spelled(child) in _TRAIN_NAMES for child in _folders(each)):
        raise ValueError(
            f"{str(each)!r} has a training part of its own, so it is no class: expected data.root={str(each)!r}"
        )


def _refuse_other_trees(folders: Sequence[Path], files: Files) -> None:
    """Raise a ValueError where sub-folders are parts of something else, and no classes."""
    for each in folders:
        pictures = len(files[each.name])
        others = sum(len(names) for _, _, names in os.walk(each)) - pictures
        if others > pictures:
            raise ValueError(
                f"{str(each)!r} has {others} files that are no pictures and {pictures} that are: expected a folder of "
                "pictures for each class"
            )
    shared = set.intersection(*({child.name for child in _folders(each)} for each in folders))
    if len(folders) <= 3 and len(shared) > 1:
        names = ", ".join(repr(each.name) for each in folders)
        raise ValueError(
            f"{names} have the same sub-folders ({_few(shared)}), so they are parts and no classes: expected them "
            "to be called train and test"
        )


def _refuse_unknown_part(place: Path, train: Path, learnt: Files, tests: list[Path]) -> None:
    """Raise a ValueError where a folder beside the training part has its classes under a name that says nothing."""
    for each in _folders(place):
        if each not in (train, *tests) and len(set(learnt) & {child.name for child in _folders(each)}) > 1:
            raise ValueError(
                f"{str(each)!r} has the classes of {str(train)!r}, but its name does not say what it is: expected "
                "'test' or 'val'; or move it away"
            )


def _check_same(learnt: Files, train: Path, tested: Files, part: Path) -> None:
    for name in sorted(set(learnt) ^ set(tested)):
        there, missing = (train, part) if name in learnt else (part, train)
        raise ValueError(f"class {name!r} has pictures in {str(there)!r}, none in {str(missing)!r}: add or remove them")


def _few(names: set[str], most: int = 4) -> str:
    shown = sorted(names)
    return ", ".join([*shown[:most], *(["..."] if len(shown) > most else [])])


def _spelled(place: Path) -> str:
    """A folder's name as it compares: ``Training_Set`` is ``trainingset``."""
    return place.name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _pictures(place: Path) -> list[str]:
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(place)
        for name in names
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in endings
    )
    for path in paths:
        if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe would wait for ever
            raise ValueError(f"expected a picture at {path!r}, got something that is no file")
    return paths


def _folders(place: Path) -> list[Path]:
    return sorted(
        child
        for child in place.iterdir()
        if child.is_dir() and not child.name.startswith(".") and child.name != "__MACOSX"
    )

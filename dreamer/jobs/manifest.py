"""Every cell is written down before it is lived, with a fingerprint of the code that will live it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dreamer
from dreamer.config.binding import ConfigError
from dreamer.core.files import write_text

FILE_NAME = "cell.json"
# what plans and shows many lives does not change one
_ASIDE = ("compare", "report", "studies")


def fingerprint(*also: str) -> str:
    """The version, and a hash of every source file that may change a life.

    Args:
        also: files and folders of the rooms of many lives (``compare/cell.py``) that take part in living.
    """
    found = hashlib.sha256()
    root = Path(dreamer.__file__).parent
    lived_by = [path for path in sorted(root.rglob("*.py")) if path.relative_to(root).parts[0] not in _ASIDE]
    for name in also:
        lived_by += sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name]
    for path in lived_by:
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{dreamer.__version__}+{found.hexdigest()[:12]}"


def settled(plain: Mapping[str, Any], folder: Path, code: str, mix: bool = False) -> bool:
    """Whether the ``cell.json`` of a cell is there already and may stay.

    Args:
        plain: the cell that is to be lived there.
        folder: its run folder.
        code: the :func:`fingerprint` of what will live it.
        mix: accept a cell that another version of the code began.

    Raises:
        ConfigError: when the folder holds another cell, or another version of the code began it.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return False
    wanted = json.loads(json.dumps(plain))
    there = json.loads(path.read_text(encoding="utf-8"))
    lived_by = there.pop("code", None)
    if there != wanted:
        raise ConfigError(
            f"{folder} was begun with another configuration ({_difference(there, wanted)}): choose another --out"
        )
    if lived_by == code or mix:
        return True
    if (folder / "results.json").is_file() or (folder / "checkpoints").is_dir():
        raise ConfigError(
            f"{folder} was lived by the code {lived_by}, and this is {code}: choose another --out, or mix them "
            "knowingly with --mix"
        )
    return False


def write_down(plain: Mapping[str, Any], folder: Path, code: str, mix: bool = False) -> None:
    """Write the ``cell.json`` of a cell, unless it is :func:`settled`; the arguments and errors are those of it."""
    if settled(plain, folder, code, mix):
        return
    try:
        write_text(folder / FILE_NAME, json.dumps({**plain, "code": code}, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error


def read_down(folder: Path) -> dict[str, Any]:
    """The cell of a run folder, as it was written down.

    Raises:
        ConfigError: when there is none.
    """
    path = folder / FILE_NAME
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected the cell of many lives in {path}, could not read one: {error}") from error


def slug(name: str) -> str:
    """A name that a folder can bear."""
    return "".join(letter if letter.isalnum() or letter in "._-+" else "_" for letter in name)


def _difference(there: Any, here: Any, path: str = "") -> str:
    """The first place at which two configurations differ, in words."""
    for where, one, other in _differences(there, here, path):
        return f"{where}: {one!r} there, {other!r} now"
    return "nothing"


def _differences(there: Any, here: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in {**there, **here}:
            yield from _differences(there.get(key), here.get(key), f"{path}.{key}" if path else str(key))
    elif there != here:
        yield path, there, here

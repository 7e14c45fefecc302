"""Every job is written down before it runs, with a fingerprint of the code that will run it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer import __version__
from dreamer.config.binding import ConfigError
from dreamer.core.differences import differences, in_words
from dreamer.core.files import write_text
from dreamer.report.results import results_in

FILE_NAME = "cell.json"
_NAME_LETTERS = 100
_PACKAGE = Path(__file__).parents[1]
# rooms that plan, start and show many runs do not change one
_ASIDE = ("cli", "compare", "jobs", "report", "studies")


@dataclass(frozen=True)
class Program:
    """What runs a job: ``python -m MODULE FOLDER``, see :func:`dreamer.jobs.runner.main`.

    Exit code 0 and complete results mean that the job is done, 2 that it cannot be run as configured, 3 that it
    diverged, anything else that it died.

    Attributes:
        sources: files and folders of the package that take part in a job, beside those that every run needs.
    """

    module: str
    sources: tuple[str, ...] = ()

    def command(self, folder: Path) -> list[str]:
        """The command that runs the job of a folder."""
        return [sys.executable, "-m", self.module, str(folder)]

    def fingerprint(self) -> str:
        """The version, and a hash of every source file that may change what a job finds."""
        return code_fingerprint(self.sources)


def code_fingerprint(sources: Sequence[str] = ()) -> str:
    """The version, and a hash of every source file that may change what a run finds.

    Args:
        sources: files and folders of the package beside those that every run needs.
    """
    found = hashlib.sha256()
    paths = [path for path in sorted(_PACKAGE.rglob("*.py")) if path.relative_to(_PACKAGE).parts[0] not in _ASIDE]
    for name in sources:
        place = _PACKAGE / name
        paths += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    for path in paths:
        found.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{__version__}+{found.hexdigest()[:12]}"


def is_written(content: Mapping[str, Any], folder: Path, code: str, mix: bool = False) -> bool:
    """Whether the manifest of a job lies in its folder already and may stay.

    Raises:
        ConfigError: when the folder holds another job, or another version of dreamer began this one.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return False
    wanted = json.loads(json.dumps(content))
    there = json.loads(path.read_text(encoding="utf-8"))
    begun_by = there.pop("code", None)
    if there != wanted:
        raise ConfigError(
            f"{folder} was begun with another configuration ({_difference(there, wanted)}): choose another --out"
        )
    if begun_by == code or mix:
        return True
    if (folder / "results.json").is_file() or (folder / "checkpoints").is_dir():
        raise ConfigError(
            f"{folder} was run by dreamer {begun_by}, and this is {code}: choose another --out, or reuse it with --mix"
        )
    return False


def write(content: Mapping[str, Any], folder: Path, code: str, mix: bool = False) -> None:
    """Write the manifest of a job, unless :func:`is_written`; the arguments and errors are the same."""
    if is_written(content, folder, code, mix):
        return
    try:
        write_text(folder / FILE_NAME, json.dumps({**content, "code": code}, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error


def read(folder: Path) -> dict[str, Any]:
    """The manifest of the job of a folder; a ``ConfigError`` when there is none."""
    path = folder / FILE_NAME
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected the manifest of a job in {path}, could not read one: {error}") from error


def completed(folder: Path) -> bool:
    """Whether a run folder holds complete results."""
    return results_in(folder).get("complete") is True


def slug(name: str) -> str:
    """The name as a folder can have it: of no more than 100 letters, and never that of the folder above."""
    plain = "".join(letter if letter.isalnum() or letter in "._-+" else "_" for letter in name)
    if len(plain) > _NAME_LETTERS:
        plain = f"{plain[:_NAME_LETTERS]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return plain if plain.strip(".") else "_" * max(1, len(plain))


def _difference(there: Any, here: Any) -> str:
    """The first place at which two configurations differ, in words."""
    return next(map(in_words, differences(there, here)), "nothing")

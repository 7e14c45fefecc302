"""A disk that is full, and a folder that is gone."""

from __future__ import annotations

import functools
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.trust.child import Ending, dreamer
from benchmarks.trust.folders import differences
from benchmarks.trust.kills import References, begin, continued
from benchmarks.trust.places import BETWEEN, EVALUATION, Visits
from benchmarks.trust.trial import Trial

RECIPES = ("dreams", "arithmetic")
_FULL = "derpp"
SIZES = (0, 300, 1_000, 3_000, 10_000, 30_000, 45_000, 60_000)
"""Bytes after which a file cannot grow. The system refuses the write (RLIMIT_FSIZE), as a full disk does."""
_LONGEST = 3
"""Lines that may be said; more is a traceback."""
_PROGRESS = re.compile(r"\w+, (?:night|experience) \d+ of \d+, ")
"""Begins a line about a stage that is over."""


def full(scratch: Path) -> Iterator[Trial]:
    """Runs that can write no more than so many bytes to a file, then continued without a limit."""
    references = References(scratch)
    for size in SIZES:
        yield Trial(f"{size:,} bytes", f"{_FULL}, {size}", functools.partial(_full, references, _FULL, size))


def _full(references: References, recipe: str, size: int, folder: Path) -> str:
    def limit() -> None:
        Visits(folder / "run", every_n_steps=3).watch()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    ending = dreamer(begin(recipe), folder, limit)
    if ending.code == 0:
        return "it wrote more than it can"
    wrong = in_a_sentence(ending)
    began = (folder / "run" / "config.yaml").exists()
    again = Ending(0, "", "") if began else dreamer(begin(recipe), folder)
    wrong += continued(recipe, folder, ending) if began else [] if again.code == 0 else [again.words]
    return "; ".join(wrong or differences(folder / "run", references.folder(recipe)))


def in_a_sentence(ending: Ending) -> list[str]:
    """What is wrong with how a run broke off: it has to say so in a sentence, with an exit code of its own."""
    lines = [line for line in ending.said.splitlines() if line.strip() and not _PROGRESS.match(line)]
    if ending.code < 0 or "Traceback" in ending.said or not 0 < len(lines) <= _LONGEST:
        return [f"exit code {ending.code}, {len(lines)} lines: {ending.said[-300:]!r}"]
    return []


def deleted(scratch: Path) -> Iterator[Trial]:
    """Runs whose folder is deleted on the way."""
    references = References(scratch)
    for recipe in RECIPES:
        for place in ("wake", "nrem", "rem", BETWEEN, EVALUATION):
            for where in (0.0, 0.6):
                run = functools.partial(_deleted, references, recipe, place, where)
                yield Trial("the run folder is deleted", f"{recipe}, {place}, {where}", run)


def _deleted(references: References, recipe: str, place: str, where: float, folder: Path) -> str:
    number = int(where * references.visits(recipe, 3)[place])

    def gone() -> None:
        shutil.rmtree(folder / "run")

    return "; ".join(
        in_a_sentence(dreamer(begin(recipe), folder, Visits(folder / "run", place, number, gone, 3).watch))
    )

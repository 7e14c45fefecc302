"""Two commands that are started at the same time: every run folder has one owner."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.trust.child import Child, Ending
from benchmarks.trust.damage import RECIPE, Stopped, refused
from benchmarks.trust.folders import differences
from benchmarks.trust.kills import begin
from benchmarks.trust.recipes import RECIPES
from benchmarks.trust.trial import Trial

_RESUME = ["run", "--resume", "run", "--quiet"]
_COMPARE = ["compare", "er", "fine_tune", "--stream", "digits", *RECIPES["derpp"][2:-1], "--seeds", "1"]


def trials(scratch: Path) -> Iterator[Trial]:
    """Twenty pairs."""
    stopped = Stopped(scratch)
    for index in range(6):
        yield Trial(
            "runs without a folder", f"runs without a folder, pair {index}", functools.partial(_two_folders, index)
        )
    for index in range(5):
        yield Trial(
            "runs with one folder", f"runs with one folder, pair {index}", functools.partial(_one_folder, begin(RECIPE))
        )
    for index in range(7):
        yield Trial("resumed runs", f"resumed runs, pair {index}", functools.partial(_resumed, stopped))
    for index in range(2):
        words = [*_COMPARE, "--out", "run"]
        yield Trial("comparisons", f"comparisons, pair {index}", functools.partial(_one_folder, words))


def _both(one: list[str], two: list[str], folder: Path) -> list[Ending]:
    children = [Child(words, folder) for words in (one, two)]
    return [child.wait() for child in children]


def _two_folders(index: int, folder: Path) -> str:
    recipe = [*RECIPES][index % len(RECIPES)]
    words = ["run", *RECIPES[recipe], "--quiet"]
    endings = _both(words, words, folder)
    if [ending.code for ending in endings] != [0, 0]:
        return "; ".join(ending.words for ending in endings)
    printed = [ending.out.splitlines()[-1].removeprefix("files: ") for ending in endings]
    if printed[0] == printed[1]:
        return f"both ran in {printed[0]}"
    whole = [json.loads((folder / name / "results.json").read_text())["complete"] for name in printed]
    return "" if whole == [True, True] else f"complete: {whole}"


def _one_folder(words: list[str], folder: Path) -> str:
    endings = sorted(_both(words, words, folder), key=lambda ending: ending.code)
    if endings[0].code != 0:
        return endings[0].words
    if endings[1].code == 0:
        return "both were let in"
    return "; ".join(refused(endings[1], "run"))


def _resumed(stopped: Stopped, folder: Path) -> str:
    run = stopped.copy(folder)
    endings = sorted(_both(_RESUME, _RESUME, folder), key=lambda ending: ending.code)
    if endings[0].code != 0:
        return endings[0].words
    late = endings[1].code == 0 and any("complete already" in ending.out for ending in endings)
    wrong = [] if late else refused(endings[1], "run is in use by process")
    return "; ".join([*wrong, *differences(run, stopped.whole)])

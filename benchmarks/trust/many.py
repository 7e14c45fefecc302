"""Commands of many runs that are killed and started again: comparisons, tuning, studies."""

from __future__ import annotations

import csv
import functools
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.trust.child import Child, dreamer
from benchmarks.trust.trial import Trial

_SHORT = ["wake.steps=6", "stream.experiences=2", "network.hidden=[32]"]
COMMANDS: dict[str, list[str]] = {
    "a comparison": ["compare", "er", "fine_tune", "--stream", "digits", *_SHORT, "--seeds", "1"],
    "a tuning": ["tune", "er", "--stream", "digits", *_SHORT, "--trials", "2", "--seeds", "1001"],
    "a study": ["study", "gaussian", "experiment.generations=5", "experiment.lineages=10"],
}
_TABLES = ("results.csv", "trials.csv", "curves.csv")
_CLOCKS = {"seconds", "started", "folder"}


def trials(scratch: Path) -> Iterator[Trial]:
    """Each command, killed early and late."""
    for name, words in COMMANDS.items():
        for number in (signal.SIGKILL, signal.SIGTERM):
            for where in (0.4, 0.8):
                run = functools.partial(_killed, scratch, words, number, where)
                yield Trial(f"{number.name}: {name}", f"{name}, {number.name}, {where}", run)


def _killed(scratch: Path, words: list[str], number: signal.Signals, where: float, folder: Path) -> str:
    whole, seconds = _whole(scratch, words)
    command = [*words, "--out", "run"]
    child = Child(command, folder)
    time.sleep(where * seconds)
    child.send(number)
    ended = child.wait()
    again = dreamer(command, folder)
    if again.code != 0:
        return f"killed with {ended.code}, started again: {again.words}"
    found, wanted = rows(folder / "run"), rows(whole)
    return "" if found == wanted and wanted else "the tables differ"


def _whole(scratch: Path, words: list[str]) -> tuple[Path, float]:
    """The folder of a command that was left alone, made once, and how long it took."""
    place = scratch / words[0]
    if not (place / "seconds").exists():
        place.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        ending = dreamer([*words, "--out", "run"], place)
        assert ending.code == 0, ending.said
        (place / "seconds").write_text(str(time.monotonic() - began))
    return place / "run", float((place / "seconds").read_text())


def rows(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The tables of a folder, without what a clock says."""
    found = {}
    for name in _TABLES:
        if (folder / name).exists():
            with open(folder / name, encoding="utf-8", newline="") as file:
                read = csv.DictReader(file)
                found[name] = [{key: row[key] for key in row if key not in _CLOCKS} for row in read]
    return found

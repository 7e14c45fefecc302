"""Runs that are killed anywhere, continued with the documented words, and compared with one that was left alone."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trust.child import Child, Ending, dreamer
from benchmarks.trust.folders import differences
from benchmarks.trust.places import BETWEEN, CHECKPOINT, DREAMS, EVALUATION, OPERATION, PLACES, WITHIN, Visits
from benchmarks.trust.recipes import RECIPES
from benchmarks.trust.trial import Trial

RANDOM = "at a random time"
COUNTS = {
    **dict.fromkeys(WITHIN, 30),
    BETWEEN: 21,
    EVALUATION: 36,
    CHECKPOINT: 30,
    DREAMS: 18,
    OPERATION: 69,
    RANDOM: 36,
}
"""How many kills of each kind, 300 in all, dealt out to recipes and signals."""
_NIGHTLESS = ("derpp", "bir", "cls_er")
_ASLEEP = ("nrem", "rem", DREAMS)
"""Where recipes without nights never come to: they are killed before a file operation instead."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_GRACE = {signal.SIGTERM: 143, signal.SIGINT: 130}
_CONTINUE = re.compile(r"^stopped; continue with: dreamer (run --resume \S+)$", flags=re.M)
_STEPS = 3
"""Between two checkpoints within a stage, in every second trial."""


@dataclass(frozen=True)
class Kill:
    """How a run is killed.

    Attributes:
        place: where; one of :data:`COUNTS`.
        where: which of the times that the run comes there, as a fraction; at random times, of its seconds.
        number: the signal.
        every: steps between two checkpoints within a stage; None saves after stages alone.
    """

    recipe: str
    place: str
    where: float
    number: signal.Signals
    every: int | None


def trials(scratch: Path) -> Iterator[Trial]:
    """All kills; runs that are left alone are made in ``scratch`` when they are wanted."""
    drawn = random.Random(17)
    references = References(scratch)
    recipes, found = [*RECIPES], []
    for place, count in COUNTS.items():
        for index in range(count):
            recipe = recipes[index % len(recipes)]
            there = OPERATION if recipe in _NIGHTLESS and place in _ASLEEP else place
            number = SIGNALS[index // len(recipes) % len(SIGNALS)]
            every = _STEPS if drawn.random() < 0.5 else None
            where = drawn.random()
            name = f"{recipe}, {number.name}, {place}, {where:.3f}, saved {every or 'after stages'}"
            run = functools.partial(_killed, references, Kill(recipe, there, where, number, every))
            found.append(Trial(f"{number.name}: {there}", name, run))
    # some of each kind come first, so that a few minutes say something too
    drawn.shuffle(found)
    yield from found


class References:
    """Runs that were left alone, and how often they came where; made once each."""

    def __init__(self, scratch: Path):
        self._scratch = scratch

    def folder(self, recipe: str, every: int | None = None) -> Path:
        """The run folder of a recipe."""
        return self._made(recipe, every) / "run"

    def visits(self, recipe: str, every: int | None) -> dict[str, int]:
        """How often the run came to each place."""
        counted: dict[str, int] = json.loads((self._made(recipe, every) / "visits.json").read_text())
        return counted

    def seconds(self, recipe: str, every: int | None) -> float:
        """How long it took."""
        return float((self._made(recipe, every) / "seconds").read_text())

    def _made(self, recipe: str, every: int | None) -> Path:
        place = self._scratch / f"{recipe}-{every}".replace(" ", "_")
        if not (place / "seconds").exists():
            place.mkdir(parents=True, exist_ok=True)

            def counted() -> None:
                visits = Visits(place / "run", every_n_steps=every)
                visits.watch()
                visits.report(place / "visits.json")

            began = time.monotonic()
            ending = dreamer(begin(recipe), place, counted)
            assert ending.code == 0, f"{recipe} does not run: {ending.said}"
            (place / "seconds").write_text(str(time.monotonic() - began))
        return place


def begin(recipe: str) -> list[str]:
    """What is typed to begin a run."""
    return ["run", *RECIPES[recipe], "--out", "run"]


def _killed(references: References, kill: Kill, folder: Path) -> str:
    """Kill a run once, continue it, and compare."""
    reference = references.folder(kill.recipe, kill.every)
    ending = _stopped(references, kill, folder)
    if ending.code == 0:
        return "" if not differences(folder / "run", reference) else "it was not killed, and is not the same"
    if kill.number in _GRACE and ending.code not in (_GRACE[kill.number], -kill.number):
        return f"{kill.number.name} ended it with {ending.words}"
    return "; ".join(continued(kill.recipe, folder, ending) or differences(folder / "run", reference))


def _stopped(references: References, kill: Kill, folder: Path) -> Ending:
    words, watched = begin(kill.recipe), folder / "run"
    if kill.place == RANDOM:
        child = Child(words, folder, Visits(watched, every_n_steps=kill.every).watch)
        time.sleep(kill.where * references.seconds(kill.recipe, kill.every))
        child.send(kill.number)
        return child.wait()
    count = references.visits(kill.recipe, kill.every)[kill.place]

    def act() -> None:
        os.kill(os.getpid(), kill.number)

    return dreamer(words, folder, Visits(watched, kill.place, int(kill.where * count), act, kill.every).watch)


def continued(recipe: str, folder: Path, ending: Ending) -> list[str]:
    """Continue with the words that were printed or, after SIGKILL, those of docs/resuming.md."""
    printed = _CONTINUE.search(ending.said)
    began = (folder / "run" / "config.yaml").exists()
    words = printed[1].split() if printed else ["run", "--resume", "run"] if began else begin(recipe)
    if printed and not began:
        return ["told to resume a run that had not begun"]
    again = dreamer(words, folder)
    return [] if again.code == 0 else [f"continued with dreamer {' '.join(words)}: {again.words}"]


assert set(COUNTS) == {*PLACES, RANDOM}

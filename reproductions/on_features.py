"""Recipes on features of a pretrained network: what the scripts behind docs/pictures.md have in common.

All runs of a script share one process, so that its pictures are read once; their features come from the cache.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dreamer import config
from dreamer.metrics.significance import paired_tests
from dreamer.networks import WhitenedLinear
from dreamer.runs.run import execute, prepare
from dreamer.streams.base import Stream, TensorSamples, hold_out
from dreamer.streams.embedded import embedded
from dreamer.streams.folder import folder
from dreamer.streams.split import split_stream
from reproductions import records

MODEL = "efficientnet_lite0"
LINEAR = "network={name: mlp, hidden: []}"


class Arm(NamedTuple):
    """What is run.

    Attributes:
        words: a recipe, and what is typed after it.
        power: to which the features are raised.
        blocks: last blocks of the network that are trained; with 0 all of it is frozen.
        whitened: whiten the features by all training data of the stream, which no learner of a stream has at once.
    """

    words: tuple[str, ...]
    power: float = 1.0
    blocks: int = 0
    whitened: bool = False


Held = Callable[[TensorSamples, int], tuple[TensorSamples, TensorSamples]]
"""Training data and a seed in; what is learnt from and what is held out."""


@dataclass(frozen=True)
class Pictures:
    """Pictures in a folder, ``train/<class>/*`` and ``test/<class>/*``, and what is run on their features.

    Attributes:
        stream: its name.
        size: of the pictures, in pixels.
        experiences: their number; the seed decides the order of the classes.
        runs: those on record, by arm and seed.
        tried: scores of settings on held-out training images, by setting, part and seed.
    """

    stream: str
    size: int
    experiences: int
    runs: records.Runs
    tried: records.Runs

    def measure(
        self, root: str, weights: str, arms: Mapping[str, Arm], seeds: Sequence[int], only: Sequence[str]
    ) -> None:
        """Make the runs that are not on record, seed by seed, so that the arms of a seed run in turn."""

        def one(name: str, seed: int) -> dict[str, Any]:
            arm = arms[name]
            made = self.run(*self.features(root, weights, arm.power, arm.blocks), arm, seed, weights)
            print(name, seed, made["score"], flush=True)
            return made

        every = [(name, seed) for seed in seeds for name in arms]
        self.runs.make([which for which in every if which[0] in only], one, order=every)

    def choose(
        self,
        root: str,
        weights: str,
        settings: Mapping[str, Arm],
        parts: Mapping[str, Held],
        wanted: Sequence[tuple[str, str, int]],
        seeds: Sequence[int],
    ) -> None:
        """Score settings on training images that no run learnt from.

        Args:
            settings: all that there are, by name.
            parts: how much is held out, by name.
            wanted: setting, part and seed of the scores that are to be made where they are missing.
            seeds: all that there are, in the order of the record.
        """

        def one(name: str, part: str, seed: int) -> dict[str, Any]:
            arm = settings[name]
            train, _ = self.features(root, weights, arm.power, arm.blocks)
            made = self.run(*parts[part](train, seed), arm, seed, weights)
            print(name, part, seed, made["score"], flush=True)
            return {key: made[key] for key in ("score", "cpu_seconds")}

        self.tried.make(
            wanted, one, order=[(name, part, seed) for name in settings for part in parts for seed in seeds]
        )

    def features(self, root: str, weights: str, power: float, blocks: int) -> tuple[TensorSamples, TensorSamples]:
        """See :func:`features`."""
        return features(root, weights, self.size, power, blocks)

    def run(self, train: TensorSamples, test: TensorSamples, arm: Arm, seed: int, weights: str) -> dict[str, Any]:
        """One run: its score, the mean over classes in per cent, its CPU time and its bytes."""
        if arm.whitened:
            train, test = whitened(train, test)
        stream = split_stream(self.stream, train, test, experiences=self.experiences, seed=seed, validation=0.0)
        _STREAMS[self.stream] = stream
        own: dict[str, Any] = {
            "stream": {"name": "reproductions.on_features.given", "key": self.stream},
            "problem": {"name": "classification", "average": "classes"},
            "dream_quality": None,
        }
        if arm.blocks:
            blocks = {"model": MODEL, "weights": weights, "trainable_blocks": arm.blocks, "inner": True}
            own["network"] = {"name": "backbone", **blocks}
        with tempfile.TemporaryDirectory() as place:
            prepared = prepare(config.read(*arm.words, own, seed=seed), Path(place) / "run")
            start = time.process_time()
            results = execute(prepared)
            spent = time.process_time() - start
        last = [row for row in results["accuracy_matrix"]["rows"] if row["experience"] >= 0][-1]["accuracy"]
        sizes = [len(classes) for classes in stream.class_order]
        score = sum(size * value for size, value in zip(sizes, last, strict=True)) / sum(sizes)
        return {
            "score": round(100 * score, 3),
            "cpu_seconds": round(spent, 1),
            "steps": sum(results["cost"]["optimizer_steps"].values()),
            "bytes": results["cost"]["bytes"],
        }


@functools.cache
def features(root: str, weights: str, size: int, power: float, blocks: int) -> tuple[TensorSamples, TensorSamples]:
    """Features of all training and test images, from the cache where they were computed before.

    Args:
        blocks: last blocks that are left out, so that what they are given takes the place of features.
    """
    whole = folder(root, experiences=1, size=size, crop=True, channels=3, validation=0.0)
    (experience,) = embedded(whole, MODEL, weights, trainable_blocks=blocks or None, power=power).experiences
    assert isinstance(experience.train, TensorSamples) and isinstance(experience.test, TensorSamples)
    return experience.train, experience.test


def a_share(share: float, train: TensorSamples, seed: int) -> tuple[TensorSamples, TensorSamples]:
    """What is learnt from, and the share of the images that is held out; with ``functools.partial`` a :data:`Held`."""
    learnt, held = hold_out(train, share, seed)
    assert isinstance(learnt, TensorSamples) and isinstance(held, TensorSamples)
    return learnt, held


def whitened(train: TensorSamples, test: TensorSamples) -> tuple[TensorSamples, TensorSamples]:
    """Features whitened as ``whitened_dreams`` does it, by the covariance within all classes of the training data."""
    network = WhitenedLinear(train.x.shape[1:], int(train.y.max()) + 1, shrinkage=0.3)
    network.absorb(train.x, train.y)
    network.solve()
    made = [TensorSamples((part.x - network.centre) @ network.whitener.T, part.y) for part in (train, test)]
    return made[0], made[1]


_STREAMS: dict[str, Stream] = {}


def given(key: str) -> Stream:
    """The stream under that key, for configurations."""
    return _STREAMS[key]


def scores(measured: Sequence[dict[str, Any]], arm: str) -> dict[int, float]:
    """The scores of an arm by seed."""
    return {one["seed"]: one["score"] for one in measured if one["arm"] == arm}


def above(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """What ours is above theirs in the class orders of both, with its 95 % interval."""
    both = sorted(ours.keys() & theirs.keys())
    if len(both) < 2:
        return "-"
    found = paired_tests([[ours[seed] - theirs[seed] for seed in both]])[0]
    return f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def table(measured: Sequence[dict[str, Any]], arms: Mapping[str, Arm], ours: str, published: Mapping[str, str]) -> str:
    """A line for every arm: its score, what ours is above it in the same class orders, and what it costs.

    Args:
        measured: the runs on record.
        arms: in the order of the table.
        ours: the arm that the others are subtracted from.
        published: numbers of other networks and streams by arm; without any there is no such column.
    """
    lines = [
        f"| recipe | score (%) | {ours}, above it (95 % interval) | CPU seconds | MB kept |"
        + " published |" * bool(published),
        "|---|---|---|---|---|" + "---|" * bool(published),
    ]
    machines, best = records.Machines.of(measured), scores(measured, ours)
    for arm in arms:
        mine = [one for one in measured if one["arm"] == arm]
        if not mine:
            continue
        theirs = scores(measured, arm)
        cells = [
            arm,
            records.spread(list(theirs.values())),
            "-" if arm == ours else above(best, theirs),
            machines.seconds(mine),
            f"{statistics.mean(sum(one['bytes'].values()) for one in mine) / 1e6:.1f}",
            *([published.get(arm, "-")] if published else []),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", machines.legend])


def chosen(
    measured: Sequence[dict[str, Any]],
    settings: Mapping[str, Arm],
    columns: Mapping[str, tuple[str, Sequence[int]]],
) -> str:
    """What was tried on held-out images: every setting, and its scores by what was held out.

    Args:
        measured: the scores on record.
        settings: in the order of the table.
        columns: by title, the part that was held out, and the seeds. A setting is shown where it has all of them, so
            that the cells of a column speak of the same images.
    """
    lines = [
        f"| setting | {' | '.join(f'{title} (%)' for title in columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    scored = {(one["setting"], one["held_out"], one["seed"]): one["score"] for one in measured}
    for name in settings:
        cells = []
        for part, seeds in columns.values():
            found = [scored[name, part, seed] for seed in seeds if (name, part, seed) in scored]
            cells.append(records.spread(found) if len(found) == len(seeds) else "")
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)

"""Recipes on features of a pretrained network, Caltech-101 at 160 pixels: the runs behind ``docs/pictures.md``.

    python -m reproductions.caltech ROOT WEIGHTS [--only WORD] [--choose]

ROOT holds ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, WEIGHTS is the file of EfficientNet-Lite0. Runs that are
on record in ``docs/measurements/caltech.json`` are left out, so that the script continues where it was stopped. With
``--choose`` it prints the scores of the settings that were tried, on a third of the training images, and records
nothing; the test images are read without it alone. Without arguments it prints the table.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dreamer import config
from dreamer.metrics.significance import paired_tests
from dreamer.runs.run import execute, prepare, quiet_lightning
from dreamer.streams.base import Stream, TensorSamples, hold_out
from dreamer.streams.embedded import embedded
from dreamer.streams.folder import folder
from dreamer.streams.split import split_stream
from reproductions import records

SEEDS = (11, 12, 13, 14, 15)
RUNS = records.Runs(records.MEASUREMENTS / "caltech.json", ("arm", "seed"))
PAGE = records.DOCS / "pictures.md"
LINEAR = "network={name: mlp, hidden: []}"
PUBLISHED = {
    "nearest mean": "0.59 (Embedded-CL)",
    "SLDA": "0.62 (Embedded-CL)",
    "random projections": "RanPAC: 92.2 (CIFAR-100, ViT-B/16)",
    "class Gaussians": "SLCA: 91.5 (CIFAR-100, ViT-B/16)",
    "translated features": "FeTrIL: 65.2 (CIFAR-100, ResNet-18 trained on half of it)",
    "20 real features a class": "0.62 (Embedded-CL)",
}
# recipe, and what is typed after it; the power of the features
ARMS: dict[str, tuple[float, tuple[str, ...]]] = {
    "fine-tuning": (1.0, ("fine_tune", LINEAR, "wake.steps=60")),
    "nearest mean": (1.0, ("nearest_mean",)),
    "SLDA": (1.0, ("slda",)),
    "random projections": (1.0, ("ranpac_like",)),
    "20 real features a class": (1.0, ("er_features",)),
    "class Gaussians": (1.0, ("slca_like",)),
    "translated features": (1.0, ("fetril_like",)),
    "dreams": (1.0, ("feature_dreams",)),
    "joint": (1.0, ("joint", LINEAR, "wake.steps=60")),
    "SLDA, square roots": (0.5, ("slda",)),
    "dreams, square roots": (0.5, ("feature_dreams",)),
    "joint, square roots": (0.5, ("joint", LINEAR, "wake.steps=60")),
}
OURS = "dreams, square roots"
# what was tried on held-out images
CHOICES: dict[str, tuple[float, tuple[str, ...]]] = {
    **{f"SLDA {value}": (1.0, ("slda", f"network.shrinkage={value}")) for value in (0.01, 0.1, 0.3, 0.6)},
    **{f"random projections {value}": (1.0, ("ranpac_like", f"network.ridge={value}")) for value in (0.01, 0.1, 1.0)},
}


def main() -> None:
    """Parse the command line, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?")
    parser.add_argument("weights", nargs="?")
    parser.add_argument("--only", default="", help="arms whose name holds one of these words, separated by commas")
    parser.add_argument("--choose", action="store_true")
    words = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    if words.choose:
        choose(words.root, words.weights, words.only)
        return
    if words.root is not None:
        measure(words.root, words.weights, words.only)
    records.write_between(PAGE, "caltech", table(RUNS.all()))
    print(table(RUNS.all()))


def measure(root: str, weights: str, only: str) -> None:
    """Make the runs that are not on record, seed by seed, so that the arms of a seed run in turn."""
    start = time.process_time()
    images = sum(len(part) for part in features(root, weights, 1.0))
    spent = time.process_time() - start
    # only a first computation says what the extraction costs
    extraction = {"images": images, "cpu_seconds": round(spent, 1), "machine": records.machine()}
    records.write(RUNS.path, {"extraction": extraction, **records.read(RUNS.path, {})})

    def one(arm: str, seed: int) -> dict[str, Any]:
        power, words = ARMS[arm]
        made = run(dealt(*features(root, weights, power), seed), words, seed)
        print(arm, seed, made["score"], flush=True)
        return made

    every = [(arm, seed) for seed in SEEDS for arm in ARMS]
    RUNS.make([which for which in every if wanted(which[0], only)], one, order=every)


def choose(root: str, weights: str, only: str) -> None:
    """Print the scores of settings on a third of the training images, which no run learnt from."""
    for name, (power, words) in {**CHOICES, **ARMS}.items():
        if not wanted(name, only):
            continue
        scores = []
        for seed in SEEDS[:2]:
            train, _ = features(root, weights, power)
            learnt, held = hold_out(train, 1 / 3, seed)
            assert isinstance(learnt, TensorSamples) and isinstance(held, TensorSamples)
            scores.append(run(dealt(learnt, held, seed), words, seed)["score"])
        print(f"{name}: {records.spread(scores)}", flush=True)


def wanted(name: str, only: str) -> bool:
    """Whether a name holds one of the words, which are separated by commas."""
    return any(word in name for word in only.split(","))


@functools.cache
def features(root: str, weights: str, power: float) -> tuple[TensorSamples, TensorSamples]:
    """Features of all training and test images, from the cache where they were computed before."""
    whole = folder(root, experiences=1, size=160, crop=True, channels=3, validation=0.0)
    (experience,) = embedded(whole, "efficientnet_lite0", weights, power=power).experiences
    assert isinstance(experience.train, TensorSamples) and isinstance(experience.test, TensorSamples)
    return experience.train, experience.test


def dealt(train: TensorSamples, test: TensorSamples, seed: int) -> Stream:
    """Ten experiences, their classes in an order that the seed decides."""
    return split_stream("caltech101", train, test, experiences=10, seed=seed, validation=0.0)


_STREAMS: dict[str, Stream] = {}


def given(key: str) -> Stream:
    """The stream under that key, for configurations."""
    return _STREAMS[key]


def run(stream: Stream, words: tuple[str, ...], seed: int) -> dict[str, Any]:
    """One run: its score in per cent (the mean over classes), its CPU time and its bytes."""
    _STREAMS["caltech101"] = stream
    own = {
        "stream": {"name": "reproductions.caltech.given", "key": "caltech101"},
        "problem": {"name": "classification", "average": "classes"},
        "dream_quality": None,
    }
    with tempfile.TemporaryDirectory() as place:
        prepared = prepare(config.read(*words, own, seed=seed), Path(place) / "run")
        start = time.process_time()
        results = execute(prepared)
        spent = time.process_time() - start
    last = [row for row in results["accuracy_matrix"]["rows"] if row["experience"] >= 0][-1]["accuracy"]
    sizes = [len(classes) for classes in stream.class_order]
    score = sum(size * value for size, value in zip(sizes, last, strict=True)) / sum(sizes)
    kept = results["cost"]["bytes"]
    return {
        "score": round(100 * score, 3),
        "cpu_seconds": round(spent, 1),
        "steps": sum(results["cost"]["optimizer_steps"].values()),
        "bytes": kept,
    }


def scores(measured: Sequence[dict[str, Any]], arm: str) -> dict[int, float]:
    """The scores of an arm by seed."""
    return {one["seed"]: one["score"] for one in measured if one["arm"] == arm}


def table(measured: Sequence[dict[str, Any]]) -> str:
    """The page's table: every arm, and what ours is above it in the same class orders."""
    lines = [
        "| recipe | score (%) | dreams, square roots, above it (95 % interval) | CPU seconds | MB kept | published |",
        "|---|---|---|---|---|---|",
    ]
    ours, machines = scores(measured, OURS), records.Machines.of(measured)
    for arm in ARMS:
        mine = [one for one in measured if one["arm"] == arm]
        if not mine:
            continue
        theirs = scores(measured, arm)
        both = sorted(ours.keys() & theirs.keys())
        apart = "-"
        if arm != OURS and len(both) > 1:
            found = paired_tests([[ours[seed] - theirs[seed] for seed in both]])[0]
            apart = f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
        megabytes = statistics.mean(sum(one["bytes"].values()) for one in mine) / 1e6
        lines.append(
            f"| {arm} | {records.spread(list(theirs.values()))} | {apart} | {machines.seconds(mine)} | {megabytes:.1f} "
            f"| {PUBLISHED.get(arm, '-')} |"
        )
    return "\n".join([*lines, "", machines.legend])


if __name__ == "__main__":
    # configurations look the stream up in the module of this name, of which this process must have one alone
    from reproductions import caltech

    caltech.main()

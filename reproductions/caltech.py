"""Recipes on features of a pretrained network, Caltech-101 at 160 pixels: the runs behind ``docs/pictures.md``.

    python -m reproductions.caltech ROOT WEIGHTS [--only NAME ...] [--choose [--sixths]]

ROOT holds ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, WEIGHTS is the file of EfficientNet-Lite0. Runs that are
on record in ``docs/measurements/caltech.json`` are left out, so that the script continues where it was stopped. With
``--choose`` it scores the settings that were tried, on a third or a sixth of the training images, and records them in
``caltech_choices.json``; the test images are read without it alone. Without arguments it prints the tables.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dreamer import config
from dreamer.metrics.significance import paired_tests
from dreamer.networks import WhitenedLinear
from dreamer.runs.run import execute, prepare, quiet_lightning
from dreamer.streams.base import Stream, TensorSamples, hold_out
from dreamer.streams.embedded import embedded
from dreamer.streams.folder import folder
from dreamer.streams.split import split_stream
from reproductions import records

SEEDS = (11, 12, 13, 14, 15)
RUNS = records.Runs(records.MEASUREMENTS / "caltech.json", ("arm", "seed"))
CHOSEN = records.Runs(records.MEASUREMENTS / "caltech_choices.json", ("setting", "held_out", "seed"))
PAGE = records.DOCS / "pictures.md"
MODEL = "efficientnet_lite0"
ONE_NIGHT = (
    "wake.steps=6",
    "wake.replay=0",
    "wake.objectives=[]",
    "night.0.steps=1",
    "night.1.steps=[1, 1, 1, 1, 1, 1, 1, 1, 1, 3521]",
)
HALVES = "[{name: cross_entropy, weight: 0.5}, {name: distillation, weight: 0.5}]"
ACROSS = "[{name: latent_mixing, within_class: false}, {name: latent_jitter}]"
# as many bytes as 20 activations a class, and half of the nights: a step costs more than ten times a linear layer's
SHORT = ("generator.latent_dim=160", "generator.store=float16", "wake.replay=64", "night.1.steps=100")
LINEAR = "network={name: mlp, hidden: []}"
PUBLISHED = {
    "nearest mean": "0.59 (Embedded-CL)",
    "SLDA": "0.62 (Embedded-CL)",
    "random projections": "RanPAC: 92.2 (CIFAR-100, ViT-B/16)",
    "class Gaussians": "SLCA: 91.5 (CIFAR-100, ViT-B/16)",
    "translated features": "FeTrIL: 65.2 (CIFAR-100, ResNet-18 trained on half of it)",
    "20 real features a class": "0.62 (Embedded-CL)",
}


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

    @property
    def seen(self) -> tuple[float, int]:
        """What decides the features: their power, and the blocks that are left out."""
        return self.power, self.blocks

    def given(self, train: TensorSamples, test: TensorSamples, seed: int) -> Stream:
        """The stream of these features."""
        return dealt(*(whitened(train, test) if self.whitened else (train, test)), seed)


ARMS = {
    "fine-tuning": Arm(("fine_tune", LINEAR, "wake.steps=60")),
    "nearest mean": Arm(("nearest_mean",)),
    "SLDA": Arm(("slda",)),
    "random projections": Arm(("ranpac_like",)),
    "20 real features a class": Arm(("er_features",)),
    "class Gaussians": Arm(("slca_like",)),
    "translated features": Arm(("fetril_like",)),
    "dreams": Arm(("feature_dreams",)),
    "joint": Arm(("joint", LINEAR, "wake.steps=60")),
    "SLDA, square roots": Arm(("slda",), 0.5),
    "random projections, square roots": Arm(("ranpac_like",), 0.5),
    "dreams, square roots": Arm(("feature_dreams",), 0.5),
    "dreams, square roots, float16": Arm(("feature_dreams", "generator.store=float16"), 0.5),
    "whitened dreams, square roots": Arm(("whitened_dreams",), 0.5),
    "joint, square roots": Arm(("joint", LINEAR, "wake.steps=60"), 0.5),
    "joint, square roots, whitened": Arm(("joint", LINEAR, "wake.steps=60"), 0.5, whitened=True),
    # where the distance to joint training comes from: as many steps as with dreams, or dreams of one night alone
    "joint, square roots, 3 600 steps": Arm(("joint", LINEAR, "wake.steps=360"), 0.5),
    "one last night alone, square roots": Arm(("feature_dreams", *ONE_NIGHT), 0.5),
    "20 real activations a class, last block trained": Arm(("er_features", "memory.store=float16"), blocks=1),
    "dreams, last block trained": Arm(("feature_dreams", *SHORT), blocks=1),
    "joint, last block trained": Arm(("joint", "wake.steps=60"), blocks=1),
}
OURS = "dreams, square roots"
# what else is compared: with equal bytes, and in the same space
BESIDE = {
    "dreams, last block trained": "20 real activations a class, last block trained",
    "whitened dreams, square roots": "joint, square roots, whitened",
}
DREAMS = {
    "days of 150 steps": ("wake.steps=150",),
    "perturbed at three times the rate": ("night.1.lr_scale=3",),
    "half by distillation": (f"night.0.objectives={HALVES}", f"night.1.objectives={HALVES}"),
    "covariances of each class alone": ("generator.pooled=0",),
    "mixed across classes": (f"night.1.perturbations={ACROSS}",),
    "perturbed 1.6 times as much": ("night.1.strength=1.6",),
}
RIDGES = (0.01, 0.1, 1.0, 3.0, 10.0, 30.0)
# what was tried on held-out images
CHOICES = {
    **{f"SLDA {value}": Arm(("slda", f"network.shrinkage={value}")) for value in (0.01, 0.1, 0.3, 0.6)},
    **{f"random projections {value}": Arm(("ranpac_like", f"network.ridge={value}")) for value in RIDGES},
    **{f"dreams, square roots, {what}": Arm(("feature_dreams", *words), 0.5) for what, words in DREAMS.items()},
}


def main() -> None:
    """Parse the command line, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?")
    parser.add_argument("weights", nargs="?")
    parser.add_argument("--only", nargs="*", choices=[*CHOICES, *ARMS], default=[*CHOICES, *ARMS], metavar="NAME")
    parser.add_argument("--choose", action="store_true", help="score a third of the training images")
    parser.add_argument("--sixths", action="store_true", help="with --choose, three times a sixth of them")
    words = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    if words.choose:
        choose(words.root, words.weights, words.only, words.sixths)
    elif words.root is not None:
        measure(words.root, words.weights, words.only)
    for which, text in (("", table(RUNS.all())), ("held out", chosen(CHOSEN.all()))):
        records.write_between(PAGE, "caltech", text, which)
        print(text)


def measure(root: str, weights: str, only: Sequence[str]) -> None:
    """Make the runs that are not on record, seed by seed, so that the arms of a seed run in turn."""
    start = time.process_time()
    images = sum(len(part) for part in features(root, weights, 1.0, 0))
    spent = time.process_time() - start
    # only a first computation says what the extraction costs
    extraction = {"images": images, "cpu_seconds": round(spent, 1), "machine": records.machine()}
    records.write(RUNS.path, {"extraction": extraction, **records.read(RUNS.path, {})})

    def one(arm: str, seed: int) -> dict[str, Any]:
        made = run(ARMS[arm].given(*features(root, weights, *ARMS[arm].seen), seed), ARMS[arm], seed, weights)
        print(arm, seed, made["score"], flush=True)
        return made

    every = [(arm, seed) for seed in SEEDS for arm in ARMS]
    RUNS.make([which for which in every if which[0] in only], one, order=every)


def choose(root: str, weights: str, only: Sequence[str], sixths: bool) -> None:
    """Score settings on a third or a sixth of the training images, which no run learnt from."""
    settings = {**CHOICES, **ARMS}

    def one(name: str, held_out: str, seed: int) -> dict[str, Any]:
        arm = settings[name]
        train, _ = features(root, weights, *arm.seen)
        learnt, held = a_sixth(train, seed) if held_out == "sixth" else hold_out(train, 1 / 3, seed)
        assert isinstance(learnt, TensorSamples) and isinstance(held, TensorSamples)
        made = run(arm.given(learnt, held, seed), arm, seed, weights)
        return {key: made[key] for key in ("score", "cpu_seconds")}

    part, seeds = ("sixth", SEEDS[:3]) if sixths else ("third", SEEDS[:2])
    every = [(name, each, seed) for name in settings for each in ("third", "sixth") for seed in SEEDS]
    CHOSEN.make([(name, part, seed) for name in settings if name in only for seed in seeds], one, order=every)


def chosen(measured: Sequence[dict[str, Any]]) -> str:
    """What was tried on held-out images: every setting, and its scores on a third and on sixths."""
    lines = ["| setting | a third held out (%) | a sixth held out (%) |", "|---|---|---|"]
    for name in {**CHOICES, **ARMS}:
        found = [
            [one["score"] for one in measured if (one["setting"], one["held_out"]) == (name, part)]
            for part in ("third", "sixth")
        ]
        if any(found):
            lines.append(f"| {name} | {' | '.join(records.spread(each) if each else '' for each in found)} |")
    return "\n".join(lines)


def a_sixth(train: TensorSamples, seed: int) -> tuple[TensorSamples, TensorSamples]:
    """All but a sixth of each class, and this sixth; those of six seeds in a row have nothing in common."""
    learnt, held = [], []
    for label in train.y.unique().tolist():
        members = (train.y == label).nonzero().flatten()
        shuffled = members[torch.randperm(len(members), generator=torch.Generator().manual_seed(label))]
        each = len(members) // 6
        first = (seed - SEEDS[0]) % 6 * each
        held.append(shuffled[first : first + each])
        learnt += [shuffled[:first], shuffled[first + each :]]
    return train.subset(torch.cat(learnt)), train.subset(torch.cat(held))


@functools.cache
def features(root: str, weights: str, power: float, blocks: int) -> tuple[TensorSamples, TensorSamples]:
    """Features of all training and test images, from the cache where they were computed before.

    Args:
        blocks: last blocks that are left out, so that what they are given takes the place of features.
    """
    whole = folder(root, experiences=1, size=160, crop=True, channels=3, validation=0.0)
    (experience,) = embedded(whole, MODEL, weights, trainable_blocks=blocks or None, power=power).experiences
    assert isinstance(experience.train, TensorSamples) and isinstance(experience.test, TensorSamples)
    return experience.train, experience.test


def whitened(train: TensorSamples, test: TensorSamples) -> tuple[TensorSamples, TensorSamples]:
    """Features whitened as ``whitened_dreams`` does it, by the covariance within all classes of the training data."""
    network = WhitenedLinear(train.x.shape[1:], int(train.y.max()) + 1, shrinkage=0.3)
    network.absorb(train.x, train.y)
    network.solve()
    made = [TensorSamples((part.x - network.centre) @ network.whitener.T, part.y) for part in (train, test)]
    return made[0], made[1]


def dealt(train: TensorSamples, test: TensorSamples, seed: int) -> Stream:
    """Ten experiences, their classes in an order that the seed decides."""
    return split_stream("caltech101", train, test, experiences=10, seed=seed, validation=0.0)


_STREAMS: dict[str, Stream] = {}


def given(key: str) -> Stream:
    """The stream under that key, for configurations."""
    return _STREAMS[key]


def run(stream: Stream, arm: Arm, seed: int, weights: str) -> dict[str, Any]:
    """One run: its score in per cent (the mean over classes), its CPU time and its bytes."""
    _STREAMS["caltech101"] = stream
    own: dict[str, Any] = {
        "stream": {"name": "reproductions.caltech.given", "key": "caltech101"},
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
        apart = "-" if arm == OURS else above(ours, theirs)
        megabytes = statistics.mean(sum(one["bytes"].values()) for one in mine) / 1e6
        lines.append(
            f"| {arm} | {records.spread(list(theirs.values()))} | {apart} | {machines.seconds(mine)} | {megabytes:.1f} "
            f"| {PUBLISHED.get(arm, '-')} |"
        )
    besides = [
        f"- {arm}, above {other}: {above(scores(measured, arm), scores(measured, other))}"
        for arm, other in BESIDE.items()
    ]
    return "\n".join([*lines, "", machines.legend, "", *besides])


def above(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """What ours is above theirs in the class orders of both, with its 95 % interval."""
    both = sorted(ours.keys() & theirs.keys())
    if len(both) < 2:
        return "-"
    found = paired_tests([[ours[seed] - theirs[seed] for seed in both]])[0]
    return f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


if __name__ == "__main__":
    # configurations look the stream up in the module of this name, of which this process must have one alone
    from reproductions import caltech

    caltech.main()

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
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dreamer.runs.run import quiet_lightning
from dreamer.streams.base import TensorSamples
from reproductions import on_features, records
from reproductions.on_features import LINEAR, Arm, Held, Pictures, a_share, above, scores

SEEDS = (11, 12, 13, 14, 15)
THIRDS, SIXTHS, ALL_SIXTHS = SEEDS[:2], SEEDS[:3], (*SEEDS, 16)
"""Seeds that say what is held out; six sixths in a row are all images."""
RUNS = records.Runs(records.MEASUREMENTS / "caltech.json", ("arm", "seed"))
CHOSEN = records.Runs(records.MEASUREMENTS / "caltech_choices.json", ("setting", "held_out", "seed"))
CALTECH = Pictures("caltech101", 160, 10, RUNS, CHOSEN)
PAGE = records.DOCS / "pictures.md"
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
# chosen on held-out images
WIDE = "generator.temperature=1.6"
PUBLISHED = {
    "nearest mean": "0.59 (Embedded-CL)",
    "SLDA": "0.62 (Embedded-CL)",
    "random projections": "RanPAC: 92.2 (CIFAR-100, ViT-B/16)",
    "class Gaussians": "SLCA: 91.5 (CIFAR-100, ViT-B/16)",
    "translated features": "FeTrIL: 65.2 (CIFAR-100, ResNet-18 trained on half of it)",
    "20 real features a class": "0.62 (Embedded-CL)",
}


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
    "wide dreams, square roots": Arm(("feature_dreams", WIDE), 0.5),
    "wide dreams as they are, square roots": Arm(("feature_dreams", WIDE, "night.1.perturbations=[]"), 0.5),
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
# what else is compared: with equal bytes, in the same space, and with the setting of configs/caltech101.yaml
BESIDE = {
    "dreams, last block trained": "20 real activations a class, last block trained",
    "whitened dreams, square roots": "joint, square roots, whitened",
    "joint, square roots": "wide dreams, square roots",
    "wide dreams, square roots": "wide dreams as they are, square roots",
}
DREAMS = {
    "days of 150 steps": ("wake.steps=150",),
    "perturbed at three times the rate": ("night.1.lr_scale=3",),
    "half by distillation": (f"night.0.objectives={HALVES}", f"night.1.objectives={HALVES}"),
    "covariances of each class alone": ("generator.pooled=0",),
    "mixed across classes": (f"night.1.perturbations={ACROSS}",),
    "perturbed 1.6 times as much": ("night.1.strength=1.6",),
    "512 components": ("generator.latent_dim=512",),
}
# what gained 1.6 points on CIFAR-10
WHITENED = {
    "512 components": ("generator.latent_dim=512",),
    "512 components, nights of 1 000 steps": ("generator.latent_dim=512", "night.1.steps=1000"),
}
TEMPERATURES = {
    f"dreams, square roots, temperature {value}": Arm(("feature_dreams", f"generator.temperature={value}"), 0.5)
    for value in (0.5, 1.3, 2.0, 2.5)
}
RIDGES = (0.01, 0.1, 1.0, 3.0, 10.0, 30.0)
# what was tried on held-out images
CHOICES = {
    **{f"SLDA {value}": Arm(("slda", f"network.shrinkage={value}")) for value in (0.01, 0.1, 0.3, 0.6)},
    **{f"random projections {value}": Arm(("ranpac_like", f"network.ridge={value}")) for value in RIDGES},
    **{f"dreams, square roots, {what}": Arm(("feature_dreams", *words), 0.5) for what, words in DREAMS.items()},
    **{
        f"whitened dreams, square roots, {what}": Arm(("whitened_dreams", *words), 0.5)
        for what, words in WHITENED.items()
    },
    **TEMPERATURES,
}
# compared on all images, because differences are small; the older ones on half of them
ON_ALL_SIXTHS = (
    *TEMPERATURES,
    "SLDA, square roots",
    "dreams, square roots",
    "wide dreams, square roots",
    "whitened dreams, square roots",
    "joint, square roots",
)


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


SETTINGS = {**CHOICES, **ARMS}
PARTS: Mapping[str, Held] = {"third": functools.partial(a_share, 1 / 3), "sixth": a_sixth}
COLUMNS = {
    "a third held out, two splits": ("third", THIRDS),
    "a sixth held out, three splits": ("sixth", SIXTHS),
    "a sixth held out, all six": ("sixth", ALL_SIXTHS),
}


def main() -> None:
    """Parse the command line, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?")
    parser.add_argument("weights", nargs="?")
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--choose", action="store_true", help="score a third of the training images")
    parser.add_argument("--sixths", action="store_true", help="with --choose, a sixth of them, several times")
    words = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    if words.choose:
        part = "sixth" if words.sixths else "third"
        wanted = [(name, part, seed) for name in SETTINGS if name in words.only for seed in held_out(name, part)]
        CALTECH.choose(words.root, words.weights, SETTINGS, PARTS, wanted, ALL_SIXTHS)
    elif words.root is not None:
        extract(words.root, words.weights)
        CALTECH.measure(words.root, words.weights, ARMS, SEEDS, words.only)
    for which, text in (("", table(RUNS.all())), ("held out", chosen())):
        records.write_between(PAGE, "caltech", text, which)
        print(text)


def held_out(setting: str, part: str) -> Sequence[int]:
    """The seeds with which a setting is scored on that part of the training images."""
    if part == "third":
        return THIRDS
    return ALL_SIXTHS if setting in ON_ALL_SIXTHS else SIXTHS


def extract(root: str, weights: str) -> None:
    """Record what the features of all images cost, unless that is on record; a first computation alone says so."""
    start = time.process_time()
    images = sum(len(part) for part in CALTECH.features(root, weights, 1.0, 0))
    spent = round(time.process_time() - start, 1)
    found = {"images": images, "cpu_seconds": spent, "machine": records.machine()}
    records.write(RUNS.path, {"extraction": found, **records.read(RUNS.path, {"runs": []})})


def table(measured: Sequence[dict[str, Any]]) -> str:
    """The page's table: every arm, what ours is above it in the same class orders, and other arms held together."""
    besides = [
        f"- {arm}, above {other}: {above(scores(measured, arm), scores(measured, other))}"
        for arm, other in BESIDE.items()
    ]
    return "\n".join([on_features.table(measured, ARMS, OURS, PUBLISHED), "", *besides])


def chosen() -> str:
    """What was tried on held-out images."""
    return on_features.chosen(CHOSEN.all(), SETTINGS, COLUMNS)


if __name__ == "__main__":
    main()

"""Recipes on features of a pretrained network, CIFAR-10 at 128 pixels: the runs behind ``docs/pictures.md``.

    python -m reproductions.cifar10_features ROOT WEIGHTS [--only NAME ...] [--choose]

ROOT holds CIFAR-10 as pictures, ``train/<class>/*`` and ``test/<class>/*``, WEIGHTS is the file of EfficientNet-Lite0.
Runs that are on record in ``docs/measurements/cifar10_features.json`` are left out, so that the script continues where
it was stopped. With ``--choose`` it scores settings on a tenth of the training images instead. Without arguments it
prints the tables.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping

import torch

from dreamer.runs.run import quiet_lightning
from reproductions import on_features, records
from reproductions.on_features import LINEAR, Arm, Held, Pictures, a_share, above, scores

SEEDS = (21, 22, 23, 24, 25)
"""None of them was used to choose a setting."""
CHOOSING = (11,)
RUNS = records.Runs(records.MEASUREMENTS / "cifar10_features.json", ("arm", "seed"))
CHOSEN = records.Runs(records.MEASUREMENTS / "cifar10_features_choices.json", ("setting", "held_out", "seed"))
CIFAR = Pictures("cifar10", 128, 5, RUNS, CHOSEN)
PAGE = records.DOCS / "pictures.md"
WHITENED = ("whitened_dreams", "generator.latent_dim=512", "night.1.steps=1000")
DREAMS = ("feature_dreams", "wake.steps=300", "night.1.steps=1000", "generator.latent_dim=512")
JOINT = ("joint", LINEAR, "wake.steps=1500")
OURS = "whitened dreams"
ARMS = {
    "fine-tuning": Arm(("fine_tune", LINEAR, "wake.steps=300"), 0.5),
    "nearest mean": Arm(("nearest_mean",), 0.5),
    "SLDA": Arm(("slda", "network.shrinkage=0.1"), 0.5),
    "random projections": Arm(("ranpac_like", "network.ridge=0.01")),
    "20 real features a class": Arm(("er_features", "wake.steps=300"), 0.5),
    "class Gaussians": Arm(("slca_like", "wake.steps=300"), 0.5),
    "translated features": Arm(("fetril_like",), 0.5),
    "dreams": Arm(DREAMS, 0.5),
    OURS: Arm(WHITENED, 0.5),
    "whitened dreams as they are": Arm((*WHITENED, "night.1.perturbations=[]"), 0.5),
    "joint": Arm(JOINT, 0.5),
}
CHOICES = {
    "SLDA, features as they are, 0.01": Arm(("slda", "network.shrinkage=0.01")),
    **{f"SLDA, {value}": Arm(("slda", f"network.shrinkage={value}"), 0.5) for value in (0.01, 0.1, 0.3)},
    **{
        f"random projections, {value}": Arm(("ranpac_like", f"network.ridge={value}"))
        for value in (0.01, 0.1, 1.0, 10.0, 100.0)
    },
    "random projections, square roots, 10.0": Arm(("ranpac_like", "network.ridge=10.0"), 0.5),
    "recipe of dreams": Arm(("feature_dreams",), 0.5),
    "days of 300 steps": Arm(("feature_dreams", "wake.steps=300"), 0.5),
    "days of 300, nights of 1 000 steps": Arm(DREAMS[:-1], 0.5),
    "as that, 512 components": ARMS["dreams"],
    "as that, all 1 280 components": Arm((*DREAMS[:-1], "generator.latent_dim=1280"), 0.5),
    "whitened dreams": Arm(("whitened_dreams",), 0.5),
    **{
        f"whitened dreams, {components} components, {steps} steps": Arm(
            ("whitened_dreams", f"generator.latent_dim={components}", f"night.1.steps={steps}"), 0.5
        )
        for components, steps in ((512, 1000), (512, 3000), (1280, 1000))
    },
    "joint, 1 500 steps": ARMS["joint"],
    "joint, features as they are": Arm(JOINT),
    "joint, 300 steps": Arm(("joint", LINEAR, "wake.steps=300"), 0.5),
}


PARTS: Mapping[str, Held] = {"tenth": functools.partial(a_share, 0.1)}


def main() -> None:
    """Parse the command line, run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?")
    parser.add_argument("weights", nargs="?")
    parser.add_argument("--only", nargs="*", choices=[*CHOICES, *ARMS], default=[*CHOICES, *ARMS], metavar="NAME")
    parser.add_argument("--choose", action="store_true", help="score a tenth of the training images")
    words = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    if words.choose:
        wanted = [(name, "tenth", seed) for name in CHOICES if name in words.only for seed in CHOOSING]
        CIFAR.choose(words.root, words.weights, CHOICES, PARTS, wanted, CHOOSING)
    elif words.root is not None:
        CIFAR.measure(words.root, words.weights, ARMS, SEEDS, words.only)
    for which, text in (("", table()), ("held out", chosen())):
        records.write_between(PAGE, "cifar10_features", text, which)
        print(text)


def table() -> str:
    """The table of the runs on record, and two recipes held together."""
    runs = RUNS.all()
    apart = above(scores(runs, "dreams"), scores(runs, "SLDA"))
    return f"{on_features.table(runs, ARMS, OURS, {})}\n\n- dreams, above SLDA: {apart}"


def chosen() -> str:
    """What was tried on held-out images."""
    return on_features.chosen(CHOSEN.all(), CHOICES, {"a tenth held out": ("tenth", CHOOSING)})


if __name__ == "__main__":
    main()

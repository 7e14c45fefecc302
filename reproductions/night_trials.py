"""What was tried in the nights of `dreams`: make the runs that are missing, then write the table of docs/strategies.md.

    python -m reproductions.night_trials DATA_ROOT [--runs DIR] [--only NAME ...]

Split MNIST. Started again, the script continues with the runs that are missing. Without DATA_ROOT it only writes the
table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reproductions import records
from reproductions.trials import Trials, make_as_typed

SEEDS = (11, 12)
"""Others than those of the README's tables."""
LENGTHS = (100, 700, 1300, 1900, 2500)
"""Steps of REM in each night of `dreams`."""


LOSSES = [{"name": "cross_entropy", "weight": 0.5}, {"name": "distillation", "weight": 0.5}]
FEATURES = [*LOSSES, {"name": "feature_distillation", "weight": 0.5}]


def stage(name: str, steps: int | Sequence[int], **settings: Any) -> dict[str, Any]:
    """A stage with the losses and rates of `dreams`; REM also has its perturbation, and its rate falls."""
    own = {"perturbations": [{"name": "affine"}], "anneal": 0.02} if name == "rem" else {}
    written = steps if isinstance(steps, int) else list(steps)
    common = {"name": name, "steps": written, "source": "generator", "lr_scale": 2, "objectives": LOSSES}
    return {**common, **own, **settings}


def night(*stages: Mapping[str, Any]) -> tuple[str]:
    """The word of ``dreamer run`` that replaces the night."""
    return (f"night={json.dumps(stages)}",)


def each(factor: float, lengths: Sequence[int] = LENGTHS) -> list[int]:
    """Lengths times a factor."""
    return [round(factor * steps) for steps in lengths]


LARGE = ("night.0.steps=50", "night.0.batch_size=256", "night.1.batch_size=256", f"night.1.steps={each(0.5)}")
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "`dreams`": (),
    "half the steps, batches of 256": LARGE,
    "half the steps, batches of 256, rate times 1.5": (*LARGE, "night.0.lr_scale=3", "night.1.lr_scale=3"),
    "REM before NREM": night(stage("rem", LENGTHS, from_dawn=0.5), stage("nrem", 100)),
    "two cycles of NREM and REM": night(
        stage("nrem", 50, from_dawn=0.5), stage("rem", each(0.5)), stage("nrem", 50), stage("rem", each(0.5))
    ),
    "teachers at T = 1": ("night.0.objectives.1.temperature=1", "night.1.objectives.1.temperature=1"),
    "teachers at T = 4": ("night.0.objectives.1.temperature=4", "night.1.objectives.1.temperature=4"),
    "labels alone": ("night.0.objectives=[{name: cross_entropy}]", "night.1.objectives=[{name: cross_entropy}]"),
    "teachers alone": ("night.0.objectives=[{name: distillation}]", "night.1.objectives=[{name: distillation}]"),
    "features distilled too": night(
        stage("nrem", 100, from_dawn=0.5, objectives=FEATURES), stage("rem", LENGTHS, objectives=FEATURES)
    ),
    "dreams moved on to where the learner is least sure": (
        "night.1.perturbations=[{name: affine}, {name: adversarial, epsilon: 0.1, steps: 1}]",
    ),
    "nights half as long": (f"night.1.steps={each(0.5)}",),
    "nights twice as long": (f"night.1.steps={each(2)}",),
    "from the weights of dusk": ("night.0.from_dawn=0",),
    "from the weights of dawn": ("night.0.from_dawn=1",),
}
NIGHTS = Trials(
    "night_trials",
    records.MEASUREMENTS / "night_trials.json",
    records.DOCS / "strategies.md",
    "split_mnist",
    SEEDS,
    SETTINGS,
)


if __name__ == "__main__":
    make_as_typed(__doc__, NIGHTS)

"""What was tried in the nights of `dreams`: make the runs that are missing, then write the table of docs/strategies.md.

    python -m reproductions.night_trials DATA_ROOT [--runs DIR] [--jobs N]

Split MNIST. The score is that of the training images that are held out, in the last row of the matrix; test images are
never looked at here. Started again, the script continues with the runs that are missing. Without DATA_ROOT it only
writes the table.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproductions import records

PAGE = records.DOCS / "strategies.md"
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
RECIPE = "as it is"
TRIALS: Mapping[str, tuple[str, ...]] = {
    RECIPE: (),
    "half the steps, of 256": LARGE,
    "half the steps, of 256, rate times 1.5": (*LARGE, "night.0.lr_scale=3", "night.1.lr_scale=3"),
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
    "from the weights of dusk": ("night.0.from_dawn=0",),
    "from the weights of dawn": ("night.0.from_dawn=1",),
}
RUNS = records.Runs(records.MEASUREMENTS / "night_trials.json", ("trial", "seed"))


def main() -> None:
    """Parse the command line, run, write numbers and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--runs", type=Path, default=Path("runs/night_trials"))
    parser.add_argument("--jobs", type=int, default=1)
    words = parser.parse_args()
    if words.data_root is not None:
        wanted = [(trial, seed) for seed in SEEDS for trial in TRIALS]
        RUNS.drop(lambda one: one["trial"] not in TRIALS)
        RUNS.make(wanted, lambda *which: run(words.data_root, words.runs, *which), words.jobs)
    records.write_between(PAGE, "night_trials", table(RUNS.all()))


def run(data_root: str, folders: Path, trial: str, seed: int) -> dict[str, Any]:
    """Make one run; its score on held-out images and its CPU seconds."""
    folder = folders / f"{list(TRIALS).index(trial)}_{seed}"
    words = ["split_mnist", *TRIALS[trial], "--seed", str(seed)]
    results, seconds = records.run_of([*words, f"data.root={data_root}", "--out", str(folder)], folder)
    held = statistics.mean(results["accuracy_matrix"]["rows"][-1]["validation"])
    return {"command": shlex.join(["dreamer", "run", *words]), "held_out": held, "cpu_seconds": round(seconds, 1)}


def table(measured: Sequence[dict[str, Any]]) -> str:
    """A line for each trial: its score, and what it is above the recipe, mean and range over the seeds."""
    if not measured:
        return "No trial is on record yet."
    lines = [
        "| nights of `dreams` | held-out accuracy (%) | minus the recipe (points) | seeds | CPU seconds |",
        "|---|---|---|---|---|",
    ]
    score = {(one["trial"], one["seed"]): 100 * one["held_out"] for one in measured}
    machines = records.Machines.of(measured)
    for trial in TRIALS:
        mine = [one for one in measured if one["trial"] == trial]
        if not mine:
            continue
        above = [score[trial, one["seed"]] - score[RECIPE, one["seed"]] for one in mine]
        cells = [
            trial,
            records.spread([100 * one["held_out"] for one in mine]),
            "" if trial == RECIPE else f"{statistics.mean(above):+.2f} ({min(above):+.2f} to {max(above):+.2f})",
            ", ".join(str(one["seed"]) for one in mine),
            machines.seconds(mine),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", machines.legend])


if __name__ == "__main__":
    main()

"""What was tried for docs/records.md, on held-out MNIST: whole runs of `split_mnist` with other settings.

    python -m reproductions.record_trials DATA_ROOT [--runs DIR] [--only NAME ...]

Each is one run with seed 11, which no table of results has. What is on record of it is its average accuracy on the
tenth of the training images that the stream holds out, from which no run learns; its test accuracy is not read. One
seed: this is for choosing, and no result. Started again, the script continues with the trials that are missing from
``docs/measurements/record_trials.json``. Without DATA_ROOT it only writes the table.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reproductions import records

PAGE = records.DOCS / "records.md"
RUNS = records.Runs(records.MEASUREMENTS / "record_trials.json", ("trial",))
SEED = 11
_LARGER = (
    "generator.hidden=[800]",
    "wake.lr_scale=2",
    "wake.anneal=0.02",
    "night.1.batch_size=256",
    "night.1.anneal=0.01",
)
TRIALS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "a larger generator, falling rates, longer nights": (*_LARGER, "night.1.steps=[100,900,1900,2900,4000]"),
    "one decoder for all classes, longer days, shorter nights": (
        *_LARGER,
        "generator.continual=distil",
        "wake.steps=1500",
        "night.1.steps=[100,700,1300,1900,2500]",
    ),
}

CHOSEN = {
    "records/split_mnist": "a larger generator, falling rates, longer nights",
    "records/split_mnist_constant": "one decoder for all classes, longer days, shorter nights",
}
"""The configurations that are trials taken as they were; ``records/split_mnist_quick`` is none of these."""


def main() -> None:
    """Parse the command line, make the trials that are missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--runs", type=Path, default=Path("runs/record_trials"))
    parser.add_argument("--only", nargs="*", choices=list(TRIALS), default=list(TRIALS))
    given = parser.parse_args()
    if given.data_root is not None:
        RUNS.drop(lambda one: command(one["trial"]) != one["command"])
        RUNS.make(
            [(name,) for name in given.only],
            lambda name: run(name, given.data_root, given.runs),
            order=[(name,) for name in TRIALS],
        )
    records.write_between(PAGE, "record_trials", table())
    print(table())


def command(name: str) -> str:
    """What is typed for a trial, but for the data."""
    return " ".join(["dreamer run split_mnist", *TRIALS.get(name, ()), f"--seed {SEED}"])


def run(name: str, data_root: str, folders: Path) -> dict[str, Any]:
    """Make a trial; what it kept of the held-out images, and what it cost."""
    folder = folders / str(list(TRIALS).index(name))
    words = ["split_mnist", *TRIALS[name], "--seed", str(SEED), f"data.root={data_root}", "--out", str(folder)]
    results, seconds = records.run_of(words, folder)
    return {"command": command(name), "held_out_accuracy": held_out(results), "cpu_seconds": round(seconds, 1)}


def held_out(results: Mapping[str, Any]) -> float:
    """The mean accuracy over the experiences at the end, on the training images that were held out."""
    return statistics.mean(results["accuracy_matrix"]["rows"][-1]["validation"])


def table() -> str:
    """A row for each trial on record, with the configuration that it became."""
    found = RUNS.all()
    became = {name: f", now `{configuration}`" for configuration, name in CHOSEN.items()}
    if not found:
        return "No trial is on record yet."
    machines = records.Machines.of(found)
    lines = [
        "| trial | laid over `split_mnist` | held-out accuracy (%) | CPU seconds |",
        "|---|---|---|---|",
    ]
    for one in found:
        words = " ".join(f"`{word}`" for word in TRIALS[one["trial"]])
        cells = [
            one["trial"] + became.get(one["trial"], ""),
            words,
            f"{100 * one['held_out_accuracy']:.2f}",
            machines.seconds([one]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", machines.legend])


if __name__ == "__main__":
    main()

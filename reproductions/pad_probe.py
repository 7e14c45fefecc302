"""The authors' probe of PAD on codes as they are and on rescaled ones: is it the scale of the codes that it measures?

    python -m reproductions.pad_probe [KEY=VALUE ...] [--seeds 11 12 13]

Trains the arms *full* and *without REM* of ``dreamer study pad`` on 10 000 images of CIFAR-10, and records all measures
of the untrained and of the trained encoder in ``docs/measurements/pad_probe.json``. It continues with what is missing,
and prints the table. The words are those of ``dreamer study pad``: a folder of pictures serves as well, with
``data.cifar10_10000.set.stream.name=folder data.cifar10_10000.set.stream.root=DIR``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reproductions import records

RECORD = records.MEASUREMENTS / "pad_probe.json"
DATA = "cifar10_10000"
ARMS = {"full": "all phases", "without_rem": "without REM"}
MEASURES = {
    "scale": "scale of codes",
    "published": "probe as published",
    "rescaled": "the same, rescaled",
    "accuracy": "least squares",
}


def main() -> None:
    """Parse the command line, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13])
    given = parser.parse_args()
    for seed in given.seeds:
        for arm in ARMS:
            found = recorded()
            if not any((run["arm"], run["seed"]) == (arm, seed) for run in found):
                records.write(RECORD, [*found, run(arm, seed, given.words)])
    print(table(recorded()))


def recorded() -> list[dict[str, Any]]:
    """The runs on record."""
    return records.read(RECORD, [])


def run(arm: str, seed: int, words: Sequence[str] = ()) -> dict[str, Any]:
    """Train one arm of the study; its measures before and after."""
    from dreamer.studies import study
    from dreamer.studies.experiments import base

    cells = study.load("pad", words).cells
    cell = next(each for each in cells if (each.data, each.arm, each.seed) == (DATA, arm, seed))
    with tempfile.TemporaryDirectory() as folder:
        curves = base.of(cell.settings).run(seed, Path(folder))["curves"]
    measured = {name: {"untrained": curves[name][0], "trained": curves[name][-1]} for name in MEASURES}
    return {"arm": arm, "seed": seed, **measured}


def table(runs: list[dict[str, Any]]) -> str:
    """What is printed on the page of the studies: mean and standard deviation over the seeds."""
    lines = [f"| encoder | {' | '.join(MEASURES.values())} |", "|---" * (1 + len(MEASURES)) + "|"]
    rows = [("an untrained encoder", "full", "untrained"), *((name, arm, "trained") for arm, name in ARMS.items())]
    for label, arm, when in rows:
        cells = []
        for measure in MEASURES:
            values = [run[measure][when] for run in runs if run["arm"] == arm]
            values = values if measure == "scale" else [100 * value for value in values]
            cells.append(records.spread(values))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

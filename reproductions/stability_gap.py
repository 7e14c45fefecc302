"""The runs behind the table of docs/metrics.md: make those that are missing, then write numbers and table anew.

    python -m reproductions.stability_gap DATA_ROOT [--runs DIR]

Every run evaluates old experiences on held-out data every few steps. The script makes the runs that
``docs/measurements/stability_gap.json`` does not hold, and continues in DIR those that were stopped. Without DATA_ROOT
it only writes the table.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dreamer import config
from dreamer.runs import run as runs
from reproductions import records

RUNS = records.Runs(records.MEASUREMENTS / "stability_gap.json", ("stream", "arm", "seed"))
PAGE = records.DOCS / "metrics.md"
ARMS = {
    "fine-tuning": ("fine_tune",),
    "er": ("er", "memory.capacity=200"),
    "derpp": ("derpp", "memory.capacity=200", "wake.perturbations=[]", "wake.replay_perturbations=[]"),
    "bir": ("bir",),
    # what a stream is configured with: `dreams`, on the digits with smaller maps and shorter nights
    "nights": (),
}
STREAMS = {
    "digits": (("wake.steps=200", "continual_evaluation.every_n_steps=5"), (11, 12, 13)),
    "split_mnist": (("wake.steps=200", "continual_evaluation.every_n_steps=5"), (11,)),
}
"""By stream: arguments of ``dreamer run`` for all arms, and seeds."""
NUMBERS = {
    "average_accuracy": "average accuracy",
    "stability_gap": "stability gap",
    "recovery": "recovery",
    "min_accuracy": "worst of old",
    "worst_case_accuracy": "worst case",
    "recency_bias": "recency bias",
}


def main() -> None:
    """Parse the command line, run, write numbers and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--runs", type=Path, default=Path("runs/stability_gap"))
    words = parser.parse_args()
    if words.data_root is not None:
        torch.set_num_threads(1)
        runs.quiet_lightning()
        RUNS.make(wanted(), lambda *which: numbers(run(words.data_root, words.runs, *which)))
    records.write_between(PAGE, "stability_gap", table(RUNS.all()))
    print(table(RUNS.all()))


def wanted() -> list[tuple[str, str, int]]:
    """Stream, arm and seed of every run."""
    return [(stream, arm, seed) for stream, (_, seeds) in STREAMS.items() for arm in ARMS for seed in seeds]


def run(data_root: str, folders: Path, stream: str, arm: str, seed: int) -> Mapping[str, Any]:
    """The results of one run."""
    folder = folders / stream / f"{arm}_{seed}"
    done = runs.finished(folder)
    if done is not None:
        return done
    begun = (folder / runs.CONFIG).is_file()
    plain = config.read(
        stream, *ARMS[arm], *STREAMS[stream][0], f"data.root={data_root}", "dream_quality=null", seed=seed
    )
    return runs.execute(runs.resume(folder) if begun else runs.prepare(plain, folder), resume=begun)


def numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one run that the table needs."""
    cost, seconds = results["continual"]["cost"], results["cost"]["seconds"]
    return {
        **{name: results["metrics"][name] for name in NUMBERS},
        "optimizer_steps": sum(results["cost"]["optimizer_steps"].values()),
        "evaluations": cost["evaluations"],
        "evaluation_seconds": round(cost["seconds"], 1),
        "training_seconds": round(sum(seconds[kind] for kind in ("wake", "nrem", "rem")), 1),
        "versions": {name: results["versions"][name] for name in ("python", "torch", "lightning")},
    }


def table(measured: Sequence[Mapping[str, Any]]) -> str:
    """The table of the page, a part for each stream."""
    blocks = []
    for stream, (words, seeds) in STREAMS.items():
        heading = f"`{' '.join((stream, *words))}`, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}:"
        rows = [("recipe", *NUMBERS.values(), "steps", "evaluations", "their seconds, of all")]
        rows += [("---",) * len(rows[0])]
        for arm, recipe in ARMS.items():
            mine = [one for one in measured if (one["stream"], one["arm"]) == (stream, arm)]
            spent = [statistics.mean(one[key] for one in mine) for key in ("evaluation_seconds", "training_seconds")]
            rows.append(
                (
                    f"`{' '.join(recipe)}`" if recipe else arm,
                    *(records.spread([100 * one[name] for one in mine], 1) for name in NUMBERS),
                    f"{mine[0]['optimizer_steps']:,}",
                    f"{mine[0]['evaluations']:,}",
                    f"{spent[0]:.1f} of {sum(spent):.1f}",
                )
            )
        blocks.append("\n".join([heading, "", *(f"| {' | '.join(row)} |" for row in rows)]))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    main()

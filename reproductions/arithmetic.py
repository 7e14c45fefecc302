"""The runs behind the tables of docs/language.md: make those that are missing, then write numbers and tables anew.

    python -m reproductions.arithmetic [--runs DIR] [--jobs N]

Every run is a process of its own on one thread, so that its CPU time can be measured. Each is recorded in
``docs/measurements/arithmetic.json`` when it is over. Without DIR it only writes the tables.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamer.streams.arithmetic import TASKS
from reproductions import records

RUNS = records.Runs(records.MEASUREMENTS / "arithmetic.json", ("arm", "seed"))
PAGE = records.DOCS / "language.md"
SEEDS = (11, 12, 13)
"""Settings were chosen with seeds 1 and 2."""
OURS = "nights on its own words, nothing replayed by day"
ARMS: Mapping[str, tuple[str, ...]] = {
    "fine-tuning": ("fine_tune",),
    OURS: (),
    "its own words by day, no nights": ("own_words_by_day",),
    "2 000 real texts, replayed by day, no nights": ("er", "memory.store=float32"),
}
NAMES = [task.replace("_modulo", " modulo 1000") for task in TASKS]


def main() -> None:
    """Parse the command line, run what is missing, write numbers and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=None, help="make the runs that are missing, in this folder")
    parser.add_argument("--jobs", type=int, default=1)
    words = parser.parse_args()
    if words.runs is not None:
        RUNS.make(wanted(), lambda arm, seed: run(words.runs, arm, seed), words.jobs)
    records.write_between(PAGE, "arithmetic", tables(RUNS.all()))
    print(tables(RUNS.all()))


def wanted() -> list[tuple[str, int]]:
    """Arm and seed of every run, seed by seed, so that what is there early is paired."""
    return [(arm, seed) for seed in SEEDS for arm in ARMS]


def run(folders: Path, arm: str, seed: int) -> dict[str, Any]:
    """Make one run; its numbers."""
    folder = folders / f"{list(ARMS).index(arm)}_{seed}"
    words = ["arithmetic", *ARMS[arm], "--seed", str(seed)]
    results, seconds = records.run_of([*words, "--out", str(folder)], folder)
    return {
        "command": f"dreamer run {' '.join(words)}",
        "rows": [
            {"after": row["after"], "experience": row["experience"], "right": row["accuracy"]}
            for row in results["accuracy_matrix"]["rows"]
        ],
        "steps": results["cost"]["optimizer_steps"],
        "cpu_seconds": round(seconds, 1),
        "versions": {name: results["versions"][name] for name in ("python", "torch", "lightning")},
    }


def of(measured: Sequence[dict[str, Any]], arm: str) -> list[dict[str, Any]]:
    """The runs of an arm."""
    return [one for one in measured if one["arm"] == arm]


def at(one: Mapping[str, Any], after: str, experience: int) -> list[float]:
    """Right answers of every task in %, after a day (``wake``) or a night."""
    return next(
        [100 * value for value in row["right"]]
        for row in one["rows"]
        if (row["after"], row["experience"]) == (after, experience)
    )


def final(one: Mapping[str, Any]) -> list[float]:
    """Right answers of every task in % at the end."""
    return [100 * value for value in one["rows"][-1]["right"]]


def tables(measured: Sequence[dict[str, Any]]) -> str:
    """What is kept at the end, and how days and nights of one seed take and give."""
    seeds = sorted({one["seed"] for one in measured})
    machines = records.Machines.of(measured)
    lines = [
        f"Seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}:",
        "",
        f"| arm | {' | '.join(NAMES)} | mean | CPU seconds |",
        "|---" * (len(NAMES) + 3) + "|",
    ]
    for arm in ARMS:
        mine = of(measured, arm)
        if mine:
            scores = [final(one) for one in mine]
            cells = [
                records.spread(each, 1) for each in (*zip(*scores, strict=True), list(map(statistics.mean, scores)))
            ]
            lines.append(f"| {arm} | {' | '.join(cells)} | {machines.seconds(mine)} |")
    first = of(measured, OURS)[0]
    learnt = [[at(one, "wake", task)[task] for task in range(len(NAMES))] for one in of(measured, OURS)]
    cells = [records.spread(each, 1) for each in (*zip(*learnt, strict=True), list(map(statistics.mean, learnt)))]
    lines += [
        f"| just learnt, in the run with nights | {' | '.join(cells)} | |",
        "",
        machines.legend,
        "",
        f"Seed {first['seed']} of the nights, before and after each:",
        "",
        f"| after | {' | '.join(NAMES)} |",
        "|---" * (len(NAMES) + 1) + "|",
    ]
    for number in range(1, len(NAMES)):
        evening, morning = at(first, "wake", number), at(first, "night", number)
        cells = [
            f"{evening[task]:.1f}, **{morning[task]:.1f}**" if task <= number else "" for task in range(len(NAMES))
        ]
        lines.append(f"| day {number + 1}, night {number + 1} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

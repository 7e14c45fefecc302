"""Five domains of text one after the other: what a small decoder keeps, arm by arm, and the table of docs/language.md.

    python -m reproductions.domains DATA_ROOT [--runs DIR] [--jobs N] [--seeds 11,12,13] [KEY=VALUE ...]

DATA_ROOT holds ``drama.txt``, ``code.txt``, ``french.txt``, ``scripture.txt`` and ``regulations.txt``. Every run is a
process of its own on one thread, and is recorded in ``docs/measurements/domains.json`` when it is over: started again,
the script resumes a run that was stopped and continues with those that are missing. KEY=VALUE changes every run, for a
trial; such runs are printed and not recorded. Without DATA_ROOT it only writes the tables.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from reproductions import records

RUNS = records.Runs(records.MEASUREMENTS / "domains.json", ("arm", "seed"))
PAGE = records.DOCS / "language.md"
SEEDS = (11, 12, 13)
"""Settings are those of a trial with another seed."""
DOMAINS = ("drama", "code", "french", "scripture", "regulations")
OURS = "nights on its own words, nothing replayed by day"
ARMS: Mapping[str, tuple[str, ...]] = {
    "fine-tuning": ("fine_tune",),
    OURS: (),
    "its own words by day, no nights": ("own_words_by_day", "wake.replay=32", "wake.replay_weight=1"),
    "2 000 real texts, replayed by day, no nights": ("er", "memory.store=float32", "wake.replay=32"),
}


def main() -> None:
    """Parse the command line, run what is missing, write numbers and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs/domains"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    words = parser.parse_args()
    if words.data_root is not None:
        wanted = runs_of(map(int, words.seeds.split(",")))
        if words.changes:
            with ThreadPoolExecutor(words.jobs) as pool:
                made = pool.map(
                    lambda which: run(words.data_root, words.runs, which[0], which[1], words.changes), wanted
                )
                print(tables([RUNS.named(which, numbers) for which, numbers in zip(wanted, made, strict=True)]))
            return
        RUNS.make(wanted, lambda arm, seed: run(words.data_root, words.runs, arm, seed), words.jobs, runs_of(SEEDS))
    records.write_between(PAGE, "domains", tables(RUNS.all()))
    print(tables(RUNS.all()))


def runs_of(seeds: Iterable[int]) -> list[tuple[str, int]]:
    """Arm and seed of every run, seed by seed, so that what is there early is paired."""
    return [(arm, seed) for seed in seeds for arm in ARMS]


def run(data_root: str, folders: Path, arm: str, seed: int, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Make one run, or resume it; its numbers."""
    folder = folders / f"{list(ARMS).index(arm)}_{seed}"
    words = ["domains", *ARMS[arm], *changes]
    # a finished one is complete already, and says so
    stopped = any((folder / "checkpoints").glob("*"))
    begin = [*words, f"data.root={data_root}", "--seed", str(seed), "--out", str(folder)]
    how = ["--resume", str(folder)] if stopped else begin
    results, seconds = records.run_of(how, folder)
    return {
        "command": f"dreamer run {' '.join(words)} data.root=DIR --seed {seed}",
        "rows": [
            {"after": row["after"], "experience": row["experience"], "bits": row["accuracy"]}
            for row in results["accuracy_matrix"]["rows"]
        ],
        "steps": results["cost"]["optimizer_steps"],
        "bytes": results["cost"]["bytes"],
        # of a run that was resumed, since it was
        "cpu_seconds": None if stopped else round(seconds, 1),
        "versions": {name: results["versions"][name] for name in ("python", "torch", "lightning")},
    }


def of(measured: Sequence[dict[str, Any]], arm: str) -> list[dict[str, Any]]:
    """The runs of an arm."""
    return [one for one in measured if one["arm"] == arm]


def paired(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of those seeds that every arm has."""
    seeds = set.intersection(*({one["seed"] for one in of(measured, arm)} for arm in ARMS))
    return [one for one in measured if one["seed"] in seeds]


def at(one: Mapping[str, Any], after: str, experience: int) -> list[float]:
    """Bits per byte of every domain after a day (``wake``) or a night."""
    return next(row["bits"] for row in one["rows"] if (row["after"], row["experience"]) == (after, experience))


def final(one: Mapping[str, Any]) -> list[float]:
    """Bits per byte of every domain at the end."""
    return list(one["rows"][-1]["bits"])


def lost(one: Mapping[str, Any]) -> list[float]:
    """By how many bits per byte every domain but the last has become worse since the end of its own day."""
    return [final(one)[domain] - at(one, "wake", domain)[domain] for domain in range(len(DOMAINS) - 1)]


def tables(measured: Sequence[dict[str, Any]]) -> str:
    """Bits per byte at the end, what was lost of each domain, and the matrix of one run with nights."""
    machines = records.Machines.of(measured)
    lines = [
        "Bits per byte of held-out text, less is better:",
        "",
        f"| arm | seeds | {' | '.join(DOMAINS)} | mean | lost since learnt, mean of all but the last | CPU seconds |",
        "|---" * (len(DOMAINS) + 5) + "|",
    ]
    for arm in ARMS:
        mine = of(measured, arm)
        if not mine:
            continue
        scores = [final(one) for one in mine]
        columns = [*zip(*scores, strict=True), [statistics.mean(score) for score in scores]]
        losses = [statistics.mean(lost(one)) for one in mine]
        cells = [records.spread(each) for each in (*columns, losses)]
        seeds = ", ".join(str(one["seed"]) for one in mine)
        lines.append(f"| {arm} | {seeds} | {' | '.join(cells)} | {machines.seconds(mine)} |")
    lines += ["", machines.legend]
    nights = of(measured, OURS)
    return "\n".join([*lines, *(matrix(nights[0]) if nights else [])])


def matrix(one: Mapping[str, Any]) -> list[str]:
    """Every day and night of one run, domain by domain; what comes next is left out."""
    lines = ["", f"Seed {one['seed']} of the nights:", "", f"| after | {' | '.join(DOMAINS)} |"]
    lines.append("|---" * (len(DOMAINS) + 1) + "|")
    for row in one["rows"]:
        reached = row["experience"]
        if reached < 0:
            continue
        name = f"{'day' if row['after'] == 'wake' else 'night'} {reached + 1}"
        seen = [f"{value:.2f}" if domain <= reached else "" for domain, value in enumerate(row["bits"])]
        lines.append(f"| {name} | {' | '.join(seen)} |")
    return lines


if __name__ == "__main__":
    main()

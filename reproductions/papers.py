"""The runs behind docs/reproductions.md: make those that are missing, then write the page anew.

    python -m reproductions.papers DATA_ROOT [--only TEXT ...] [--jobs N] [--minutes M] [--runs DIR]

Every run is a process of its own on one thread, so that its CPU time can be measured. Each is recorded in
``docs/measurements/reproductions.json`` when it is over; started again, the script continues with what is missing, and
a run that was cut off resumes from its last checkpoint. ``--minutes`` cuts each off after so many, for machines that
are lent for short whiles. Tables that need a GPU are left out where there is none. Without DATA_ROOT only the page is
written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from reproductions import records
from reproductions.tables import GROUPS, SEEDS, Group, Row

RECORD = records.MEASUREMENTS / "reproductions.json"
SUPERSEDED = records.MEASUREMENTS / "superseded.json"
"""Runs before a fault was mended, with the fault."""
PAGE = records.DOCS / "reproductions.md"
_STOPPED = 130
"""What ``dreamer run`` exits with when it was interrupted and has saved."""
_lock = threading.Lock()


def main() -> None:
    """Parse the command line, run, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--only", nargs="*", default=[], help="run only rows whose heading, label or seed holds these")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="stop a run after so many; the next call resumes it")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproductions"))
    words = parser.parse_args()
    if words.data_root is not None:
        missing = [each for each in runs(_gpu()) if each[0] not in recorded() and _chosen(each[0], words.only)]
        with ThreadPoolExecutor(words.jobs) as pool:
            list(pool.map(lambda each: run(words.data_root, words.runs, words.minutes, *each), missing))
    PAGE.write_text(page(recorded()), encoding="utf-8")


def runs(gpu: bool = True) -> list[tuple[str, tuple[str, ...], int]]:
    """Every run of the page once: its key, its words, its seed; with or without those that need a GPU."""
    found = {}
    # seed by seed, so that whoever stops early has something of everything
    for seed in SEEDS:
        for group in GROUPS if gpu else [group for group in GROUPS if not group.gpu]:
            for row in group.rows:
                if seed in row.seeds:
                    # a recipe is laid over the stream, then the table's settings, then the row's own
                    words = (*group.words[:1], *row.words[:1], *group.words[1:], *row.words[1:])
                    found[key(group, row, seed)] = (words, seed)
    return [(name, *each) for name, each in found.items()]


def key(group: Group, row: Row, seed: int) -> str:
    """The name of a run."""
    return f"{group.title} / {row.label} / seed {seed}"


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def run(data_root: str, folders: Path, minutes: float | None, name: str, words: Sequence[str], seed: int) -> None:
    """Make one run and record it; a failure is printed and leaves the others alone."""
    folder = folders / "".join(letter if letter.isalnum() else "_" for letter in name)
    start = [sys.executable, "-m", "dreamer", "run", "--quiet"]
    if (folder / "config.yaml").exists():
        command = [*start, "--resume", str(folder)]
    else:
        here = [word.replace("DATA_ROOT", data_root) for word in words]
        command = [*start, f"data.root={data_root}", *here, "--seed", str(seed), "--out", str(folder)]
    code, seconds = records.timed(command, folder.with_suffix(".log"), minutes)
    spent = folder.with_suffix(".seconds")
    seconds += float(spent.read_text()) if spent.exists() else 0.0
    spent.write_text(str(seconds))
    if code:
        state = "stopped, to be resumed" if code == _STOPPED else "failed"
        print(f"{state}: {name}; see {folder.with_suffix('.log')}", flush=True)
        return
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    entry = {
        "average_accuracy": results["metrics"]["average_accuracy"],
        "forgetting": results["metrics"]["forgetting"],
        "steps": sum(results["cost"]["optimizer_steps"].values()),
        "bytes": sum(results["cost"]["bytes"].values()),
        "cpu_seconds": round(seconds, 1),
        "command": " ".join(["dreamer run", *words, f"--seed {seed}"]),
    }
    with _lock:
        records.write(RECORD, recorded() | {name: entry})
    print(f"{name}: {100 * entry['average_accuracy']:.2f} %, {seconds:.0f} CPU-seconds", flush=True)


def recorded() -> dict[str, Any]:
    """The runs that are done."""
    return records.read(RECORD, {})


def _chosen(name: str, wanted: Sequence[str]) -> bool:
    return all(text in name for text in wanted)


def page(measured: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Reproductions",
        "",
        "Every recipe against the number that its authors published: protocol, published value, ours (mean and "
        "standard deviation over the seeds, test data, scored at the end), difference in points. Written by "
        "`reproductions/papers.py`, which anyone can run from a checkout; it resumes where it was stopped:",
        "",
        "<!-- not run: takes hours -->",
        "```bash",
        "python -m reproductions.papers DATA_ROOT --jobs 2",
        "```",
        "",
        "CPU seconds are those of one run on one thread of an AMD EPYC (of an Intel Xeon for the rows of the last "
        "section) that others shared.",
    ]
    for group in GROUPS:
        lines += ["", f"## {group.title}", "", group.protocol, ""]
        lines += [
            "| method | published (%) | ours (%) | seeds | difference | CPU seconds |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_line(group, row, measured) for row in group.rows]
        notes = dict.fromkeys(f"- {row.label}: {row.note}" for row in group.rows if row.note)
        lines += ["", *notes] if notes else []
    return "\n".join([*lines, *_superseded(measured)]) + "\n"


def _superseded(measured: dict[str, Any]) -> list[str]:
    """What rows were before a fault was mended, beside what they are now."""
    lines = ["", "## Before faults were mended"]
    for each in records.read(SUPERSEDED, []):
        lines += ["", each["fault"], "", "| table | method | seeds | before (%) | now (%) |", "|---|---|---|---|---|"]
        for group in GROUPS:
            for row in group.rows:
                keys = {seed: key(group, row, seed) for seed in row.seeds}
                seeds = [seed for seed, name in keys.items() if name in each["runs"]]
                if seeds:
                    before = _spread([each["runs"][keys[seed]] for seed in seeds])
                    again = [measured[keys[seed]] for seed in seeds if keys[seed] in measured]
                    now = _spread(again) if len(again) == len(seeds) else "not run yet"
                    lines.append(f"| {group.title} | {row.label} | {', '.join(map(str, seeds))} | {before} | {now} |")
    return lines


def _spread(runs: Sequence[dict[str, Any]]) -> str:
    """Mean and, of several runs, standard deviation of the average accuracy in per cent."""
    return records.spread([100 * run["average_accuracy"] for run in runs])


def _line(group: Group, row: Row, measured: dict[str, Any]) -> str:
    by_seed = {seed: measured.get(key(group, row, seed)) for seed in row.seeds}
    done = {seed: found for seed, found in by_seed.items() if found is not None}
    if isinstance(row.published, dict):
        published = ", ".join(f"{value:.1f} (seed {seed})" for seed, value in row.published.items())
        done = {seed: found for seed, found in done.items() if seed in row.published}
        wanted = statistics.mean([row.published[seed] for seed in done]) if done else None
    else:
        published, wanted = "-" if row.published is None else f"{row.published:.2f}", row.published
    published += f"; {row.source}" if row.published is not None and row.source else ""
    if not done:
        return f"| {row.label} | {published} | not run yet | | | |"
    mean = statistics.mean(100 * found["average_accuracy"] for found in done.values())
    ours = _spread(list(done.values()))
    difference = "" if wanted is None else f"{mean - wanted:+.2f}"
    seconds = statistics.mean(found["cpu_seconds"] for found in done.values())
    return f"| {row.label} | {published} | {ours} | {', '.join(map(str, done))} | {difference} | {seconds:.0f} |"


if __name__ == "__main__":
    main()

"""The runs behind the README's table and picture: make those that are missing, then write both anew.

    python -m reproductions.split_mnist DATA_ROOT [--runs DIR]

Every run is a process of its own on one thread, so that its CPU time can be measured. Started again, the script
continues with the runs that are missing. Without DATA_ROOT it only draws what ``docs/measurements/split_mnist.json``
holds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from reproductions import records

SEEDS = (11, 12, 13)
ARMS = {
    "no sleep": "fine_tune",
    "dreams, verbatim": "verbatim",
    "dreams, perturbed": "",
    "dreams and real images, perturbed": "augment",
}


def main() -> None:
    """Parse the command line, run, write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--runs", type=Path, default=Path("runs/measurements"))
    words = parser.parse_args()
    kept = records.MEASUREMENTS / "split_mnist.json"
    if words.data_root is not None:
        runs = [run(words.data_root, words.runs, arm, seed) for arm in ARMS for seed in SEEDS]
        records.write(kept, {"machine": records.machine(), "runs": runs})
    measured = json.loads(kept.read_text(encoding="utf-8"))
    print(table(measured["runs"]))
    draw(measured["runs"], records.MEASUREMENTS / "split_mnist.svg")


def run(data_root: str, folders: Path, arm: str, seed: int) -> dict[str, Any]:
    """Make one run, unless it is there; what it scored and cost."""
    folder = folders / f"{ARMS[arm] or 'dreams'}_{seed}"
    record = folder / "record.json"
    if record.exists():
        return json.loads(record.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "dreamer.cli", "run", "--quiet", "split_mnist", *filter(None, [ARMS[arm]])]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, f"data.root={data_root}", "--seed", str(seed), "--out", str(folder)], check=True, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured = summary(folder, arm, seed, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    record.write_text(json.dumps(measured), encoding="utf-8")
    return measured


def summary(folder: Path, arm: str, seed: int, cpu_seconds: float) -> dict[str, Any]:
    """The numbers of a run folder that table and picture need."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    last = {row["experience"]: row for row in results["accuracy_matrix"]["rows"] if row["experience"] >= 0}
    curve = [statistics.mean(row["accuracy"][: experience + 1]) for experience, row in sorted(last.items())]
    return {
        "arm": arm,
        "seed": seed,
        "average_accuracy": results["metrics"]["average_accuracy"],
        "forgetting": results["metrics"]["forgetting"],
        "sleep_gain": results["metrics"]["sleep_gain"],
        "curve": curve,
        "steps": sum(results["cost"]["optimizer_steps"].values()),
        "bytes": results["cost"]["bytes"],
        "cpu_seconds": round(cpu_seconds, 1),
        "versions": {name: results["versions"][name] for name in ("python", "torch", "lightning")},
    }


def table(runs: list[dict[str, Any]]) -> str:
    """The README's table."""
    lines = ["| arm | average accuracy (%) | seeds 11, 12, 13 | forgetting (%) | optimiser steps | CPU seconds |"]
    lines.append("|---|---|---|---|---|---|")
    for arm in ARMS:
        mine = [run for run in runs if run["arm"] == arm]
        scores = [100 * run["average_accuracy"] for run in mine]
        lost = statistics.mean(100 * run["forgetting"] for run in mine)
        seconds = statistics.mean(run["cpu_seconds"] for run in mine)
        each = ", ".join(f"{score:.2f}" for score in scores)
        lines.append(
            f"| {arm} | {records.spread(scores)} | {each} | {lost:.1f} | {mine[0]['steps']:,} | {seconds:.0f} |"
        )
    return "\n".join(lines)


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """The README's picture: accuracy over the experiences seen so far, as the stream goes on."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasSVG(figure)
    whole, close = figure.subplots(1, 2)
    colours = {"no sleep": "#7f7f7f", "dreams, verbatim": "#0072b2", "dreams, perturbed": "#cc79a7"}
    colours["dreams and real images, perturbed"] = "#e69f00"
    for arm, colour in colours.items():
        curves = [[100 * value for value in run["curve"]] for run in runs if run["arm"] == arm]
        mean = [statistics.mean(values) for values in zip(*curves, strict=True)]
        seen = range(1, len(mean) + 1)
        low, high = zip(*((min(values), max(values)) for values in zip(*curves, strict=True)), strict=True)
        for axes in (whole, close):
            axes.fill_between(seen, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(seen, mean, marker="o", color=colour, label=f"{arm}: {mean[-1]:.1f} %")
    for axes in (whole, close):
        axes.set_xticks(list(seen))
        axes.set_xlabel("experiences seen")
        axes.spines[["top", "right"]].set_visible(False)
    whole.set_ylabel("test accuracy on all classes seen so far (%)")
    whole.set_ylim(0, 102)
    whole.legend(frameon=False, loc="lower left")
    close.set_ylim(93, 100.2)
    close.set_title("the same, from 93 % upwards", fontsize="medium")
    # fixed identifiers: the same numbers give the same file
    with matplotlib.rc_context({"svg.hashsalt": "dreamer"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()

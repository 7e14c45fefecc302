"""The runs behind the README's table and picture of nights: make those that are missing, then write all anew.

    python -m reproductions.nights DATA_ROOT [--runs DIR] [--jobs N]

Every run is a process of its own on one thread, so that its CPU time can be measured. All arms of a stream but the one
without sleep replay equally many samples. Started again, the script continues with the runs that are missing. Without
DATA_ROOT it only writes table and picture of what ``docs/measurements/nights.json`` holds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer.metrics.significance import Paired, paired_differences, paired_tests
from reproductions import records

RECORD = records.MEASUREMENTS / "nights.json"
PICTURE = records.MEASUREMENTS / "nights.svg"
REFERENCE = "dreams awake and asleep"
OURS = "nights, perturbed"
COLOURS = {
    "no sleep": "#7f7f7f",
    "nights, verbatim": "#0072b2",
    OURS: "#cc79a7",
    REFERENCE: "#009e73",
}


@dataclass(frozen=True)
class Protocol:
    """How a stream is run.

    Attributes:
        seeds: those of the runs; none of them was used to choose a setting.
        arms: arguments of ``dreamer run`` behind the name of the stream.
    """

    seeds: tuple[int, ...]
    arms: Mapping[str, tuple[str, ...]]


# in every arm the samples that are replayed, awake and asleep, are as many as in the nights of `dreams`
STREAMS = {
    "split_mnist": Protocol(
        (21, 22),
        {
            "no sleep": ("fine_tune",),
            "nights, verbatim": ("verbatim",),
            OURS: (),
            REFERENCE: ("interleaved",),
        },
    ),
    "digits": Protocol(
        (21, 22, 23),
        {
            "no sleep": ("fine_tune",),
            "nights, verbatim": ("verbatim", "night.0.steps=460"),
            OURS: (),
            # not `interleaved`, whose maps are too large for 8 x 8 pixels
            REFERENCE: ("wake.replay=64", "night.1.steps=250", "night.0.lr_scale=1", "night.1.lr_scale=1"),
        },
    ),
}


def main() -> None:
    """Parse the command line, run, write numbers, table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--runs", type=Path, default=Path("runs/nights"))
    parser.add_argument("--jobs", type=int, default=1)
    words = parser.parse_args()
    if words.data_root is not None:
        with ThreadPoolExecutor(words.jobs) as pool:
            made = list(pool.map(lambda one: run(words.data_root, words.runs, *one), wanted()))
        records.write(RECORD, {"machine": records.machine(), "runs": made})
    measured = recorded()
    for stream in STREAMS:
        print(f"{stream}\n\n{table(measured, stream)}\n")
    draw(measured, PICTURE)


def wanted() -> list[tuple[str, str, int]]:
    """Stream, arm and seed of every run, seed by seed, so that what is there early is paired."""
    return [
        (stream, arm, seed) for stream, protocol in STREAMS.items() for seed in protocol.seeds for arm in protocol.arms
    ]


def recorded() -> list[dict[str, Any]]:
    """The numbers of the runs that were made."""
    return records.read(RECORD, {"runs": []})["runs"]


def run(data_root: str, folders: Path, stream: str, arm: str, seed: int) -> dict[str, Any]:
    """Make one run, unless it is there; what it scored and cost."""
    folder = folders / stream / f"{arm.replace(' ', '_').replace(',', '')}_{seed}"
    record = folder / "record.json"
    if record.exists():
        return json.loads(record.read_text(encoding="utf-8"))
    words = [stream, *STREAMS[stream].arms[arm], "--seed", str(seed)]
    command = [sys.executable, "-m", "dreamer.cli", "run", "--quiet", *words, f"data.root={data_root}"]
    code, seconds = records.timed([*command, "--out", str(folder)], folder.with_suffix(".log"))
    if code:
        raise SystemExit(f"the run failed: {' '.join(command)}; see {folder.with_suffix('.log')}")
    measured = {
        "stream": stream,
        "arm": arm,
        "seed": seed,
        "command": f"dreamer run {' '.join(words)}",
        **numbers(json.loads((folder / "results.json").read_text(encoding="utf-8"))),
        "cpu_seconds": round(seconds, 1),
    }
    record.write_text(json.dumps(measured), encoding="utf-8")
    return measured


def numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a run that table and picture need."""
    rows = [row for row in results["accuracy_matrix"]["rows"] if row["experience"] >= 0]
    return {
        "average_accuracy": results["metrics"]["average_accuracy"],
        "forgetting": results["metrics"]["forgetting"],
        "sleep_gain": results["metrics"]["sleep_gain"],
        "curve": [
            [row["experience"], row["after"], statistics.mean(row["accuracy"][: row["experience"] + 1])] for row in rows
        ],
        "samples": results["cost"]["samples"],
        "steps": sum(results["cost"]["optimizer_steps"].values()),
        "bytes": results["cost"]["bytes"],
        "versions": {name: results["versions"][name] for name in ("python", "torch", "lightning")},
    }


def of(measured: Sequence[dict[str, Any]], stream: str, arm: str) -> list[dict[str, Any]]:
    """The runs of an arm on a stream."""
    return [one for one in measured if (one["stream"], one["arm"]) == (stream, arm)]


def contrasts(measured: Sequence[dict[str, Any]], stream: str) -> dict[str, Paired]:
    """What each other arm that sleeps is below nights with perturbed dreams, in percentage points, seed by seed."""
    scores = {
        arm: {one["seed"]: 100 * one["average_accuracy"] for one in of(measured, stream, arm)}
        for arm in STREAMS[stream].arms
    }
    others = [arm for arm in scores if arm not in (OURS, "no sleep")]
    tested = paired_tests([paired_differences(scores[OURS], scores[other]) for other in others])
    return dict(zip(others, tested, strict=True))


def table(measured: Sequence[dict[str, Any]], stream: str) -> str:
    """The table of a stream."""
    lines = [
        "| arm | average accuracy (%) | gain per night (points) | forgetting (%) | samples replayed | CPU seconds | "
        "nights, perturbed, minus this (points) |",
        "|---|---|---|---|---|---|---|",
    ]
    against = contrasts(measured, stream)
    for arm in STREAMS[stream].arms:
        mine = of(measured, stream, arm)
        gains = [100 * one["sleep_gain"] for one in mine if one["sleep_gain"] is not None]
        replayed = sum(count for kind, count in mine[0]["samples"].items() if kind != "wake")
        cells = [
            arm,
            records.spread([100 * one["average_accuracy"] for one in mine]),
            records.spread(gains, 1) if gains else "",
            records.spread([100 * one["forgetting"] for one in mine], 1),
            f"{replayed:,}",
            records.spread([one["cpu_seconds"] for one in mine], 0),
            difference(against[arm]) if arm in against else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(paired: Paired) -> str:
    """A paired difference with its interval, in percentage points."""
    if paired.difference is None or paired.low is None or paired.high is None or paired.p_holm is None:
        return "too few seeds"
    return f"{paired.difference:+.2f} ({paired.low:+.2f} to {paired.high:+.2f}), p = {paired.p_holm:.3f}"


def draw(measured: Sequence[dict[str, Any]], path: Path) -> None:
    """The README's picture: accuracy on the classes seen so far, after every day and after every night."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasSVG(figure)
    whole, close = figure.subplots(1, 2)
    for arm, colour in COLOURS.items():
        curves = [one["curve"] for one in of(measured, "split_mnist", arm)]
        for axes in (whole, close):
            places = [experience + (0.5 if after == "wake" else 1) for experience, after, _ in curves[0]]
            scores = [[100 * row[2] for row in curve] for curve in curves]
            mean = [statistics.mean(values) for values in zip(*scores, strict=True)]
            low, high = zip(*((min(values), max(values)) for values in zip(*scores, strict=True)), strict=True)
            axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(places, mean, marker="o", markersize=4, color=colour, label=f"{arm}: {mean[-1]:.1f} %")
    for axes in (whole, close):
        for night in range(5):
            axes.axvspan(night + 0.5, night + 1, color="#2b3a67", alpha=0.08, linewidth=0)
        axes.set_xticks([night + 0.25 for night in range(5)], [f"day {night + 1}" for night in range(5)])
        axes.set_xlim(0, 5.1)
        axes.spines[["top", "right"]].set_visible(False)
    whole.set_ylabel("test accuracy on all classes seen so far (%)")
    whole.set_ylim(0, 102)
    whole.legend(frameon=False, loc="lower left", fontsize="small")
    close.set_ylim(93, 100.2)
    close.set_title("the same, from 93 % upwards; shaded: night", fontsize="medium")
    records.save_svg(figure, path)


if __name__ == "__main__":
    main()

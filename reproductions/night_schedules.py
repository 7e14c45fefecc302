"""The runs behind the picture of when nights come and how long they are: make those that are missing, then draw anew.

    python -m reproductions.night_schedules [--runs DIR]

The embedded digits with the recipe `dreams`, which replays nothing by day. Nights come after every experience, every
100 wake steps, or where drift is found; a night is so long that all nights of a schedule that is known beforehand take
equally many steps. Started again, the script continues with the runs that ``docs/measurements/night_schedules.json``
does not hold. Without DIR it only writes the table of docs/strategies.md and draws.
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

RUNS = records.Runs(records.MEASUREMENTS / "night_schedules.json", ("schedule", "budget", "seed"))
PICTURE = records.MEASUREMENTS / "night_schedules.svg"
PAGE = records.DOCS / "strategies.md"
SEEDS = (31, 32, 33)
"""None of them was used to choose a setting."""
BUDGETS = (58, 115, 230, 460, 920)
"""Steps of sleep for each experience. The recipe's nights have 460."""
SCHEDULES: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "after every experience": ({"name": "boundary"}, 1),
    "every 100 steps": ({"name": "every_n_steps", "n": 100}, 4),
    "where drift is found": ({"name": "drift"}, 1),
}
"""What a run is configured with, and the nights an experience into which its steps of sleep are divided."""
COLOURS = {"after every experience": "#cc79a7", "every 100 steps": "#0072b2", "where drift is found": "#d55e00"}


def main() -> None:
    """Parse the command line, run, write numbers, table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=None, help="make the runs that are missing, in this folder")
    words = parser.parse_args()
    if words.runs is not None:
        torch.set_num_threads(1)
        runs.quiet_lightning()
        RUNS.make(wanted(), lambda *which: run(words.runs, *which))
    records.write_between(PAGE, "night_schedules", table(RUNS.all()))
    draw(RUNS.all(), PICTURE)


def wanted() -> list[tuple[str, int, int]]:
    """Schedule, steps of sleep for each experience and seed of every run."""
    return [(schedule, budget, seed) for seed in SEEDS for budget in BUDGETS for schedule in SCHEDULES]


def of(measured: Sequence[dict[str, Any]], schedule: str, budget: int) -> list[dict[str, Any]]:
    """The runs of a schedule with so many steps of sleep."""
    return [one for one in measured if (one["schedule"], one["budget"]) == (schedule, budget)]


def settings(schedule: str, budget: int) -> dict[str, Any]:
    """What is laid over ``dreamer run digits``."""
    chosen, parts = SCHEDULES[schedule]
    # as the recipe divides a night: 50 of 460 steps are NREM's
    nrem, whole = max(1, round(budget * 50 / 460 / parts)), round(budget / parts)
    return {"schedule": dict(chosen), "night.0.steps": nrem, "night.1.steps": whole - nrem}


def run(folders: Path, schedule: str, budget: int, seed: int) -> dict[str, Any]:
    """Make one run; what it kept and what its nights took."""
    given = settings(schedule, budget)
    folder = folders / f"{schedule.replace(' ', '_')}_{budget}_{seed}"
    nights = [f"{key}={value}" for key, value in given.items() if key != "schedule"]
    plain = config.read("digits", {"schedule": given["schedule"]}, *nights, "dream_quality=null", seed=seed)
    results = runs.execute(runs.prepare(plain, folder))
    steps = results["cost"]["optimizer_steps"]
    return {
        "configuration": given,
        "average_accuracy": results["metrics"]["average_accuracy"],
        "nights": sum(row["after"] == "night" for row in results["accuracy_matrix"]["rows"]),
        "sleep_steps": steps["nrem"] + steps["rem"],
        "wake_steps": steps["wake"],
        "versions": {name: results["versions"][name] for name in ("python", "torch", "lightning")},
    }


def table(measured: Sequence[dict[str, Any]]) -> str:
    """Nights, steps of sleep and what is kept, a row for each schedule and length."""
    lines = [
        "| nights come | nights | steps of sleep in all | average accuracy (%) |",
        "|---|---|---|---|",
    ]
    for schedule in SCHEDULES:
        for budget in BUDGETS:
            mine = of(measured, schedule, budget)
            cells = [
                schedule,
                f"{statistics.mean(one['nights'] for one in mine):.3g}",
                f"{statistics.mean(one['sleep_steps'] for one in mine):,.0f}",
                records.spread([100 * one["average_accuracy"] for one in mine]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(measured: Sequence[dict[str, Any]], path: Path) -> None:
    """What is kept against the steps of sleep, a line for each schedule."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for schedule in SCHEDULES:
        groups = [of(measured, schedule, budget) for budget in BUDGETS]
        steps = [statistics.mean(one["sleep_steps"] for one in group) for group in groups]
        scores = [[100 * one["average_accuracy"] for one in group] for group in groups]
        axes.plot(
            steps, [statistics.mean(each) for each in scores], marker="o", color=COLOURS[schedule], label=schedule
        )
        axes.fill_between(
            steps, [min(each) for each in scores], [max(each) for each in scores], color=COLOURS[schedule], alpha=0.15
        )
    axes.set_xscale("log")
    ticks = [5 * budget for budget in BUDGETS]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("steps of sleep in all (days have 2,000 steps)")
    axes.set_ylabel("average test accuracy at the end (%)")
    axes.set_title("nights come", fontsize="medium", loc="left")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    records.save_svg(figure, path)


if __name__ == "__main__":
    main()

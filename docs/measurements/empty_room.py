"""The README's picture of the empty room, drawn from ``docs/studies/empty-room/courses.csv``.

    python docs/measurements/empty_room.py

The numbers are those of ``dreamer study empty-room``, which writes such a file into its folder.
"""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
COURSES = HERE.parent / "studies" / "empty-room" / "courses.csv"
DATA = "mnist_100"
ARMS = {
    "awake_bent": ("awake, the day's images bent", "#e69f00"),
    "dreams_bent": ("asleep, bent dreams", "#cc79a7"),
    "dreams_plain": ("asleep, dreams as they come", "#0072b2"),
    "awake": ("awake, the day's images as they are", "#009e73"),
    "nothing": ("nothing", "#7f7f7f"),
}

Course = dict[float, float]


def main() -> None:
    """Draw."""
    draw(read(COURSES), HERE / "empty_room.svg")


def read(path: Path) -> dict[str, list[Course]]:
    """Accuracy in per cent by night, a course for each seed, by arm."""
    found: dict[str, dict[str, Course]] = defaultdict(lambda: defaultdict(dict))
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["data"] == DATA and row["accuracy"]:
                found[row["arm"]][row["seed"]][float(row["night"])] = 100 * float(row["accuracy"])
    return {arm: list(courses.values()) for arm, courses in found.items()}


def draw(courses: dict[str, list[Course]], path: Path) -> None:
    """Mean accuracy over the seeds after the day and after each night; shaded from the worst seed to the best."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for arm, (label, colour) in ARMS.items():
        nights = sorted(courses[arm][0])
        values = [[course[night] for course in courses[arm]] for night in nights]
        mean = [statistics.mean(seeds) for seeds in values]
        low, high = map(min, values), map(max, values)
        axes.fill_between(nights, list(low), list(high), color=colour, alpha=0.15, linewidth=0)
        axes.plot(nights, mean, marker="o", markersize=4, color=colour, label=f"{label}: {mean[-1]:.1f} %")
    axes.set_xticks(nights)
    axes.set_xlabel(
        "nights (100 optimiser steps each) after a day of 100 images a class; nothing new is ever seen again"
    )
    axes.set_ylabel("accuracy on real\ntest images (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    # fixed identifiers: the same numbers give the same file
    with matplotlib.rc_context({"svg.hashsalt": "dreamer"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()

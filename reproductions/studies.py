"""The pictures of what the studies found, drawn from the curves that they recorded.

    python -m reproductions.studies

``dreamer study NAME`` writes such a ``curves.csv`` into its folder; those of the full studies lie in ``docs/studies``.
"""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from reproductions import records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STUDIES = records.DOCS / "studies"
EMPTY_ROOM = {
    "awake_perturbed": ("the real images, perturbed", "#e69f00"),
    "dreams_perturbed": ("dreams, perturbed", "#cc79a7"),
    "dreams_plain": ("dreams, unperturbed", "#0072b2"),
    "awake": ("the real images, unperturbed", "#009e73"),
    "nothing": ("no further training", "#7f7f7f"),
}
SNAKE = {
    "real_100": ("real images", "#7f7f7f"),
    "real_50": ("half real, half dreams", "#009e73"),
    "accumulate": ("real images and all dreams so far", "#0072b2"),
    "real_10": ("a tenth real", "#e69f00"),
    "replace": ("the last dreams", "#cc79a7"),
}
PUBLISHED = {"precision": (92, 96), "recall": (88, 96)}
"""Per cent over more than ten generations with all real images kept: Alemohammad et al. 2023, by its axes."""

Curve = dict[float, float]


def main() -> None:
    """Draw."""
    empty_room(read("empty-room", "mnist_100", "accuracy"), records.MEASUREMENTS / "empty_room.svg")
    snake(
        {measure: read("snake", "mnist", measure) for measure in ("precision", "recall", "frechet")},
        records.MEASUREMENTS / "snake.svg",
    )


def read(study: str, data: str, measure: str) -> dict[str, list[Curve]]:
    """A measure along its axis, in per cent where it is a fraction, a curve for each seed, by arm."""
    factor = 1 if measure == "frechet" else 100
    found: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
    with (STUDIES / study / "curves.csv").open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file)
        axis = (lines.fieldnames or ())[3]
        for row in lines:
            if row["data"] == data and row[measure]:
                found[row["arm"]][row["seed"]][float(row[axis])] = factor * float(row[measure])
    return {arm: list(curves.values()) for arm, curves in found.items()}


def empty_room(curves: dict[str, list[Curve]], path: Path) -> None:
    """Mean accuracy over the seeds after the day and after each night; shaded from the worst seed to the best."""
    figure = _figure(9, 3.6)
    axes = figure.subplots()
    for arm, (label, colour) in EMPTY_ROOM.items():
        last = _line(axes, curves[arm], label, colour)
        axes.lines[-1].set_label(f"{label}: {last:.1f} %")
    axes.set_xlabel("nights (100 optimiser steps each)\nafter training on 100 images a class; no new data ever again")
    axes.set_ylabel("accuracy on real\ntest images (%)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    records.save_svg(figure, path)


def snake(curves: dict[str, dict[str, list[Curve]]], path: Path) -> None:
    """Mean of each measure over the seeds, generation by generation; shaded from the worst seed to the best."""
    figure = _figure(11, 4)
    panels = figure.subplots(1, 3)
    labels = {"precision": "precision (%)", "recall": "recall (%)", "frechet": "Fréchet distance"}
    for axes, (measure, label) in zip(panels, labels.items(), strict=True):
        if measure in PUBLISHED:
            axes.axhspan(*PUBLISHED[measure], color="#000000", alpha=0.07, linewidth=0, label="published, half real")
        for arm, (name, colour) in SNAKE.items():
            _line(axes, curves[measure][arm], name, colour)
        axes.set_ylabel(label)
        axes.set_ylim(0, 103 if measure in PUBLISHED else None)
        axes.set_xlabel("generation")
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    records.save_svg(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def _line(axes: Axes, curves: list[Curve], label: str, colour: str) -> float:
    """Draw the mean of some curves and what they span; returns where the mean ends."""
    places = sorted(curves[0])
    values = [[curve[place] for curve in curves] for place in places]
    mean = [statistics.mean(seeds) for seeds in values]
    axes.fill_between(places, list(map(min, values)), list(map(max, values)), color=colour, alpha=0.15, linewidth=0)
    axes.plot(places, mean, marker="o", markersize=4, color=colour, label=label)
    axes.set_xticks(places)
    axes.spines[["top", "right"]].set_visible(False)
    return mean[-1]


if __name__ == "__main__":
    main()

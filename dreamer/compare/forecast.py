"""What a grid is going to cost, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dreamer.compare.analysis import stores_words
from dreamer.compare.budget import Plan, plan_cell
from dreamer.compare.cells import Cell
from dreamer.compare.grid import Grid
from dreamer.core.text import DASH, aligned, number, plural, size
from dreamer.jobs.manifest import completed
from dreamer.report.results import results_in

_HEADINGS = ("arm", "runs", "left", "steps", "replayed", "stores real samples", "kept", "seconds")


@dataclass(frozen=True)
class Forecast:
    """What the runs of an arm on a stream cost.

    Attributes:
        runs: as many as there are seeds.
        left: those that are not completed yet.
        plan: of one run; of Avalanche's arms the steps alone are known.
        seconds: of one run, in the mean of those that are completed; None where there is none.
    """

    arm: str
    stream: str
    runs: int
    left: int
    plan: Plan
    seconds: float | None
    avalanche: bool = False


def forecasts(grid: Grid, folder: Path) -> list[Forecast]:
    """Plan every arm on every stream; runs that are completed in the folder say how long one takes."""
    by_arm: dict[tuple[str, str], list[Cell]] = {}
    for cell in grid.cells:
        by_arm.setdefault((cell.stream, cell.arm), []).append(cell)
    return [_forecast(cells, folder) for cells in by_arm.values()]


def forecast_text(grid: Grid, folder: Path, workers: int = 1) -> str:
    """The plan of a whole grid, as ``dreamer compare --dry-run`` prints it."""
    found = forecasts(grid, folder)
    blocks = [f"{grid.title}: nothing is run"]
    for stream in dict.fromkeys(each.stream for each in found):
        rows = [_HEADINGS, *(_row(each) for each in found if each.stream == stream)]
        blocks.append("\n".join([f"{stream}: each run is going to take", *aligned(rows, [0, 5])]))
    blocks.append(_total(found, folder, workers))
    notes = [f"warning: {warning}" for warning in grid.warnings]
    if any(each.plan.open for each in found):
        notes.append("where nights are decided during the run, steps and replayed samples are upper bounds")
    if any(each.avalanche for each in found):
        notes.append("what Avalanche's strategies replay and keep is not known before they run")
    return "\n\n".join([*blocks, *filter(None, ["\n".join(notes)])])


def _forecast(cells: Sequence[Cell], folder: Path) -> Forecast:
    done = [folder / cell.folder for cell in cells if completed(folder / cell.folder)]
    took = [sum(results_in(place)["cost"]["seconds"].values()) for place in done]
    first = cells[0]
    return Forecast(
        first.arm,
        first.stream,
        len(cells),
        len(cells) - len(done),
        plan_cell(first),
        sum(took) / len(took) if took else None,
        first.avalanche is not None,
    )


def _row(each: Forecast) -> tuple[str, ...]:
    plan = each.plan
    unknown = each.avalanche
    return (
        each.arm,
        str(each.runs),
        str(each.left),
        number(plan.steps),
        DASH if unknown else number(plan.replayed),
        DASH if unknown else stores_words(plan.stores),
        DASH if unknown else size(plan.nbytes),
        number(each.seconds, "{:,.1f}"),
    )


def _total(found: Iterable[Forecast], folder: Path, workers: int) -> str:
    left = [each for each in found if each.left]
    if not left:
        return f"all runs are completed in {folder}"
    runs, steps = sum(each.left for each in left), sum(each.left * each.plan.steps for each in left)
    text = f"{plural(runs, 'run')} left, {number(steps)} optimiser steps in all, "
    known = [each for each in left if each.seconds is not None]
    if len(known) < len(left):
        unknown = ", ".join(dict.fromkeys(each.arm for each in left if each.seconds is None))
        return text + f"time unknown: no run is completed yet of {unknown}"
    seconds = sum(each.left * (each.seconds or 0.0) for each in left) / max(1, min(workers, runs))
    return text + f"about {timedelta(seconds=round(seconds))} of training with {plural(workers, 'worker')}"

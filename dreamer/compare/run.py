"""From what was asked for to a report: write the cells down, live those that are missing, write what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dreamer import config
from dreamer.compare import collect, grid
from dreamer.compare.analysis import Analysis, analyse
from dreamer.compare.page import write_page
from dreamer.compare.results import Comparison
from dreamer.compare.tables import print_comparison, write_tables
from dreamer.config.binding import ConfigError
from dreamer.jobs import pool
from dreamer.jobs.display import Display
from dreamer.jobs.lock import locked
from dreamer.jobs.tracker import finished

GRID = "grid.yaml"


@dataclass(frozen=True)
class Resources:
    """With what the cells are lived; but for the rounding of sums, none of it changes a number.

    Attributes:
        kind: ``local`` worker processes, or a ``ray`` cluster.
        workers: cells at once on this machine.
        threads: of each cell. One by default: sums are rounded in another order with more.
        devices: GPUs that are dealt out to the workers; None lets all see all.
        address: of the Ray cluster; None starts one here.
        retries: how many more tries a cell gets that dies.
    """

    kind: Literal["local", "ray"] = "local"
    workers: int = 1
    threads: int = 1
    devices: tuple[str, ...] | None = None
    address: str | None = None
    retries: int = 1


def compare(
    asked: Mapping[str, Any], folder: str | Path, means: Resources | None = None, mix: bool = False, command: str = ""
) -> Comparison:
    """Live a grid, as far as it has not been lived, and write its report.

    Args:
        asked: see :func:`dreamer.compare.grid.read`.
        folder: of the comparison; one that is there already is gone on with.
        means: with what.
        mix: go on with cells that another version of the code lived.
        command: what was typed.

    Returns:
        The comparison; cells that failed are among its missing ones.

    Raises:
        ConfigError: when it cannot be lived as configured; no cell has been lived then.
        dreamer.jobs.tracker.Interrupted: when it was stopped by hand.
    """
    folder, wanted = Path(folder), grid.read(asked)
    with locked(folder):
        _write_down(wanted, folder, mix)
        places = [folder / cell.folder for cell in wanted.cells]
        left = [place for place in places if not finished(place)]
        reasons = _live(left, len(places) - len(left), means or Resources())
        comparison = collect.of_grid(wanted, folder, command, reasons)
        report(comparison, folder)
    if wanted.wandb:
        _log_table(comparison, folder)
    return comparison


def report(comparison: Comparison, folder: Path) -> Analysis:
    """Write tables and page of a comparison into a folder, and print the table.

    Raises:
        ConfigError: when the folder cannot be written to.
    """
    analysis = analyse(comparison)
    try:
        write_tables(comparison, analysis, folder)
        write_page(comparison, analysis, folder)
    except OSError as error:
        raise ConfigError(f"cannot write the report to {folder}: {error.strerror}") from error
    print_comparison(comparison, analysis)
    return analysis


def _write_down(wanted: grid.Grid, folder: Path, mix: bool) -> None:
    """Every cell, before the first is lived; what is there must say the same."""
    for cell in wanted.cells:
        grid.settled(cell, folder / cell.folder, mix)
    for cell in wanted.cells:
        grid.write_cell(cell, folder / cell.folder, mix)
    config.save(wanted.asked, folder / GRID)


def _live(left: list[Path], before: int, means: Resources) -> dict[Path, str]:
    if not left:
        return {}
    with Display(left, before) as display:
        if means.kind == "ray":
            from dreamer.jobs.ray import live_all_on_ray

            outcomes = live_all_on_ray(
                left,
                address=means.address,
                threads=means.threads,
                gpus=float(means.devices is not None),
                retries=means.retries,
                watch=display,
            )
        else:
            outcomes = pool.live_all(
                left,
                workers=means.workers,
                retries=means.retries,
                threads=means.threads,
                devices=means.devices,
                watch=display,
            )
    return {outcome.folder: outcome.reason for outcome in outcomes if not outcome.done}


def _log_table(comparison: Comparison, folder: Path) -> None:
    from dreamer.loggers.wandb import log_table

    rows = [
        (life.stream, life.arm, life.seed, *(life.results["metrics"].get(name) for name in _COLUMNS))
        for life in comparison.lives
    ]
    log_table(folder, comparison.title, ["stream", "arm", "seed", *_COLUMNS], rows)


_COLUMNS = ("average_accuracy", "forgetting", "backward_transfer", "forward_transfer", "sleep_gain")

"""From a grid to a report: write the cells down, run those that are missing, report what they found."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamer import config
from dreamer.compare import collect, grid
from dreamer.compare.analysis import Analysis, analyse
from dreamer.compare.page import write_page
from dreamer.compare.results import Comparison
from dreamer.compare.tables import METRICS, print_comparison, write_tables
from dreamer.config.binding import ConfigError
from dreamer.core.lock import locked
from dreamer.jobs import runner
from dreamer.jobs.runner import Resources
from dreamer.metrics.significance import pairs_needed, smallest_p

GRID = "grid.yaml"


def compare(
    asked: Mapping[str, Any],
    folder: str | Path,
    resources: Resources | None = None,
    mix: bool = False,
    command: str = "",
) -> Comparison:
    """Run strategies x benchmarks x seeds and write a report. Re-running resumes unfinished runs.

    Args:
        asked: see :func:`dreamer.compare.grid.read`.

    Returns:
        The comparison; cells that failed are among its missing ones.

    Raises:
        ConfigError: when it cannot be run as configured; nothing has been run then.
        dreamer.jobs.job.Interrupted: when it was stopped by hand.
    """
    folder, wanted = Path(folder), grid.read(asked)
    with locked(folder):
        runner.write_down({folder / cell.folder: cell.plain() for cell in wanted.cells}, grid.PROGRAM, mix)
        config.save(wanted.asked, folder / GRID)
        folders = [folder / cell.folder for cell in wanted.cells]
        warn_of_few_seeds(len({cell.seed for cell in wanted.cells}))
        reasons = runner.run_missing(folders, grid.PROGRAM, resources or Resources())
        comparison = collect.of_grid(wanted, folder, command, reasons)
        report(comparison, folder)
    if wanted.wandb:
        _log_table(comparison, folder)
    return comparison


def warn_of_few_seeds(seeds: int) -> None:
    """Say, before anything runs, when there are too few seeds for any conclusion."""
    enough = pairs_needed()
    if seeds < enough:
        print(
            f"{seeds} seeds: with fewer than {enough} no difference can be concluded, because even the smallest p of a "
            f"signed-rank test, {smallest_p(seeds):.3g}, is above 0.05; --seeds {enough} is the least",
            file=sys.stderr,
        )


def report(comparison: Comparison, folder: Path) -> Analysis:
    """Write tables and page of a comparison into a folder, or say why not, and print the table."""
    analysis = analyse(comparison)
    try:
        write_tables(comparison, analysis, folder)
        write_page(comparison, analysis, folder)
    except OSError as error:
        raise ConfigError(f"cannot write the report to {folder}: {error.strerror}") from error
    print_comparison(comparison, analysis)
    return analysis


def _log_table(comparison: Comparison, folder: Path) -> None:
    from dreamer.loggers.wandb import log_table

    columns = [name for name in METRICS if name != "forgetting_max"]
    rows = [
        (run.stream, run.arm, run.seed, *(run.results["metrics"].get(name) for name in columns))
        for run in comparison.runs
    ]
    log_table(folder, comparison.title, ["stream", "arm", "seed", *columns], rows)

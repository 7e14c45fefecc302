"""From a grid to a report: write the cells down, run those that are missing, report what they found."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dreamer import config
from dreamer.compare import collect, grid
from dreamer.compare.analysis import Analysis, analyse, costs
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
        analysis = report(comparison, folder)
    if wanted.wandb:
        (options,) = wanted.cells[0].config["logger"]
        log_to_wandb(comparison, analysis, folder, options)
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


def log_to_wandb(comparison: Comparison, analysis: Analysis, folder: Path, options: Mapping[str, Any]) -> None:
    """One run of W&B for the whole comparison: every cell, and mean, deviation and number over the seeds."""
    from dreamer.loggers.wandb import log_comparison

    columns = [name for name in METRICS if name != "forgetting_max"]
    spent = list(asdict(costs({})))
    rows = [
        (
            *(run.stream, run.arm, run.seed),
            *(run.results["metrics"].get(name) for name in columns),
            *asdict(costs(run.results)).values(),
        )
        for run in comparison.runs
    ]
    over = [name for name in columns if name != "average_accuracy"]
    means, summary = [], dict[str, float | None]()
    for row in analysis.standings:
        found = {"average_accuracy": row.accuracy, **{name: row.secondary[name] for name in over}}
        means.append(
            (
                *(row.stream, row.arm, row.accuracy.n),
                *(value for each in found.values() for value in (each.mean, each.std)),
                *(asdict(row.costs).values()),
                row.stores,
            )
        )
        for name, each in found.items():
            told = {"mean": each.mean, "std": each.std, "n": each.n or None}
            summary |= {f"{row.stream}/{row.arm}/{name}/{key}": value for key, value in told.items()}
    head = [f"{name} {what}" for name in ("average_accuracy", *over) for what in ("mean", "std")]
    tables = {
        "comparison": (["stream", "arm", "seed", *columns, *spent], rows),
        "over seeds": (["stream", "arm", "n", *head, *spent, "stores"], means),
    }
    log_comparison(folder, comparison.title, tables, summary, options)

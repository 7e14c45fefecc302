"""``dreamer metrics``: the numbers of runs that are over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dreamer.config.binding import ConfigError


def metrics(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN_FOLDER ...", help="Run folders.", show_default=False)],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print fractions as JSON, an object for each folder.")
    ] = False,
) -> None:
    """Compute all metrics of runs anew, from the evaluations that their folders hold; train nothing."""
    from dreamer.report.results import evaluations_within, metrics_of, read_results
    from dreamer.report.table import metric_lines

    found = {}
    for folder in folders:
        try:
            results = read_results(folder)
            found[folder] = {**results, "metrics": metrics_of(results)}
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"expected a run folder with the results of a run at {str(folder)!r}: {error}") from None
    if as_json:
        numbers = {
            str(folder): {**results["metrics"], "evaluations_within_stages": evaluations_within(results)}
            for folder, results in found.items()
        }
        typer.echo(json.dumps(numbers, indent=1))
        return
    for folder, results in found.items():
        typer.echo(typer.style(str(folder), bold=True))
        typer.echo("\n".join(metric_lines(results)))
        within = evaluations_within(results)
        if within:
            typer.echo(f"worst scores, gap and recovery: from {within:,} evaluations within stages")
        else:
            typer.echo(
                "worst scores, gap and recovery: from evaluations after stages alone, which miss what happens within; "
                "continual_evaluation.every_n_steps=N evaluates there"
            )

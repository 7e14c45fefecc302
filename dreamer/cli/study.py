"""``dreamer study``: questions whose contrasts and margins are fixed before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dreamer.cli.common import Allow, Mix, Threads, Workers, command_line, stopped
from dreamer.cli.common import seeds as numbers
from dreamer.cli.compare import run_comparison
from dreamer.config.binding import ConfigError


def study(
    name: Annotated[
        str,
        typer.Argument(
            help="A study by name (dreamer list studies), the path of a YAML, or: ablation STRATEGY, which "
            "leaves out one part of a recipe's nights at a time."
        ),
    ],
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="Settings that replace those of the study.", show_default=False),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A shorter version: the quick section of the study's YAML.")
    ] = False,
    stream: Annotated[
        str | None, typer.Option(help="For an ablation: a configuration that names a stream.", show_default="digits")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="For an ablation: number of seeds, or a list: 11,12,13.", show_default="10")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="runs/study/NAME, NAME-quick")
    ] = None,
    workers: Workers = 1,
    threads: Threads = 1,
    mix: Mix = False,
    allow: Allow = None,
) -> None:
    """Run a pre-registered experiment and compute its verdict. Re-running resumes unfinished runs."""
    from dreamer.runs.run import quiet_lightning

    quiet_lightning()
    if name == "ablation":
        _ablation(items or [], quick, stream, seeds, out, workers, threads, mix)
        return
    if stream or seeds:
        raise ConfigError(
            "--stream and --seeds are an ablation's; a study's own stand in its YAML: data.NAME.seeds=[11,12]"
        )
    from dreamer.jobs.job import Interrupted
    from dreamer.jobs.runner import Resources
    from dreamer.studies import run as studies
    from dreamer.studies.study import load, short_of_seeds
    from dreamer.studies.tables import plain_findings

    registered = load(name, items or [], quick)
    if warning := short_of_seeds(registered):
        typer.echo(warning, err=True)
    folder = out or Path("runs") / "study" / (f"{registered.name}-quick" if quick else registered.name)
    try:
        findings = studies.conduct(registered, folder, Resources(workers=workers, threads=threads), mix, command_line())
    except Interrupted:
        raise stopped(folder) from None
    typer.echo(f"{plain_findings(findings)}\n\nreport: {folder / 'report.html'}")
    if findings.missing:
        raise typer.Exit(1)


def _ablation(
    items: list[str],
    quick: bool,
    stream: str | None,
    seeds: str | None,
    out: Path | None,
    workers: int,
    threads: int,
    mix: bool,
) -> None:
    """Run a recipe without each part of its nights in turn, and report on it as a comparison."""
    from dreamer.compare import ablation
    from dreamer.jobs.manifest import slug
    from dreamer.jobs.runner import Resources

    strategies, words = [item for item in items if "=" not in item], [item for item in items if "=" in item]
    if len(strategies) != 1:
        raise ConfigError(f"ablation: expected one strategy, got {' and '.join(strategies) or 'none'}")
    (strategy,), place = strategies, stream or "digits"
    number = ablation.QUICK_SEEDS if quick else ablation.SEEDS
    settings = [*(ablation.QUICK if quick else ()), *words]
    asked = ablation.asked(strategy, place, number if seeds is None else numbers(seeds), settings)
    folder = out or Path("runs") / "study" / f"ablation-{slug(f'{strategy}-{place}')}{'-quick' if quick else ''}"
    run_comparison(asked, folder, Resources(workers=workers, threads=threads), mix)

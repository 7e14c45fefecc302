"""``dreamer run``: train one configuration."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamer.cli.common import Allow, Items, SkipBad, read
from dreamer.core.errors import ConfigError, Diverged

if TYPE_CHECKING:
    from dreamer.runs.run import Run


def run(
    items: Items = None,
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/NAME/seedN")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.", show_default=False)] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.", show_default=False)] = None,
    previous: Annotated[bool, typer.Option("--previous", help="Resume from the checkpoint before the last.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Resume although the run has changed; on record.")] = False,
    skip_bad: SkipBad = False,
    allow: Allow = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither the schedule nor progress.")] = False,
) -> None:
    """Train one configuration: print the schedule, train, evaluate, print results."""
    from dreamer.runs import run as runs

    runs.quiet_lightning()
    if resume is not None:
        if out is not None or seed is not None:
            raise ConfigError("--resume continues a run as it was: it takes neither --out nor --seed")
        if runs.finished(resume) is None:
            with runs.reopened(resume, *(items or [])):
                if runs.finished(resume) is None:
                    how = {"progress": not quiet, "previous": previous, "force": force}
                    prepared = runs.resume(resume, *(items or []), **how)
                    for note in prepared.notes:
                        typer.echo(f"note: {note}: last bits may differ", err=True)
                    return _train(prepared, quiet, resumed=True)
        with suppress(ConfigError), runs.reopened(resume):
            pass  # what a process that was killed behind its last file has left is removed, where one may write
        typer.echo(f"the run in {resume} is complete already")
        return _show_results(runs.finished(resume) or {}, resume)
    if previous or force:
        raise ConfigError(f"--{'previous' if previous else 'force'} goes with --resume FOLDER")
    plain = read(items, skip_bad, out=None if out is None else str(out), seed=seed)
    with runs.owned(runs.prepare(plain, progress=not quiet)) as prepared:
        _train(prepared, quiet)


def _train(prepared: Run, quiet: bool, resumed: bool = False) -> None:
    from dreamer.runs import run as runs
    from dreamer.runs import signals

    first = prepared.trainer.is_global_zero
    if first and not quiet:
        show_schedule(prepared)
    try:
        results = runs.execute(prepared, resume=resumed)
    except runs.Interrupted as stop:
        job = signals.job_of_slurm() if stop.by.name == "SIGUSR1" else None
        if first and job and signals.requeue(job):
            typer.echo(f"stopped; Slurm's job {job} is in its queue again", err=True)
        typer.echo(f"stopped; continue with: dreamer run --resume {prepared.directory}", err=True)
        raise typer.Exit(128 + stop.by) from None
    except OSError as error:
        if error.errno is None:
            raise
        typer.echo(f"dreamer: {_broken_off(error, prepared.directory)}", err=True)
        raise typer.Exit(1) from None
    except Diverged as error:
        typer.echo(f"dreamer: {error}; files: {prepared.directory}", err=True)
        raise typer.Exit(1) from None
    if first:
        _show_results(results, prepared.directory)


def _broken_off(error: OSError, directory: Path) -> str:
    """What to do about a disk that is full, or a folder that is gone."""
    from dreamer.runs import run as runs

    if not (directory / runs.CONFIG).is_file():
        return f"the run cannot be continued: {error.strerror}, and {directory} holds no run (any more)"
    what = f" ({error.filename})" if error.filename else ""
    return f"broken off: {error.strerror}{what}; continue with: dreamer run --resume {directory}"


def show_schedule(prepared: Run) -> None:
    """Print the stages of a run, its steps and bytes, and its protocol."""
    from dreamer.runs.summary import summary

    source = prepared.config.stream
    while "stream" in source.options:  # a changed stream: the order of its classes is that of the one below
        source = source.options["stream"]
    typer.echo(summary(prepared.stream, prepared.module, prepared.hypnogram, source.options.get("seed")))


def _show_results(results: Mapping[str, Any], directory: Path) -> None:
    from dreamer.report.table import print_table

    print_table(results)
    typer.echo(f"files: {directory}")

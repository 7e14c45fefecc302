"""``dreamer tune``: hyper-parameters chosen on held-out training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dreamer.cli.common import Allow, Gpus, Mix, Threads, Workers, devices, folder_names, stopped
from dreamer.config.binding import ConfigError

if TYPE_CHECKING:
    from dreamer.compare.tuning.results import Trial


def tune(
    strategy: Annotated[
        str,
        typer.Argument(
            help="A recipe: er, dreams+augment, 'er memory.capacity=500', or ours (the stream's own recipe)."
        ),
    ],
    items: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Settings for every run.", show_default=False)
    ] = None,
    stream: Annotated[str, typer.Option(help="A configuration that names a stream.")] = "digits",
    space: Annotated[
        Path | None,
        typer.Option(
            help="A YAML of the search space: keys such as optimizer.lr, each with low and high (and log or step), or "
            "a list of choices.",
            show_default="learning rate, weights and temperature around the recipe's own",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Number of trials in all.")] = 20,
    seeds: Annotated[str, typer.Option(help="Seeds of each trial, others than those of comparisons.")] = "1001,1002",
    augment: Annotated[
        str | None,
        typer.Option(
            help="Augmentation of real samples, as for compare; own: that of the recipe.", show_default="none"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="runs/tune/STRATEGY-STREAM")
    ] = None,
    workers: Workers = 1,
    threads: Threads = 1,
    gpus: Gpus = None,
    mix: Mix = False,
    allow: Allow = None,
) -> None:
    """Choose hyper-parameters on held-out training data, never on test data. Re-running resumes unfinished trials."""
    from dreamer.compare.tuning import space as spaces
    from dreamer.compare.tuning import tune as tuning
    from dreamer.jobs.job import Interrupted
    from dreamer.jobs.runner import Resources
    from dreamer.runs.run import quiet_lightning

    quiet_lightning()
    for item in items or []:
        if "=" not in item:
            raise ConfigError(f"tune: expected one strategy and then key=value, got {item!r}")
    perturbations = augment if augment in (None, "own") else tuple(augment.split(","))
    task = tuning.Task(strategy, stream, tuple(items or ()), _seeds(seeds), perturbations)
    folder = out or Path("runs") / "tune" / "-".join(folder_names([strategy, stream]))
    searched = None if space is None else spaces.read(space)
    places = devices(gpus)
    try:
        resources = Resources(workers=workers, threads=threads, devices=places)
        tuned = tuning.tune(task, folder, searched, trials, resources, mix, _show_trial)
    except Interrupted:
        raise stopped(folder) from None
    if tuned.best is None or tuned.best.value is None:
        typer.echo(f"all of {len(tuned.trials)} trials failed; the reasons are in {folder / tuning.TRIALS}", err=True)
        raise typer.Exit(1)
    typer.echo(f"the best of {len(tuned.trials)} trials is trial {tuned.best.number}, {tuned.best.outcome}:")
    for key, value in tuned.best.parameters.items():
        typer.echo(f"  {key}={value:.6g}" if isinstance(value, float) else f"  {key}={value}")
    typer.echo(f"train with it: {task.command(folder / tuning.BEST)}\nfiles: {folder}")


def _show_trial(trial: Trial) -> None:
    typer.echo(f"trial {trial.number}: {trial.outcome}")


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in text.split(",")) if text.strip() else ()
    except ValueError:
        raise ConfigError(f"--seeds: expected a list such as 1001,1002, got {text!r}") from None

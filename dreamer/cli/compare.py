"""``dreamer compare``: strategies against each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dreamer.cli.common import Allow, Gpus, Mix, Threads, Workers, command_line, devices, folder_names, stopped
from dreamer.cli.common import seeds as numbers
from dreamer.config.binding import ConfigError

if TYPE_CHECKING:
    from dreamer.jobs.runner import Resources


def compare(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARM ...] [KEY=VALUE ...] | GRID.yaml",
            help="Recipes (er, dreams+augment, 'er memory.capacity=500'), ours (the stream's own recipe), strategies "
            "of Avalanche (avalanche:Replay), and settings for all of them; or one YAML file with the whole grid.",
            show_default=False,
        ),
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(help="A configuration that names a stream; may be given again.", show_default="digits"),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Number of seeds, or a list: 11,12,13.", show_default="3")] = None,
    reference: Annotated[
        str | None, typer.Option(help="The arm that the others are compared with.", show_default="the first")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Budget of every run: steps=20000,bytes=3000000.", show_default=False)
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(help="Budget of every run: the steps, bytes or flops of the reference arm.", show_default=False),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Augmentation of real samples, the same for all arms; own: that of each recipe.", show_default="none"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="runs/compare/STREAMS")
    ] = None,
    workers: Workers = 1,
    threads: Threads = 1,
    gpus: Gpus = None,
    retries: Annotated[int, typer.Option(min=0, help="How often to restart a run that crashed.")] = 1,
    engine: Annotated[str, typer.Option(help="Where runs are computed: local, or ray (a Ray cluster).")] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster: auto, or HOST:PORT.", show_default="one is started here"),
    ] = None,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log each run, and the table, to W&B.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run nothing: print what the comparison is going to cost.")
    ] = False,
    mix: Mix = False,
    allow: Allow = None,
    from_: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Train nothing: write the report of the runs in this folder.", show_default=False),
    ] = None,
) -> None:
    """Run strategies x benchmarks x seeds and write a report. Re-running resumes unfinished runs."""
    from dreamer.jobs.runner import Resources
    from dreamer.runs.run import quiet_lightning

    quiet_lightning()
    if from_:
        if items or stream or seeds or budget or match or dry_run:
            raise ConfigError("--from reports on runs that are there: it takes no arms, streams, seeds or budgets")
        _report(from_, reference, out or from_[0])
        return
    asked = requested(items or [], stream, seeds, reference, budget, match, augment, wandb)
    if engine not in ("local", "ray"):
        raise ConfigError(f"--engine: expected local or ray, got {engine!r}")
    folder = out or Path("runs") / "compare" / "-".join(folder_names(asked.get("streams")))
    if dry_run:
        _print_costs(asked, folder, workers, mix)
        return
    kind: Literal["local", "ray"] = "ray" if engine == "ray" else "local"
    run_comparison(asked, folder, Resources(kind, workers, threads, devices(gpus), address, retries), mix)


def _print_costs(asked: Mapping[str, Any], folder: Path, workers: int, mix: bool) -> None:
    """What a grid is going to cost; it is refused where a run of it would be."""
    from dreamer.compare import forecast, grid
    from dreamer.compare.run import warn_of_few_seeds
    from dreamer.jobs import manifest

    wanted = grid.read(asked)
    code = grid.PROGRAM.fingerprint()
    for cell in wanted.cells:
        manifest.is_written(cell.plain(), folder / cell.folder, code, mix)
    warn_of_few_seeds(len({cell.seed for cell in wanted.cells}))
    typer.echo(forecast.forecast_text(wanted, folder, workers))


def run_comparison(asked: Mapping[str, Any], folder: Path, resources: Resources, mix: bool) -> None:
    """Run a grid, and print where its report is; exit with 130 when it was stopped by hand, 1 when a run failed."""
    from dreamer.compare import run as comparisons
    from dreamer.jobs.job import Interrupted

    try:
        comparison = comparisons.compare(asked, folder, resources, mix, command_line())
    except Interrupted:
        raise stopped(folder) from None
    typer.echo(f"report: {folder / 'report.html'}")
    if comparison.missing:
        raise typer.Exit(1)


def requested(
    items: list[str],
    streams: list[str] | None,
    seeds: str | None,
    reference: str | None,
    budget: str | None,
    match: str | None,
    augment: str | None,
    wandb: bool,
) -> dict[str, Any]:
    """The grid that the words describe, laid over the YAML where there is one."""
    from dreamer import config

    files = [item for item in items if item.endswith((".yaml", ".yml")) and not {" ", "=", "+"} & set(item)]
    words = [item for item in items if "=" in item.split(" ")[0]]
    arms = [item for item in items if item not in files and item not in words]
    asked: dict[str, Any] = {}
    if len(files) == 1 and not arms:
        asked = config.load(_existing(Path(files[0])))
    elif files:
        arms = [item for item in items if item not in words]
    if not files and not arms:
        raise ConfigError("compare: expected strategies to compare, or the YAML of a grid, got none")
    given = {
        "arms": arms,
        "streams": streams or ([] if asked.get("streams") else ["digits"]),
        "reference": reference,
        "budget": _pairs(budget),
        "match": match,
        "augment": augment if augment in (None, "own") else augment.split(","),
        "wandb": wandb,
    }
    asked |= {key: value for key, value in given.items() if value}
    if seeds is not None:  # 0 is to be refused, not to be left out
        asked["seeds"] = numbers(seeds)
    if words:
        if isinstance(asked.get("set"), Mapping):
            raise ConfigError("set: the grid has a mapping there, to which words cannot be added; make it a list")
        asked["set"] = [*(asked.get("set") or []), *words]
    return asked


def _report(folders: list[Path], reference: str | None, out: Path) -> None:
    from dreamer.compare import collect
    from dreamer.compare import run as comparisons

    comparisons.report(collect.of_folders(folders, reference, command_line()), out)
    typer.echo(f"report: {out / 'report.html'}")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"expected the YAML of a grid at {str(path)!r}, found none")
    return path


def _pairs(text: str | None) -> dict[str, int] | None:
    if text is None:
        return None
    try:
        return {key: int(value) for key, value in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise ConfigError(f"--budget: expected steps=NUMBER,bytes=NUMBER, got {text!r}") from None

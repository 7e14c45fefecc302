"""The command line. torch is imported inside the commands only, so help and version answer at once."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamer import __version__, config
from dreamer.binding import ConfigError

if TYPE_CHECKING:
    from dreamer.life import Life

app = typer.Typer(
    name="dreamer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Networks that live through a stream of experiences, and dream between them.",
)

# Lightning's, on its own dependencies and on stages that are shorter than its logging interval
_REMARKS = (
    r".*isinstance\(treespec, LeafSpec\).*",
    r"The number of training batches .* smaller than the logging interval",
)

Items = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME_OR_YAML ...] [KEY=VALUE ...]",
        help="Configurations by name or file, merged left to right, then single keys; none: the embedded digits.",
        show_default=False,
    ),
]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"dreamer {__version__}")
        raise typer.Exit


@app.callback()
def _dreamer(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    items: Items = None,
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/NAME/seedN")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.", show_default=False)] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the life of a run folder.", show_default=False)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show neither plan nor progress.")] = False,
) -> None:
    """Live a life: print its plan, live through it, print its results."""
    lives = _lives()
    if resume is not None:
        life = _resumed(resume, items or [], out, seed, quiet)
        if life is None:
            return
    else:
        life = lives.prepare(_read(items, out=None if out is None else str(out), seed=seed), progress=not quiet)
    first = life.trainer.is_global_zero
    if first and not quiet:
        _show_plan(life)
    try:
        results = lives.live(life, resume=resume is not None)
    except lives.Interrupted:
        typer.echo(f"stopped; continue with: dreamer run --resume {life.directory}", err=True)
        raise typer.Exit(130) from None
    if first:
        _show_results(results, life.directory)


@app.command()
def plan(items: Items = None) -> None:
    """Show the plan of a life, with its steps and bytes, without living it."""
    lives = _lives()
    # nothing will be written, so no run is in the way
    _show_plan(lives.prepare({**_read(items), "out": None}))


@app.command("list")
def list_(
    family: Annotated[
        str | None, typer.Argument(help="configs, streams, or a family of parts; by default all.", show_default=False)
    ] = None,
) -> None:
    """List every configuration, stream and part with its one-line description."""
    from dreamer import parts
    from dreamer.interop import streams

    shelves: dict[str, Any] = {"configs": config.describe, "streams": streams.available}
    shelves |= {name: lambda name=name: parts.describe(name) for name in parts.FAMILIES}
    if family is not None and family not in shelves:
        raise ConfigError(f"there is no family {family!r}; {parts.one_of(family, shelves)}")
    for name in shelves if family is None else [family]:
        described: Mapping[str, str] = shelves[name]()
        width = max(map(len, described), default=0)
        typer.echo(typer.style(name, bold=True))
        for part, line in described.items():
            typer.echo(f"  {part:<{width}}  {line}")


bench = typer.Typer(no_args_is_help=True, help="Measure what a life costs beyond its arithmetic.")
app.add_typer(bench, name="bench")


@bench.command("wake")
def bench_wake(
    rounds: Annotated[int, typer.Option(min=1, help="Paired rounds.")] = 5,
    steps: Annotated[int, typer.Option(min=10, help="Optimiser steps of each measurement.")] = 500,
) -> None:
    """Steps per second of the wake loop, with display and csv logger, against a bare PyTorch loop."""
    import statistics

    from dreamer import bench

    measured = bench.wake(rounds, steps)
    typer.echo("round  bare steps/s  ours steps/s  ratio")
    for number, pair in enumerate(measured):
        typer.echo(f"{number:>5}  {pair.bare:>12.1f}  {pair.ours:>12.1f}  {pair.ratio:>5.3f}")
    typer.echo(f"median ratio {statistics.median(pair.ratio for pair in measured):.3f}")


@bench.command("stream")
def bench_stream(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE ...] [KEY=VALUE ...]",
            help="Recipes by name, and single keys for all of them; none: a few of every kind.",
            show_default=False,
        ),
    ] = None,
    experiences: Annotated[int, typer.Option(min=8, help="Length of the stream, one new class each.")] = 100,
    steps: Annotated[int, typer.Option(min=2, help="Optimiser steps of every stage.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Lives of each recipe.")] = 3,
) -> None:
    """Time per step and bytes as a stream goes on: the last experiences against the fifth."""
    from dreamer import bench

    words = [item for item in items or [] if "=" in item]
    names = [item for item in items or [] if "=" not in item] or bench.RECIPES
    courses = bench.stream(names, words, experiences, steps, rounds)
    header = f"{'recipe':<22}  {'stage':<5}  {'ms/step at 5':>12}  {f'at {experiences}':>8}  {'ratio':>5}"
    typer.echo(f"{header}  {'MB at 5':>8}  {f'at {experiences}':>8}  grows by definition")
    for course in courses:
        size = f"{course.nbytes[4] / 1e6:>8.2f}  {course.nbytes[-1] / 1e6:>8.2f}  {course.grows}".rstrip()
        for kind in course.seconds:
            early, late = course.early(kind), course.late(kind)
            cost = f"{1000 * early:>12.2f}  {1000 * late:>8.2f}  {late / early:>5.2f}"
            typer.echo(f"{course.recipe:<22}  {kind:<5}  {cost}  {size}")


def main() -> None:
    """Run the command line; bad input ends with exit code 2 and one message."""
    # a part of the user's own lies where the command is typed
    sys.path.append(os.getcwd())
    try:
        app()
    except ConfigError as error:
        typer.echo(f"dreamer: {error}", err=True)
        raise SystemExit(2) from None


def _lives() -> ModuleType:
    """Import what lives lives, and keep Lightning's remarks on devices, defaults and products out of the display."""
    from dreamer import life

    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for remark in _REMARKS:
        warnings.filterwarnings("ignore", message=remark)
    return life


def _read(items: list[str] | None, **options: Any) -> dict[str, Any]:
    given = {key: value for key, value in options.items() if value is not None}
    return config.read(*(items or []), **given)


def _resumed(directory: Path, items: list[str], out: Path | None, seed: int | None, quiet: bool) -> Life | None:
    if out is not None or seed is not None:
        raise ConfigError("--resume continues a life as it was: it takes neither --out nor --seed")
    lives = _lives()
    results = lives.finished(directory)
    if results is None:
        return lives.take_up(directory, *items, progress=not quiet)
    typer.echo(f"the life in {directory} is complete already")
    _show_results(results, directory)
    return None


def _show_plan(life: Life) -> None:
    from dreamer.outline import outline

    typer.echo(outline(life.stream, life.module, life.hypnogram, life.draft.stream.options.get("seed")))


def _show_results(results: Mapping[str, Any], directory: Path) -> None:
    from dreamer.report.table import print_table

    print_table(results)
    typer.echo(f"files: {directory}")


if __name__ == "__main__":
    main()

"""``dreamer bench``: measurements of speed and size, from a checkout of the project."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

import dreamer
from dreamer.cli.common import WholeLines
from dreamer.config.binding import ConfigError

bench = typer.Typer(
    cls=WholeLines, no_args_is_help=True, help="Measure the overhead of a run. Needs a checkout of the project."
)


@bench.command("wake")
def wake(
    rounds: Annotated[int, typer.Option(min=1, help="Paired rounds.")] = 5,
    steps: Annotated[int, typer.Option(min=10, help="Optimiser steps of each measurement.")] = 500,
) -> None:
    """Steps per second of the wake loop, with display and csv logger, against a bare PyTorch loop."""
    measured = _script().wake(rounds, steps)
    typer.echo("round  bare steps/s  ours steps/s  ratio")
    for number, pair in enumerate(measured):
        typer.echo(f"{number:>5}  {pair.bare:>12.1f}  {pair.ours:>12.1f}  {pair.ratio:>5.3f}")
    typer.echo(f"median ratio {statistics.median(pair.ratio for pair in measured):.3f}")


@bench.command("stream")
def stream(
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
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each recipe.")] = 3,
) -> None:
    """Time per step and bytes as a stream goes on: the last experiences against the fifth."""
    script = _script()
    words = [item for item in items or [] if "=" in item]
    names = [item for item in items or [] if "=" not in item] or script.RECIPES
    costs = script.stream(names, words, experiences, steps, rounds)
    header = f"{'recipe':<22}  {'stage':<5}  {'ms/step at 5':>12}  {f'at {experiences}':>8}  {'ratio':>5}"
    typer.echo(f"{header}  {'MB at 5':>8}  {f'at {experiences}':>8}  grows by definition")
    for cost in costs:
        size = f"{cost.nbytes[4] / 1e6:>8.2f}  {cost.nbytes[-1] / 1e6:>8.2f}  {cost.grows}".rstrip()
        for kind in cost.seconds:
            early, late = cost.early(kind), cost.late(kind)
            times = f"{1000 * early:>12.2f}  {1000 * late:>8.2f}  {late / early:>5.2f}"
            typer.echo(f"{cost.recipe:<22}  {kind:<5}  {times}  {size}")


def _script() -> ModuleType:
    """``benchmarks/bench.py``, which lies beside the package in a checkout and is not installed."""
    path = Path(dreamer.__file__).parents[1] / "benchmarks" / "bench.py"
    if not path.is_file():
        raise ConfigError(f"bench needs a checkout of the project: there is no {path.name} in {str(path.parent)!r}")
    spec = importlib.util.spec_from_file_location("benchmarks.bench", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

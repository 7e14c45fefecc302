"""The command line. torch is imported inside the commands only, so help and version print at once."""

from __future__ import annotations

import os
import re
import sys
from typing import Annotated, Any

import typer

from dreamer import __version__
from dreamer.cli.bench import bench
from dreamer.cli.common import WholeLines
from dreamer.cli.compare import compare
from dreamer.cli.list import list_
from dreamer.cli.metrics import metrics
from dreamer.cli.plan import plan
from dreamer.cli.retention import retention
from dreamer.cli.run import run
from dreamer.cli.study import study
from dreamer.cli.tune import tune
from dreamer.config.binding import ConfigError

_KEY = re.compile(r"--[A-Za-z_][\w.]*=")

app = typer.Typer(
    name="dreamer",
    cls=WholeLines,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Wake-sleep continual learning: train networks on a stream of experiences, and replay dreams in between.",
)
app.command()(run)
app.command()(plan)
app.command("list")(list_)
app.command()(metrics)
app.command()(retention)
app.command()(compare)
app.command()(study)
app.command()(tune)
app.add_typer(bench, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dreamer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def plain_words(typed: list[str]) -> list[str]:
    """What was typed, with ``--key=value`` as the word ``key=value`` where a command has no such option.

    W&B's sweeps write every parameter so (``${args}``).
    """
    command: Any = typer.main.get_command(app)
    found = command.commands.get(typed[0]) if typed else None
    if found is None or hasattr(found, "commands"):
        return typed
    options = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return [word[2:] if _KEY.match(word) and word.partition("=")[0] not in options else word for word in typed]


def main() -> None:
    """Run the command line; bad input ends with exit code 2 and one message."""
    # a part of the user's own lies where the command is typed
    sys.path.append(os.getcwd())
    # read when torch is loaded: threads that wait actively for long slow each other down where other processes use the
    # same cores; those that sleep at once lose time on a quiet machine
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    try:
        app(plain_words(sys.argv[1:]))
    except ConfigError as error:
        typer.echo(f"dreamer: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

"""What several commands have in common: arguments, how lists are written, and how a stopped command ends."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dreamer.config.allowed import allow
from dreamer.config.binding import ConfigError

_UNCUT = 1000
"""Letters: more than a first sentence has."""


class WholeLines(TyperGroup):
    """A group of commands that lists their first sentences whole, over several lines where they are long."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """By default they are cut at the end of the line."""
        for command in self.commands.values():
            command.short_help = command.get_short_help_str(_UNCUT)
        super().format_commands(ctx, formatter)


Items = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME_OR_YAML ...] [KEY=VALUE ...]",
        help="Configurations by name or file, merged left to right, then single keys. Without any: the digits.",
        show_default=False,
    ),
]


def _allowed(packages: list[str] | None) -> list[str]:
    allow(packages or ())
    return packages or []  # older typer converts what a callback returns once more, and cannot convert None


Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="A package whose parts a configuration may name, beside dreamer's and this folder's.",
        callback=_allowed,
        show_default=False,
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out picture files that cannot be read, and say how many.")
]
Workers = Annotated[int, typer.Option(min=1, help="How many runs at the same time.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of each run.")]
Gpus = Annotated[str | None, typer.Option(help="GPUs to distribute the runs over: 0,1.", show_default=False)]
Mix = Annotated[bool, typer.Option("--mix", help="Reuse runs made by another version of dreamer.")]


def command_line() -> str:
    """The command as it was typed, for the head of a report."""
    return " ".join(["dreamer", *map(shlex.quote, sys.argv[1:])])


def read(items: list[str] | None, skip_bad: bool = False, **options: Any) -> dict[str, Any]:
    """Merge the configurations that were typed; options that are None were not typed."""
    from dreamer import config

    given = {key: value for key, value in options.items() if value is not None}
    return config.read(*(items or []), *(["stream.skip_bad=true"] if skip_bad else []), **given)


def devices(gpus: str | None) -> tuple[str, ...] | None:
    """The GPUs of ``--gpus``; None leaves all of them to all workers."""
    if gpus is None:
        return None
    found = tuple(gpu.strip() for gpu in gpus.split(","))
    # besides a number CUDA takes the names of devices and of parts of them
    if not all(gpu.isdigit() or gpu.startswith(("GPU-", "MIG-")) for gpu in found):
        raise ConfigError(f"--gpus: expected numbers such as 0,1, got {gpus!r}")
    return found


def seeds(text: str) -> int | list[int]:
    """``--seeds``: how many there are, or which."""
    try:
        return int(text) if "," not in text else [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds: expected a number of seeds, or a list such as 11,12,13, got {text!r}") from None


def folder_names(streams: Any) -> list[str]:
    """Names for a folder of results: those of the streams."""
    from dreamer.jobs.manifest import slug

    entries = streams if isinstance(streams, list) else [streams]
    names = [str(entry.get("name", entry.get("config")) if isinstance(entry, Mapping) else entry) for entry in entries]
    return [slug(name) for name in names]


def stopped(folder: Path) -> typer.Exit:
    """Print how to resume a command that was stopped by hand, and return its exit."""
    typer.echo(f"stopped; the same command resumes what is missing in {folder}", err=True)
    return typer.Exit(130)

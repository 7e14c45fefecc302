"""``dreamer list``: the configurations, studies, streams and parts that there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from dreamer.config.binding import ConfigError
from dreamer.core.suggest import one_of


def list_(
    family: Annotated[
        str | None,
        typer.Argument(help="configs, studies, streams, or a family of parts; by default all.", show_default=False),
    ] = None,
) -> None:
    """List configurations, studies, streams and parts, with one line about each."""
    from dreamer import config
    from dreamer.config import registry
    from dreamer.config.streams import STREAMS

    catalogs: dict[str, Any] = {"configs": config.describe, "studies": config.describe_studies, "streams": STREAMS.copy}
    catalogs |= {name: lambda name=name: registry.describe(name) for name in registry.FAMILIES}
    if family is not None and family not in catalogs:
        raise ConfigError(f"there is no family {family!r}; {one_of(family, catalogs)}")
    for name in catalogs if family is None else [family]:
        described: Mapping[str, str] = catalogs[name]()
        width = max(map(len, described), default=0)
        typer.echo(typer.style(name, bold=True))
        for part, line in described.items():
            typer.echo(f"  {part:<{width}}  {line}")

"""One cell of a study: ``python -m dreamer.studies.cell FOLDER`` lives what the folder's ``cell.json`` says."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from dreamer.config.binding import ConfigError
from dreamer.jobs.manifest import read_down
from dreamer.jobs.watchdog import die_with_parent
from dreamer.report.results import versions, write_results
from dreamer.streams.base import DataNotFound
from dreamer.studies.experiments import base


def command(folder: Path) -> list[str]:
    """The command that lives the cell of a folder."""
    return [sys.executable, "-m", "dreamer.studies.cell", str(folder)]


def live_cell(folder: Path) -> None:
    """Live a cell from its beginning, and write its ``results.json``.

    Args:
        folder: holds ``cell.json``.

    Raises:
        ConfigError: when it cannot be lived as configured.
    """
    cell = read_down(folder)
    began = time.monotonic()
    experiment = base.of(cell["settings"])
    try:
        told = experiment.live(cell["seed"], folder)
    except DataNotFound as error:  # nor will they be there at the next try
        raise ConfigError(str(error)) from error
    seconds = time.monotonic() - began
    write_results({**cell, "complete": True, "seconds": seconds, "versions": versions(), **told}, folder)


def main() -> int:
    """Live the cell of the folder that is named; 2 is a word on what cannot be lived."""
    die_with_parent()
    try:
        live_cell(Path(sys.argv[1]))
    except ConfigError as error:
        print(f"dreamer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        raise SystemExit(main())

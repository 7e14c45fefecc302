"""One cell of a study: ``python -m dreamer.studies.cell FOLDER`` runs what the folder's ``cell.json`` says."""

from __future__ import annotations

import time
from pathlib import Path

from dreamer.config.binding import ConfigError
from dreamer.jobs import manifest, runner
from dreamer.report.results import versions, write_results
from dreamer.streams.base import DataNotFound
from dreamer.studies.experiments import base


def run_cell(folder: Path) -> None:
    """Run a cell from its beginning, and write its ``results.json``."""
    cell = manifest.read(folder)
    began = time.monotonic()
    experiment = base.of(cell["settings"])
    try:
        result = experiment.run(cell["seed"], folder)
    except DataNotFound as error:  # nor will they be there at the next attempt
        raise ConfigError(str(error)) from error
    seconds = time.monotonic() - began
    write_results({**cell, "complete": True, "seconds": seconds, "versions": versions(), **result}, folder)


if __name__ == "__main__":
    raise SystemExit(runner.main(run_cell))

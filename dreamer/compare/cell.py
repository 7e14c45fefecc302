"""One cell of a comparison: ``python -m dreamer.compare.cell FOLDER`` lives what the folder's ``cell.json`` says."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from dreamer import config
from dreamer.compare.grid import Cell, read_cell
from dreamer.config.binding import ConfigError
from dreamer.interop.avalanche import strategies as avalanche_strategies
from dreamer.jobs.watchdog import die_with_parent
from dreamer.loggers.wandb import finish, keep_results, wandb_logger
from dreamer.report.pictures import draw_hypnogram, draw_matrix
from dreamer.report.results import compose, write_results
from dreamer.runs import run as runs


def live_cell(folder: Path) -> dict[str, Any]:
    """Live a cell, from its checkpoint where it has one; one that is complete is left alone.

    Args:
        folder: holds ``cell.json``; becomes the run folder.

    Returns:
        The content of its ``results.json``.

    Raises:
        ConfigError: when it cannot be lived as configured.
    """
    cell = read_cell(folder)
    done = runs.finished(folder)
    if done is not None:
        return done
    if cell.avalanche is not None:
        return _live_avalanche(cell, folder)
    begun = (folder / runs.CONFIG).is_file()
    return runs.execute(runs.resume(folder) if begun else runs.prepare(cell.config, folder), resume=begun)


def _live_avalanche(cell: Cell, folder: Path) -> dict[str, Any]:
    """Avalanche saves nothing on the way, so its lives begin anew."""
    assert cell.avalanche is not None
    prepared = runs.prepare(cell.config, folder)
    config.save(cell.config, folder / runs.CONFIG)
    module, wake = prepared.module, prepared.module.wake
    record = avalanche_strategies.run(
        cell.avalanche["name"],
        cell.avalanche.get("options") or {},
        memory=cell.avalanche.get("memory"),
        stream=prepared.stream,
        network=module.network,
        optimizer=module.optimizer,
        batch_size=wake.batch_size,
        steps=wake.steps,
        epochs=wake.epochs,
        active_outputs=module.active_outputs,
        seed=cell.seed,
        device=prepared.trainer.strategy.root_device,
    )
    results = compose(record, name=prepared.config.name, config=cell.config, complete=True)
    path = write_results(results, folder)
    draw_hypnogram(results, folder / "hypnogram.png")
    draw_matrix(results, folder / "matrix.png")
    for component in prepared.config.loggers:
        if component.target is wandb_logger:
            name = f"{prepared.config.name}-seed{cell.seed}"
            logger = component.build(directory=folder, out=folder, config=cell.config, name=name)
            keep_results(logger, results, path)
            finish(logger)
    return results


def main() -> int:
    """Live the cell of the folder that is named; 2 is a word on what cannot be lived."""
    die_with_parent()
    runs.quiet_lightning()
    try:
        live_cell(Path(sys.argv[1]))
    except ConfigError as error:
        print(f"dreamer: {error}", file=sys.stderr)
        return 2
    except runs.Interrupted:
        return 130
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        raise SystemExit(main())

"""One cell of a comparison: ``python -m dreamer.compare.cell FOLDER`` runs what the folder's ``cell.json`` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dreamer import config
from dreamer.compare.grid import PROGRAM, Cell, read_cell
from dreamer.interop.avalanche import strategies as avalanche_strategies
from dreamer.jobs import manifest, runner
from dreamer.loggers.wandb import finish, keep_results, wandb_logger
from dreamer.report.pictures import draw_hypnogram, draw_matrix
from dreamer.report.results import compose, write_results
from dreamer.runs import run as runs


def run_cell(folder: Path) -> dict[str, Any]:
    """Run a cell, from its checkpoint where it has one; one that is complete is left alone."""
    runs.quiet_lightning()
    cell = read_cell(folder)
    done = runs.finished(folder)
    if done is not None:
        return done
    if cell.avalanche is not None:
        return _run_avalanche(cell, folder)
    if not (folder / runs.CONFIG).is_file():
        return runs.execute(runs.prepare(config.read(cell.config), folder))
    # another version of dreamer comes this far with --mix alone
    mixed = manifest.read(folder).get("code") != PROGRAM.fingerprint()
    return runs.execute(runs.resume(folder, force=mixed), resume=True)


def _run_avalanche(cell: Cell, folder: Path) -> dict[str, Any]:
    """Avalanche saves nothing on the way, so its runs start from the beginning."""
    assert cell.avalanche is not None
    prepared = runs.prepare(config.read(cell.config), folder)
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
    draw_hypnogram(results, folder / "hypnogram.png")
    draw_matrix(results, folder / "matrix.png")
    for component in prepared.config.loggers:
        if component.target is wandb_logger:
            name = f"{prepared.config.name}-seed{cell.seed}"
            logger = component.build(directory=folder, out=folder, config=cell.config, name=name)
            keep_results(logger, results, write_results(results, logger.experiment.dir))
            finish(logger)
    write_results(results, folder)  # last: who finds them finds all
    return results


if __name__ == "__main__":
    raise SystemExit(runner.main(run_cell))

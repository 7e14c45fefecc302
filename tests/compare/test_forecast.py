"""What a comparison is said to cost is what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamer.cli.compare import compare
from dreamer.compare import forecast, grid
from dreamer.compare.analysis import costs, stored
from dreamer.compare.cell import run_cell
from dreamer.compare.grid import PROGRAM
from dreamer.config.binding import ConfigError
from dreamer.core.text import DASH
from dreamer.jobs import runner

SHORT = ["stream.experiences=2", "wake.steps=3", "stream.validation=0"]


def asked(*arms: str) -> dict[str, object]:
    return {"arms": list(arms), "streams": ["digits"], "seeds": 2, "set": SHORT}


@pytest.mark.slow
def test_what_is_planned_is_what_a_run_takes(tmp_path: Path) -> None:
    small = "generator.hidden=[16]"
    wanted = grid.read(asked("er memory.capacity=20", f"ours {small} night.0.steps=2 night.1.steps=2"))
    cells = [cell for cell in wanted.cells if cell.seed == 1]
    runner.write_down({tmp_path / cell.folder: cell.plain() for cell in cells}, PROGRAM)
    found = [run_cell(tmp_path / cell.folder) for cell in cells]
    planned = forecast.forecasts(wanted, tmp_path)
    assert [(each.runs, each.left) for each in planned] == [(2, 1), (2, 1)]
    for each, results in zip(planned, found, strict=True):
        spent = costs(results)
        assert each.plan.steps == spent.steps
        assert each.plan.replayed == spent.replayed_and_dreamt
        assert each.plan.nbytes == spent.bytes_kept
        assert each.plan.stores == stored(results)
        assert each.seconds == pytest.approx(sum(results["cost"]["seconds"].values()))
    text = forecast.forecast_text(wanted, tmp_path)
    assert "2 runs left, 20 optimiser steps in all, about " in text


@pytest.mark.slow
def test_nothing_is_run_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(["er", "avalanche:Replay", *SHORT], ["digits"], "2", out=tmp_path / "new", dry_run=True)
    said = capsys.readouterr()
    rows = {line.split()[0]: line.split() for line in said.out.splitlines() if line.startswith(("er ", "avalanche:"))}
    assert rows["er"][1:6] == ["2", "2", "6", "384", "yes"]
    assert rows["avalanche:Replay"][1:] == ["2", "2", "6", *DASH * 4]
    assert "4 runs left, 24 optimiser steps in all, time unknown" in said.out
    assert "2 seeds: with fewer than 6" in said.err
    assert not (tmp_path / "new").exists()


def test_a_grid_that_would_be_refused_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "cells" / "digits" / "er" / "seed1"
    there.mkdir(parents=True)
    (there / "cell.json").write_text(json.dumps({"arm": "er", "stream": "digits", "seed": 1, "config": {}}))
    with pytest.raises(ConfigError, match="was begun with another configuration"):
        compare(["er", *SHORT], ["digits"], "1", out=tmp_path, dry_run=True)


@pytest.mark.parametrize(
    ("recipe", "kept"),
    [("cumulative", "samples"), ("lwf", "nothing"), ("er memory=class_statistics wake.source=memory", "statistics")],
)
def test_what_is_kept_of_training_data(recipe: str, kept: str) -> None:
    (cell,) = grid.read(asked(recipe) | {"seeds": 1}).cells
    assert forecast.plan_cell(cell).stores == kept

"""Two short runs on the embedded digits, one of them with nights, as cells of a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dreamer.compare.grid import read, write_cell

ASKED = {
    "arms": ["er", "dreams generator.hidden=[32]"],
    "streams": ["digits"],
    "seeds": 1,
    "set": ["stream.experiences=3", "wake.steps=20"],
}


def digits_cells(house: Path) -> list[Path]:
    """Their folders, each with its ``cell.json``."""
    cells = read(ASKED).cells
    folders = [house / cell.folder for cell in cells]
    for cell, folder in zip(cells, folders, strict=True):
        folder.mkdir(parents=True)
        write_cell(cell, folder)
    return folders


def numbers(folder: Path) -> list[Any]:
    """The results of a run that depend neither on where it ran nor on how long it took."""
    results = json.loads((folder / "results.json").read_text())
    return [results[key] for key in ("complete", "accuracy_matrix", "metrics", "hypnogram", "seed", "config")]

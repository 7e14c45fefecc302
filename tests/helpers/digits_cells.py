"""Two short runs on the embedded digits, one of them with nights, as cells of a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dreamer.compare.grid import PROGRAM, read
from dreamer.jobs import runner

REQUEST = {
    "arms": ["er", "dreams generator.hidden=[32] night.0.steps=20 night.1.steps=20"],
    "streams": ["digits"],
    "seeds": 1,
    "set": ["stream.experiences=3", "wake.steps=20"],
}


def digits_cells(root: Path) -> list[Path]:
    """Their folders, each with its ``cell.json``."""
    cells = read(REQUEST).cells
    jobs = {root / cell.folder: cell.plain() for cell in cells}
    runner.write_down(jobs, PROGRAM)
    return [*jobs]


def numbers(folder: Path) -> list[Any]:
    """What a run came to, wherever it ran, however long it took."""
    results = json.loads((folder / "results.json").read_text())
    return [results[key] for key in ("complete", "accuracy_matrix", "metrics", "hypnogram", "seed", "config")]

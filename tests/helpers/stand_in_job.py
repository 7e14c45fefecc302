"""A program in place of a cell of a comparison, see :mod:`tests.helpers.stand_in_cell`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from dreamer.jobs.manifest import Program

SOURCE = Path(__file__).parent / "stand_in_cell.py"


class StandIn(Program):
    """Runs the source above, or whatever command a test wants, in place of a cell."""

    def __init__(self, command: Callable[[Path], list[str]] | None = None):
        super().__init__("tests.helpers.stand_in_cell")
        object.__setattr__(self, "_command", command)

    def command(self, folder: Path) -> list[str]:
        return [sys.executable, str(SOURCE), str(folder)] if self._command is None else self._command(folder)


STAND_IN = StandIn()


def cells(base: Path, *does: str | list[str]) -> list[Path]:
    """Folders of cells, each with what it does on its attempts."""
    folders = [base / f"cell{index}" for index in range(len(does))]
    for folder, do in zip(folders, does, strict=True):
        folder.mkdir(parents=True)
        (folder / "cell.json").write_text(json.dumps({"do": [do] if isinstance(do, str) else do}))
    return folders

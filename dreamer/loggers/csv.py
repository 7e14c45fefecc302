"""``metrics.csv``: one whole file of a run that may have been killed and resumed several times.

Lightning's CSVLogger begins with an empty file whenever it is made. So every start of a run logs into a part of its
own, ``logs/part_000/metrics.csv``, ``logs/part_001/metrics.csv`` and so on, and the parts are merged. What a part
logged after the checkpoint from which the next one went on did not happen, and is dropped.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment

from dreamer.core.files import csv_text, write_text

FILE_NAME = "metrics.csv"
_FIRST_COLUMNS = ("step", "epoch")
Row = dict[str, str]


class ResumableCSVLogger(CSVLogger):
    """Lightning's CSVLogger for the next part of a run: no earlier file is deleted, and none is ever half there.

    Args:
        directory: the run folder.
    """

    def __init__(self, directory: str | Path):
        logs = Path(directory) / "logs"
        number = 1 + max((int(path.name[5:]) for path in _parts(directory)), default=-1)
        super().__init__(save_dir=logs, name="", version=f"part_{number:03d}")

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """Lightning's writer of this part."""
        if self._experiment is None:
            self._experiment = _WholeFileWriter(log_dir=self.log_dir)
        return self._experiment  # type: ignore[return-value]


class _WholeFileWriter(ExperimentWriter):
    """Writes the file anew when columns come, as its base does, but in one piece."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        write_text(path, csv_text(fieldnames, read_rows(path.read_text(encoding="utf-8")), "\r\n"))


def write_metrics(directory: str | Path) -> Path | None:
    """Merge the parts of a run folder into its ``metrics.csv``.

    Returns:
        The path of the file; None when nothing has been logged.
    """
    files = [path / FILE_NAME for path in sorted(_parts(directory), key=lambda path: int(path.name[5:]))]
    text = merge_parts([file.read_text(encoding="utf-8") for file in files if file.is_file()])
    if not text:
        return None
    path = Path(directory) / FILE_NAME
    write_text(path, text)
    return path


def merge_parts(parts: Sequence[str]) -> str:
    """One table out of the tables that the starts of a run wrote.

    Rows of a part that lie after the first step of a later part are dropped: the later part made these steps again.
    At that very step both parts may hold a row that the other lacks, such as an evaluation right before the
    checkpoint; there a row is dropped when the later part has one that fills the same columns. Columns are united.

    Args:
        parts: the content of CSV files with a column ``step``, in the order in which they were begun.

    Returns:
        CSV text, empty when there are no rows.
    """
    kept: list[Row] = []
    boundary, boundary_rows = math.inf, set[frozenset[str]]()
    for rows in map(read_rows, reversed(parts)):
        earlier = [
            row
            for row in rows
            if int(row["step"]) < boundary or (int(row["step"]) == boundary and _filled(row) not in boundary_rows)
        ]
        kept = earlier + kept
        first = min((int(row["step"]) for row in rows), default=math.inf)
        if first <= boundary:
            boundary_rows = {_filled(row) for row in kept if int(row["step"]) == first}
            boundary = first
    return _table(kept)


def read_rows(text: str) -> list[Row]:
    """The rows of a CSV text; a last line that was cut off when its process was killed is left out.

    Args:
        text: a header line, then one line a row; every whole line ends with a line break.
    """
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [row for row in csv.DictReader(lines) if None not in row and None not in row.values()]


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    names = {name for row in rows for name in row}
    columns = [name for name in _FIRST_COLUMNS if name in names] + sorted(names - set(_FIRST_COLUMNS))
    return csv_text(columns, rows, os.linesep)


def _filled(row: Row) -> frozenset[str]:
    return frozenset(name for name, value in row.items() if value and name not in _FIRST_COLUMNS)


def _parts(directory: str | Path) -> list[Path]:
    """The folders of the parts that have been begun, in no order."""
    return [path for path in Path(directory).glob("logs/part_*") if path.is_dir() and path.name[5:].isdigit()]

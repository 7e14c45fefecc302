"""A table as a stream: a csv file with a row for each sample and a column for its class."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dreamer.streams.base import DataNotFound, Scenario, Stream, TensorSamples
from dreamer.streams.folder import default_experiences
from dreamer.streams.label_files import USUAL_LABELS, plain_name, read_rows
from dreamer.streams.split import split_stream
from dreamer.streams.tensors import split_off

_MOST_WORDS = 50
"""Different texts of a column up to which each becomes an input of its own."""


def table(
    file: str | Path,
    label: str | None = None,
    leave_out: Sequence[str] = (),
    experiences: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    test: float = 0.2,
) -> Stream:
    """A csv file with a header, a row for each sample, and a column for its class.

    Columns of numbers have mean 0 and variance 1 over the training samples; a number that is missing becomes the mean.
    A column of texts becomes one input for each of its texts. Classes are numbered in the order of their names, or of
    their values where they are whole numbers.

    Args:
        file: of commas, semicolons or tabs, in UTF-8.
        label: the column of the classes; None finds one with a usual name (``label``, ``class``, ``target``, ...).
        leave_out: columns that are no inputs, such as names and numbers of rows.
        experiences: how many; None deals out about two classes each, in at least two experiences and at most ten.
        seed: decides the order of the classes.
        shuffle: False keeps their order.
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class``, ``task`` or ``domain`` (a label is then the position within the experience).
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which rows are validation, and which are test.
        test: fraction of each class that becomes test data, in (0, 1).

    Returns:
        Samples of shape (inputs,), float32.

    Raises:
        DataNotFound: when there is no such file.
        ValueError: when it cannot be read, or a column is neither numbers nor a few texts.
    """
    path = Path(file)
    if not path.is_file():
        raise DataNotFound(f"stream 'table': expected a csv file at {str(path)!r}, found none")
    if not 0 < test < 1:
        raise ValueError(f"stream 'table': expected a fraction of test data in (0, 1), got {test}")
    columns = _columns(path)
    for name in [*leave_out, *([] if label is None else [label])]:
        if name not in columns:
            raise ValueError(f"{str(path)!r} has no column {name!r}, only {', '.join(columns)}")
    label = label or _label_column(path, columns)
    names, y = _classes(path, label, columns[label])
    inputs = {name: cells for name, cells in columns.items() if name != label and name not in leave_out}
    numbers = [column for name, cells in inputs.items() for column in _numbers(path, name, cells)]
    if not numbers:
        raise ValueError(f"{str(path)!r} has no column beside {label!r} that could be an input")
    train, tested = split_off("table", TensorSamples(torch.stack(numbers, dim=1), y), test, split_seed)
    assert isinstance(train, TensorSamples) and isinstance(tested, TensorSamples)
    mean, deviation = _moments(train.x)
    return split_stream(
        path.stem,
        _scaled(train, mean, deviation),
        _scaled(tested, mean, deviation),
        experiences=default_experiences(len(names)) if experiences is None else experiences,
        seed=seed,
        shuffle=shuffle,
        class_order=class_order,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        class_names=names,
    )


def _columns(path: Path) -> dict[str, list[str]]:
    """The cells of every column, by its heading."""
    header, *rows = read_rows(path) or [[]]
    names = [cell.strip() for cell in header]
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if len(names) < 2 or not rows:
        raise ValueError(f"{str(path)!r}: expected a header of at least two columns, and rows below it")
    if len(set(names)) < len(names) or all(_number(cell) is not None for cell in names):
        raise ValueError(f"{str(path)!r}: expected a header with a name of its own for each column, got {names}")
    short = next((row for row in rows if len(row) != len(names)), None)
    if short is not None:
        raise ValueError(f"{str(path)!r}: expected {len(names)} columns in every row, got {len(short)} in {short}")
    return {name: [row[place].strip() for row in rows] for place, name in enumerate(names)}


def _label_column(path: Path, columns: dict[str, list[str]]) -> str:
    plain = {plain_name(name): name for name in columns}
    found = next((plain[name] for name in USUAL_LABELS if name in plain), None)
    if found is None:
        raise ValueError(
            f"{str(path)!r}: which column holds the classes? say stream.label=COLUMN, one of {', '.join(columns)}"
        )
    return found


def _classes(path: Path, label: str, cells: list[str]) -> tuple[list[str], Tensor]:
    """Names of the classes in their order, and the (N,) class of each row."""
    empty = next((place for place, cell in enumerate(cells) if not cell), None)
    if empty is not None:
        raise ValueError(f"{str(path)!r} has no class in column {label!r} of row {empty + 1}")
    values = [_number(cell) for cell in cells]
    if all(value is not None for value in values) and any(value != int(value) for value in values if value is not None):
        raise ValueError(f"{str(path)!r}: column {label!r} holds fractions, which are no classes")
    whole = all(cell.lstrip("-").isdigit() for cell in cells)
    names = sorted(set(cells), key=int) if whole else sorted(set(cells))
    once = next((name for name in names if cells.count(name) < 2), None)
    if len(names) < 2 or once is not None:
        what = f"class {once!r} has one row" if once is not None else f"there is one class, {names[0]!r}"
        raise ValueError(f"{str(path)!r}, column {label!r}: {what}; expected at least two classes of two rows each")
    number = {name: place for place, name in enumerate(names)}
    return names, torch.tensor([number[cell] for cell in cells])


def _numbers(path: Path, name: str, cells: list[str]) -> list[Tensor]:
    """One (N,) column of numbers, NaN where one is missing, or one of zeros and ones for each text."""
    values = [_number(cell) if cell else math.nan for cell in cells]
    if all(value is not None for value in values):
        if plain_name(name) in ("", "id", "index", "unnamed0") and len(set(cells)) == len(cells):
            warnings.warn(f"{str(path)!r}: column {name!r} numbers the rows and is left out", stacklevel=4)
            return []
        if all(math.isnan(value) for value in values if value is not None):
            raise ValueError(f"{str(path)!r}: column {name!r} is empty: leave it out with stream.leave_out=[{name}]")
        return [torch.tensor(values, dtype=torch.float32)]
    words = sorted(set(cells))
    if len(words) > _MOST_WORDS:
        raise ValueError(
            f"{str(path)!r}: column {name!r} holds {len(words):,} different texts, such as {words[-1]!r:.40}: expected "
            f"numbers, or at most {_MOST_WORDS} texts; leave it out with stream.leave_out=[{name}]"
        )
    return [torch.tensor([float(cell == word) for cell in cells]) for word in words]


def _number(cell: str) -> float | None:
    """A finite number; NaN for what stands for a missing one; None for any other text."""
    if cell.lower() in ("nan", "na", "n/a", "?"):
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """(D,) mean and deviation of the (N, D) numbers that are there; a column without spread has deviation 1."""
    mean = x.nanmean(dim=0).nan_to_num()
    deviation = ((x - mean) ** 2).nanmean(dim=0).sqrt().nan_to_num()
    return mean, torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def _scaled(samples: TensorSamples, mean: Tensor, deviation: Tensor) -> TensorSamples:
    return TensorSamples(((samples.x - mean) / deviation).nan_to_num(), samples.y)

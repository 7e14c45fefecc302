"""Labels as people have them - texts, columns of frames, floats, one-hot rows - and the integers that they become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamer.streams.finite import refuse_not_finite


def integer_labels(what: str, given: Any, names: Sequence[str] = ()) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as integers.

    Args:
        what: they are called in messages.
        given: (N,) or (N, 1) whole numbers of any type, texts, or (N, K) one-hot rows: a tensor, an array, a list or a
            column of a frame.
        names: of the classes, in the order of their numbers, where they are known.

    Returns:
        (N,) int64, and the names: those given, or of texts the sorted ones.

    Raises:
        ValueError: for anything else, with the cause.
    """
    values = given.cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind in "OUS" and values.ndim == 1 and all(isinstance(value, str | bytes) for value in values):
        return _numbered(
            what, [value.decode() if isinstance(value, bytes) else value for value in values.tolist()], names
        )
    if values.dtype.kind not in "biuf" or values.ndim not in (1, 2):
        raise ValueError(
            f"expected {what} to hold one label for each sample, a whole number or a text, got {values.dtype} of shape "
            f"{values.shape}"
        )
    if values.ndim == 2:
        ones = ((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all()
        if not ones:
            raise ValueError(f"expected {what} of shape {values.shape} to be one-hot: one 1 in each row, 0 elsewhere")
        return torch.from_numpy(values.argmax(axis=1).astype(np.int64)), tuple(names)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"expected {what} to hold one integer label >= 0 per sample, got {values[row]} in row {row}")
    if values.size and (values < 0).any():
        raise ValueError(f"expected {what} to hold one integer label >= 0 per sample, got {values.min()}")
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        wrong = values[values != np.floor(values)][0]
        raise ValueError(f"expected {what} to hold one integer label >= 0 per sample, got {wrong}")
    return torch.from_numpy(values.astype(np.int64)), tuple(names)


def numeric(what: str, given: Any) -> Tensor:
    """Samples as a tensor, of a frame too.

    Raises:
        ValueError: when they are not numbers, with the column; when one is NaN or infinite, with row and column.
    """
    columns, names = getattr(given, "dtypes", None), []
    if hasattr(given, "columns") and columns is not None:
        wrong = [str(name) for name in given.columns if given[name].to_numpy().dtype.kind not in "biuf"]
        if wrong:
            raise ValueError(f"expected {what} to hold numbers, got other values in the column {wrong[0]!r}")
        names, given = [*given.columns], given.to_numpy(dtype=np.float32)
    if not isinstance(given, Tensor):
        values = np.asarray(given)
        if values.dtype.kind not in "biuf":
            raise ValueError(f"expected {what} to hold numbers, got {values.dtype}")
        # what a frame of pandas 3 gives may not be written to
        given = torch.from_numpy(np.require(values, requirements=["C", "W"]))
    if given.ndim:
        refuse_not_finite(what, given, names)
    return given


def label_of(item: Any) -> int | str | None:
    """The label of an item (sample, label, ...): the first whole number or one-hot row in it, else a text."""
    if not isinstance(item, tuple | list):
        return None
    text = None
    for value in item[1:]:
        if isinstance(value, str):
            text = value if text is None else text
            continue
        try:
            found, _ = integer_labels("a label", np.asarray(value)[None])
        except (ValueError, TypeError):
            continue
        return int(found[0])
    return text


def _numbered(what: str, values: Sequence[str], names: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    known = tuple(names) or tuple(sorted(set(values)))
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"expected {what} to have the classes {', '.join(known[:5])}, got {unknown[0]!r} too")
    number = {name: i for i, name in enumerate(known)}
    return torch.tensor([number[value] for value in values], dtype=torch.int64), known

"""NaN and infinity in data are refused, with their place."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

_ROWS = 65_536


def refuse_not_finite(what: str, values: Tensor, columns: Sequence[object] = ()) -> None:
    """Raise a ValueError that names row and column when samples or targets hold NaN or infinity.

    Args:
        what: they are called in the message.
        values: (N, ...) of any dtype.
        columns: names of the columns, where they have some.
    """
    if not values.is_floating_point():
        return
    for number, rows in enumerate(values.split(_ROWS)):
        finite = rows.isfinite()
        if not bool(finite.all()):
            row, *rest = (~finite).nonzero()[0].tolist()
            wrong = float(rows[(row, *rest)])
            raise ValueError(
                f"{what}: expected finite numbers, got {wrong} in row {number * _ROWS + row}{_of(rest, columns)}"
            )


def _of(place: Sequence[int], columns: Sequence[object]) -> str:
    if not place:
        return ""
    if len(place) > 1:
        return f" at {tuple(place)}"
    return f", column {str(columns[place[0]])!r}" if columns else f", column {place[0]}"

"""The numbers of a life: pure functions of predictions and of the accuracy rows that examinations leave behind.

Notation: R is the (E, E) accuracy matrix, R[i, j] the accuracy on the test data of experience j at the end of
experience i (after its last night, or after its last wake stage where no night followed), and b the (E,) accuracies of
the untrained network. All are fractions of 1. A number that is not defined, such as the forgetting of a life of one
experience or anything of a life that broke off, is None: never NaN and never a made-up 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

import torch
from torch import Tensor


class AccuracyRow(TypedDict):
    """What one examination leaves behind.

    Attributes:
        after: ``birth`` (the untrained network), ``wake`` or ``night``.
        experience: the experience lived through last, from 0; -1 at birth.
        night: number of the night, from 0; -1 when awake.
        stage: index of the stage in the hypnogram; -1 at birth.
        global_step: optimiser steps taken so far.
        accuracy: (E,) on the test data of every experience; None where there are no test data.
        validation: (E,) on the held-out data; None where there are none, or None altogether.
    """

    after: Literal["birth", "wake", "night"]
    experience: int
    night: int
    stage: int
    global_step: int
    accuracy: list[float | None]
    validation: list[float | None] | None


class Metrics(TypedDict):
    """The numbers of one whole life, fractions of 1; None where undefined."""

    average_accuracy: float | None
    forgetting: float | None
    forgetting_max: float | None
    backward_transfer: float | None
    forward_transfer: float | None
    sleep_gain: float | None


def accuracy(predictions: Tensor, targets: Tensor) -> float | None:
    """Share of samples whose predicted label is the true one: ``1/N * sum_n [predictions_n = targets_n]``.

    Args:
        predictions: (N,) predicted labels.
        targets: (N,) true labels.

    Returns:
        A number in [0, 1]; None for no samples.

    Raises:
        ValueError: when the shapes differ or are not (N,).
    """
    if predictions.shape != targets.shape or predictions.ndim != 1:
        raise ValueError(
            f"expected (N,) predictions and (N,) targets, got {tuple(predictions.shape)} and {tuple(targets.shape)}"
        )
    if not len(targets):
        return None
    return int((predictions == targets).sum()) / len(targets)


def experience_accuracies(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> list[float | None]:
    """:func:`accuracy` of each experience, e.g. one row of the accuracy matrix.

    Args:
        predictions: E tensors (N_j,) of predicted labels.
        targets: E tensors (N_j,) of true labels.

    Raises:
        ValueError: when there are more of one than of the other, or their shapes differ.
    """
    return [accuracy(predicted, true) for predicted, true in zip(predictions, targets, strict=True)]


def accuracy_matrix(rows: Sequence[AccuracyRow], after: Literal["wake", "night"] | None = None) -> Tensor | None:
    """R: for every experience the last examination that belongs to it.

    Args:
        rows: all examinations of a life, in order.
        after: take only the examinations after wake stages, or only those after nights; None takes both.

    Returns:
        (E, E) float64, NaN where an experience has no test data; None when an experience has no such examination.
    """
    last = {
        row["experience"]: row["accuracy"] for row in rows if row["after"] in ((after,) if after else ("wake", "night"))
    }
    experiences = len(rows[0]["accuracy"]) if rows else 0
    if not experiences or any(i not in last for i in range(experiences)):
        return None
    return torch.stack([_tensor(last[i]) for i in range(experiences)])


def whole_rows(rows: Sequence[AccuracyRow], origins: Sequence[int] | None) -> list[AccuracyRow]:
    """The rows of a life whose experiences came in pieces, as if each had come whole.

    Pieces of one experience share its test data. Here these have one column, and the pieces one number, so that an
    experience counts once however many pieces it was cut into: it has been met when its first piece has, and learnt
    when the last examination before the next one's first piece is over.

    Args:
        rows: examinations of a life of E pieces.
        origins: (E,) the experience that each is a piece of, numbered from 0 in the order in which they are first met;
            None where all are whole.
    """
    if origins is None or len(set(origins)) == len(origins):
        return list(rows)
    first = [origins.index(number) for number in range(max(origins) + 1)]

    def columns(values: list[float | None] | None) -> list[float | None] | None:
        return None if values is None else [values[j] for j in first]

    return [
        {
            **row,
            "experience": max(origins[: row["experience"] + 1], default=-1),
            "accuracy": columns(row["accuracy"]) or [],
            "validation": columns(row["validation"]),
        }
        for row in rows
    ]


def birth_accuracies(rows: Sequence[AccuracyRow]) -> Tensor | None:
    """b: (E,) float64 accuracies of the network as it was initialised; None when it was not examined."""
    return next((_tensor(row["accuracy"]) for row in rows if row["after"] == "birth"), None)


def average_accuracy(matrix: Tensor) -> float | None:
    """ACC: mean over all experiences at the end of the life, ``1/E * sum_j R[E-1, j]``.

    Every experience counts the same, however many test samples it has. Source: Lopez-Paz & Ranzato 2017,
    "Gradient Episodic Memory for Continual Learning", eq. 2.

    Args:
        matrix: R, (E, E).
    """
    return _mean(matrix[-1])


def average_seen(accuracies: Sequence[float | None], experience: int) -> float | None:
    """Mean accuracy over the experiences met so far: ``1/(i+1) * sum_{j<=i} a_j``.

    Args:
        accuracies: (E,) one row of the accuracy matrix.
        experience: i, the experience lived through last, from 0; with -1 (birth) none was met and the mean is None.
    """
    return _mean(_tensor(accuracies)[: experience + 1])


def forgetting(matrix: Tensor) -> float | None:
    """First minus last: ``1/(E-1) * sum_{j<E-1} (R[j, j] - R[E-1, j])``.

    The accuracy right after the night in which an experience was learnt, minus the accuracy at the end of the life.
    Negative when later experiences helped. Source: Avalanche's ``Forgetting``, averaged over all experiences but the
    last.

    Args:
        matrix: R, (E, E).
    """
    return _mean((matrix.diagonal() - matrix[-1])[:-1])


def forgetting_max(matrix: Tensor) -> float | None:
    """Best minus last: ``1/(E-1) * sum_{j<E-1} (max_{i<E-1} R[i, j] - R[E-1, j])``.

    Source: Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning", eq. 3.

    Args:
        matrix: R, (E, E).
    """
    if len(matrix) < 2:
        return None
    return _mean((matrix[:-1].amax(0) - matrix[-1])[:-1])


def backward_transfer(matrix: Tensor) -> float | None:
    """BWT: ``1/(E-1) * sum_{j<E-1} (R[E-1, j] - R[j, j])``; negative when the past was forgotten.

    Source: Lopez-Paz & Ranzato 2017, eq. 3.

    Args:
        matrix: R, (E, E).
    """
    return _mean((matrix[-1] - matrix.diagonal())[:-1])


def forward_transfer(matrix: Tensor, birth: Tensor) -> float | None:
    """FWT: ``1/(E-1) * sum_{j>=1} (R[j-1, j] - b[j])``: what earlier experiences teach about one not yet met.

    Source: Lopez-Paz & Ranzato 2017, eq. 4, with b measured on this life's own untrained network.

    Args:
        matrix: R, (E, E).
        birth: b, (E,).
    """
    return _mean(matrix.diagonal(1) - birth[1:])


def night_gains(rows: Sequence[AccuracyRow]) -> list[float | None]:
    """What each night changed: ``mean_{j<=i} a_j`` after it minus the same before it, i the experience lived last.

    Args:
        rows: all examinations of a life, in order.

    Returns:
        One number per examined night, in order; None for a night before which the network was not examined.
    """
    before: AccuracyRow | None = None
    gains: dict[int, float | None] = {}
    for row in rows:
        if row["after"] != "night":
            before = row
            continue
        start = None
        if before is not None and before["experience"] == row["experience"]:
            start = average_seen(before["accuracy"], row["experience"])
        end = average_seen(row["accuracy"], row["experience"])
        # a night that is examined more than once counts from its dusk to its last examination
        gains[row["night"]] = None if start is None or end is None else end - start
    return list(gains.values())


def sleep_gain(rows: Sequence[AccuracyRow]) -> float | None:
    """Mean of :func:`night_gains` over the nights where it is defined; None without such a night."""
    return _mean(_tensor([gain for gain in night_gains(rows) if gain is not None]))


def summarise(rows: Sequence[AccuracyRow], origins: Sequence[int] | None = None) -> Metrics:
    """All numbers of a life from its examinations.

    Args:
        rows: all examinations, in order. While the life has not reached its last experience, only the gain of the
            nights so far is defined.
        origins: where experiences came in pieces, see :func:`whole_rows`.
    """
    rows = whole_rows(rows, origins)
    matrix, birth = accuracy_matrix(rows), birth_accuracies(rows)
    return {
        "average_accuracy": None if matrix is None else average_accuracy(matrix),
        "forgetting": None if matrix is None else forgetting(matrix),
        "forgetting_max": None if matrix is None else forgetting_max(matrix),
        "backward_transfer": None if matrix is None else backward_transfer(matrix),
        "forward_transfer": None if matrix is None or birth is None else forward_transfer(matrix, birth),
        "sleep_gain": sleep_gain(rows),
    }


def _tensor(values: Sequence[float | None]) -> Tensor:
    return torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) and not values.isnan().any() else None

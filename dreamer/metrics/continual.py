"""The numbers of a run: pure functions of predictions and of the rows of scores that evaluations leave behind.

Notation: R is the (E, E) accuracy matrix, R[i, j] the accuracy on the test data of experience j at the end of
experience i (after its last night, or after its last wake stage where no night followed), and b the (E,) accuracies
of the untrained network. All are fractions of 1. An experience without test data (a column of nothing) is left out of
every mean over j. A number that is not defined, such as the forgetting of a run of one experience or anything of a
run that was stopped, is None: never NaN and never a made-up 0.

A problem may have another score than accuracy, and less of it may be better. The rows hold that score under the same
key; forgetting is still how much worse it became, transfer and gain how much better (:func:`summarise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

import torch
from torch import Tensor


class _Measured(TypedDict, total=False):
    recency_bias: float | None
    rolled_back: bool


class AccuracyRow(_Measured):
    """What one evaluation leaves behind.

    Attributes:
        after: ``birth`` (the untrained network), ``wake`` or ``night``; ``step`` for an evaluation within a stage.
        experience: the experience trained on last, from 0; -1 for the untrained network.
        night: number of the night, from 0; -1 when awake.
        stage: index of the stage in the hypnogram; -1 for the untrained network.
        global_step: optimiser steps taken so far.
        accuracy: (E,) the score on the test data of every experience; None where there are no test data.
        validation: (E,) the score on the held-out data; None where there are none, or None altogether.
        recency_bias: see :func:`recency_bias`; of held-out data where ``after`` is ``step``, else of test data.
        rolled_back: True after a night that was undone; the scores are those from before it.
    """

    after: Literal["birth", "wake", "night", "step"]
    experience: int
    night: int
    stage: int
    global_step: int
    accuracy: list[float | None]
    validation: list[float | None] | None


class Metrics(TypedDict):
    """The numbers of one whole run, in units of the score (accuracies: fractions of 1); None where undefined.

    ``average_accuracy`` is the average score, whatever the score is.
    """

    average_accuracy: float | None
    forgetting: float | None
    forgetting_max: float | None
    backward_transfer: float | None
    forward_transfer: float | None
    sleep_gain: float | None
    recency_bias: float | None


def accuracy(predictions: Tensor, targets: Tensor) -> float | None:
    """Fraction of samples whose predicted label is the true one: ``1/N * sum_n [predictions_n = targets_n]``.

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
    """R: for every experience the last evaluation that belongs to it.

    Args:
        rows: all evaluations of a run, in order.
        after: take only the evaluations after wake stages, or only those after nights; None takes both.

    Returns:
        (E, E) float64, NaN where an experience has no test data; None when an experience has no such evaluation.
    """
    last = {
        row["experience"]: row["accuracy"] for row in rows if row["after"] in ((after,) if after else ("wake", "night"))
    }
    experiences = len(rows[0]["accuracy"]) if rows else 0
    if not experiences or any(i not in last for i in range(experiences)):
        return None
    return torch.stack([_tensor(last[i]) for i in range(experiences)])


def whole_rows(rows: Sequence[AccuracyRow], origins: Sequence[int] | None) -> list[AccuracyRow]:
    """The rows of a run whose experiences came in pieces, as if each had come whole.

    Pieces of one experience share its test data. Here these have one column, and the pieces one number, so that an
    experience counts once however many pieces it was cut into: it has been seen when its first piece has, and learnt
    when the last evaluation before the next one's first piece is over.

    Args:
        rows: evaluations of a run of E pieces.
        origins: (E,) the experience that each is a piece of, numbered from 0 in their order; None where all are whole.
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


def initial_accuracies(rows: Sequence[AccuracyRow]) -> Tensor | None:
    """b: (E,) float64 accuracies of the network as it was initialised; None when it was not evaluated."""
    return next((_tensor(row["accuracy"]) for row in rows if row["after"] == "birth"), None)


def average_accuracy(matrix: Tensor) -> float | None:
    """ACC: mean over all experiences at the end of the run, ``1/E * sum_j R[E-1, j]``.

    Every experience counts the same, however many test samples it has. Source: Lopez-Paz & Ranzato 2017,
    "Gradient Episodic Memory for Continual Learning", eq. 2.

    >>> average_accuracy(torch.tensor([[1.0, 0.0], [0.5, 1.0]]))
    0.75
    """
    return _mean(matrix[-1][_measured(matrix)])


def average_seen(accuracies: Sequence[float | None], experience: int) -> float | None:
    """Mean accuracy over the experiences seen so far that have test data: ``1/(i+1) * sum_{j<=i} a_j``.

    Args:
        accuracies: (E,) one row of the accuracy matrix.
        experience: i, the experience trained on last, from 0; with -1 none was seen and the mean is None.
    """
    return _mean(_tensor([value for value in accuracies[: experience + 1] if value is not None]))


def forgetting(matrix: Tensor) -> float | None:
    """First minus last: ``1/(E-1) * sum_{j<E-1} (R[j, j] - R[E-1, j])``.

    The accuracy right after the night in which an experience was learnt, minus the accuracy at the end of the run.
    Negative when later experiences helped. Source: Avalanche's ``Forgetting``, averaged over all experiences but the
    last.

    >>> forgetting(torch.tensor([[1.0, 0.0], [0.5, 1.0]]))
    0.5
    """
    return _mean((matrix.diagonal() - matrix[-1])[:-1][_measured(matrix)[:-1]])


def forgetting_max(matrix: Tensor) -> float | None:
    """Best minus last: ``1/(E-1) * sum_{j<E-1} (max_{i<E-1} R[i, j] - R[E-1, j])``.

    Source: Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning", eq. 3.
    """
    if len(matrix) < 2:
        return None
    return _mean((matrix[:-1].amax(0) - matrix[-1])[:-1][_measured(matrix)[:-1]])


def backward_transfer(matrix: Tensor) -> float | None:
    """BWT: ``1/(E-1) * sum_{j<E-1} (R[E-1, j] - R[j, j])``; negative when the past was forgotten.

    Source: Lopez-Paz & Ranzato 2017, eq. 3.
    """
    return _mean((matrix[-1] - matrix.diagonal())[:-1][_measured(matrix)[:-1]])


def forward_transfer(matrix: Tensor, initial: Tensor) -> float | None:
    """FWT: ``1/(E-1) * sum_{j>=1} (R[j-1, j] - b[j])``: what earlier experiences teach about one not yet seen.

    Source: Lopez-Paz & Ranzato 2017, eq. 4, with b measured on this run's own untrained network.

    Args:
        matrix: R, (E, E).
        initial: b, (E,).
    """
    return _mean((matrix.diagonal(1) - initial[1:])[_measured(matrix)[1:]])


def night_gains(rows: Sequence[AccuracyRow], higher_is_better: bool = True) -> list[float | None]:
    """What each night gained: ``mean_{j<=i} a_j`` after it minus the same before it, i the experience trained on last.

    Args:
        rows: all evaluations of a run, in order.
        higher_is_better: False for scores that a night betters by lowering them.

    Returns:
        One number per evaluated night, in order; None for a night before which the network was not evaluated.
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
        # a night that is evaluated more than once counts from its dusk to its last evaluation
        gains[row["night"]] = None if start is None or end is None else end - start if higher_is_better else start - end
    return list(gains.values())


def sleep_gain(rows: Sequence[AccuracyRow], higher_is_better: bool = True) -> float | None:
    """Mean of :func:`night_gains` over the nights where it is defined; None without such a night."""
    return _mean(_tensor([gain for gain in night_gains(rows, higher_is_better) if gain is not None]))


def recency_bias(fractions: Sequence[float | None]) -> float | None:
    """The fraction of samples of old experiences that are predicted to be of a class of the last one.

    The mean over old experiences of ``1/N_j * sum_n [prediction_n in classes of the last experience]``, over the
    samples whose own class is none of these; 0 where nothing is taken for new, 1 where everything is. Source: Masana et
    al. 2022, "Class-incremental learning: survey and performance evaluation on image classification", arXiv 2010.15277
    (task-recency bias); as a mean over old experiences in the official code of Lapacz et al. 2025, "Exploring the
    stability gap in continual learning: the role of the classification head".

    Args:
        fractions: one for each old experience; None where all of its classes are classes of the last one too.

    >>> recency_bias([0.25, 0.75, None])
    0.5
    """
    return _mean(_tensor([fraction for fraction in fractions if fraction is not None]))


def summarise(
    rows: Sequence[AccuracyRow], origins: Sequence[int] | None = None, higher_is_better: bool = True
) -> Metrics:
    """All numbers of a run from its evaluations.

    Of a score of which less is better the negative takes the place of the accuracy: forgetting is positive where the
    score became worse, transfer and gain are positive where it became better. The average is the score itself.

    Args:
        rows: all evaluations, in order. While the run has not reached its last experience, only the gain of the nights
            so far is defined.
        origins: where experiences came in pieces, see :func:`whole_rows`.
        higher_is_better: False for scores of which less is better.
    """
    rows = whole_rows(rows, origins)
    matrix, initial = accuracy_matrix(rows), initial_accuracies(rows)
    average = None if matrix is None else average_accuracy(matrix)
    if not higher_is_better:
        matrix, initial = None if matrix is None else -matrix, None if initial is None else -initial
    return {
        "average_accuracy": average,
        "forgetting": None if matrix is None else forgetting(matrix),
        "forgetting_max": None if matrix is None else forgetting_max(matrix),
        "backward_transfer": None if matrix is None else backward_transfer(matrix),
        "forward_transfer": None if matrix is None or initial is None else forward_transfer(matrix, initial),
        "sleep_gain": sleep_gain(rows, higher_is_better),
        "recency_bias": None if matrix is None else rows[-1].get("recency_bias"),
    }


def _tensor(values: Sequence[float | None]) -> Tensor:
    return torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)


def _measured(matrix: Tensor) -> Tensor:
    """(E,) bool, the experiences that have test data."""
    return ~matrix.isnan().all(dim=0)


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) and values.isfinite().all() else None

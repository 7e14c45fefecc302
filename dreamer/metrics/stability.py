"""What happens to old experiences while new ones are learnt: pure functions of the rows of evaluations.

An evaluation after each stage does not see that an old experience was forgotten at the first steps of a new one and
learnt again later. These numbers come from evaluations every few steps, on held-out training data.

Notation: v_i(n) is the held-out score of experience i at optimiser step n, k an experience, E how many there are. Old
experiences are those before k. Of a score of which less is better the negative takes its place, so gap and recovery are
positive all the same; a worst score is the score itself, the largest one there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from dreamer.metrics.continual import AccuracyRow, whole_rows


class Stability(TypedDict):
    """The numbers of one whole run, in units of the score; None where undefined.

    Attributes:
        min_accuracy: min-ACC: the worst score of each old experience since it was learnt, mean over them.
        worst_case_accuracy: WC-ACC: that, and the final score of the last experience.
        stability_gap: how far old experiences fell while an experience was learnt, from the score before it.
        recovery: how much of that had come back by its end.
    """

    min_accuracy: float | None
    worst_case_accuracy: float | None
    stability_gap: float | None
    recovery: float | None


def stability(
    rows: Sequence[AccuracyRow],
    steps: Sequence[AccuracyRow] = (),
    origins: Sequence[int] | None = None,
    higher_is_better: bool = True,
) -> Stability:
    """All of them, from the evaluations after stages and those on the way.

    - min-ACC ``1/(E-1) sum_{i<E-1} min_n v_i(n)``, n all evaluations since the end of experience i, and WC-ACC
      ``1/E v_{E-1}(end) + (1 - 1/E) min-ACC``. Source: De Lange et al. 2023, "Continual evaluation for lifelong
      learning: identifying the stability gap", arXiv 2205.13452, section 3.
    - The gap of an old experience i while k is learnt (nights included): ``v_i(before k) - min_n v_i(n)``; its recovery
      ``v_i(end of k) - min_n v_i(n)``; means over i < k, then over k. Source: official code of Lapacz et al. 2025,
      "Exploring the stability gap in continual learning: the role of the classification head", which calls them so.

    Args:
        rows: the evaluations after stages, in order; their held-out scores count.
        steps: the evaluations on the way, in order (``after`` is ``step``).
        origins: where experiences came in pieces, see :func:`dreamer.metrics.whole_rows`.
        higher_is_better: False for scores of which less is better.

    Returns:
        None in all places while the run has not reached its last experience, with fewer than two experiences, and where
        an old experience has no held-out score.
    """
    sign = 1.0 if higher_is_better else -1.0
    whole = whole_rows(rows, origins)
    courses = _courses([*whole, *whole_rows(steps, origins)])
    count = len(whole[0]["accuracy"]) if whole else 0
    if count < 2 or set(courses) != set(range(count)):
        return Stability(min_accuracy=None, worst_case_accuracy=None, stability_gap=None, recovery=None)
    gaps, returns, lowest = [], [], [math.inf] * (count - 1)
    for k in range(1, count):
        before, course = courses[k - 1][-1], courses[k]
        worst = [_least([sign * scores[i] for scores in course]) for i in range(k)]
        gaps.append(_mean([sign * before[i] - worst[i] for i in range(k)]))
        returns.append(_mean([sign * course[-1][i] - worst[i] for i in range(k)]))
        lowest = [*(_least(both) for both in zip(lowest, worst, strict=False)), *lowest[k:]]
    minimum = sign * _mean(lowest)
    last = courses[count - 1][-1][count - 1]
    return Stability(
        min_accuracy=_finite(minimum),
        worst_case_accuracy=_finite(last / count + (1 - 1 / count) * minimum),
        stability_gap=_finite(_mean(gaps)),
        recovery=_finite(_mean(returns)),
    )


def old_average(row: AccuracyRow, origins: Sequence[int] | None = None) -> float | None:
    """The mean held-out score over old experiences, those before the one trained on; None without any."""
    (whole,) = whole_rows([row], origins)
    old = [math.nan if score is None else score for score in (whole["validation"] or [])[: whole["experience"]]]
    return _finite(_mean(old))


def _courses(rows: Sequence[AccuracyRow]) -> dict[int, list[list[float]]]:
    """The held-out scores of each experience's evaluations in order, NaN where there is none or it is not finite."""
    found: dict[int, list[list[float]]] = {}
    # an evaluation after a stage comes after one at its last step
    for row in sorted(rows, key=lambda row: (row["global_step"], row["after"] != "step")):
        scores = row["validation"] or [None] * len(row["accuracy"])
        if row["experience"] >= 0:
            found.setdefault(row["experience"], []).append([_number(one) for one in scores])
    return found


def _number(score: float | None) -> float:
    return score if score is not None and math.isfinite(score) else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _least(values: Sequence[float]) -> float:
    """The smallest, NaN where one of them is: Python's own depends on their order."""
    return math.nan if any(map(math.isnan, values)) else min(values)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values and all(map(math.isfinite, values)) else math.nan

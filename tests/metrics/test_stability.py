"""Gap, recovery and worst scores, against numbers that were computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from dreamer.metrics import recency_bias, stability
from dreamer.metrics.record import step_logs
from dreamer.metrics.stability import old_average
from dreamer.problems import Classification, Regression

NOTHING = {"min_accuracy": None, "worst_case_accuracy": None, "stability_gap": None, "recovery": None}


def row(after: str, experience: int, step: int, held: list[float | None]) -> dict[str, Any]:
    return {
        "after": after,
        "experience": experience,
        "night": -1,
        "stage": experience,
        "global_step": step,
        "accuracy": [0.123] * len(held),
        "validation": held,
        "recency_bias": None,
    }


ROWS = [
    row("birth", -1, 0, [0.0, 0.5, 0.5]),
    row("wake", 0, 10, [0.9, 0.0, 0.0]),
    row("wake", 1, 20, [0.6, 0.8, 0.0]),
    row("night", 1, 25, [0.7, 0.75, 0.0]),
    row("wake", 2, 35, [0.5, 0.6, 1.0]),
]
STEPS = [
    row("step", 1, 12, [0.2, 0.4, None]),
    row("step", 1, 22, [0.65, 0.7, None]),
    row("step", 2, 27, [0.4, 0.1, 0.2]),
    row("step", 2, 30, [0.3, 0.5, 0.6]),
]
# before experience 1: 0.9; within 1: min 0.2, end 0.7; before 2: 0.7, 0.75; within 2: min 0.3, 0.1, end 0.5, 0.6
BY_HAND = {
    "min_accuracy": (0.2 + 0.1) / 2,
    "worst_case_accuracy": 1.0 / 3 + 2 / 3 * 0.15,
    "stability_gap": ((0.9 - 0.2) + (0.7 - 0.3 + 0.75 - 0.1) / 2) / 2,
    "recovery": ((0.7 - 0.2) + (0.5 - 0.3 + 0.6 - 0.1) / 2) / 2,
}


def test_all_numbers_by_hand():
    assert stability(ROWS, STEPS) == pytest.approx(BY_HAND)


def test_the_order_in_which_rows_are_given_does_not_matter_and_test_scores_are_not_read():
    blind = [{**one, "accuracy": [None] * 3} for one in reversed(STEPS)]
    assert stability(ROWS, blind) == pytest.approx(BY_HAND)


def test_without_evaluations_within_stages_those_after_them_count():
    found = stability(ROWS)
    # within 1: min 0.6, end 0.7; within 2: one evaluation
    assert found["stability_gap"] == pytest.approx(((0.9 - 0.6) + (0.2 + 0.15) / 2) / 2)
    assert found["recovery"] == pytest.approx(0.1 / 2)
    assert found["min_accuracy"] == pytest.approx((0.5 + 0.6) / 2)


def test_an_evaluation_after_a_stage_is_later_than_one_at_its_last_step():
    last = [*STEPS, row("step", 2, 35, [0.0, 0.0, 0.0])]
    found = stability(ROWS, last)
    assert found["min_accuracy"] == 0.0
    assert found["recovery"] == pytest.approx(((0.7 - 0.2) + (0.5 + 0.6) / 2) / 2)


def test_where_less_is_better_the_worst_is_the_largest_and_gaps_are_positive():
    def errors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**one, "validation": [None if value is None else 100 - 100 * value for value in one["validation"]]}
            for one in rows
        ]

    found = stability(errors(ROWS), errors(STEPS), higher_is_better=False)
    assert found["stability_gap"] == pytest.approx(100 * BY_HAND["stability_gap"])
    assert found["recovery"] == pytest.approx(100 * BY_HAND["recovery"])
    assert found["min_accuracy"] == pytest.approx(100 - 100 * BY_HAND["min_accuracy"])
    assert found["worst_case_accuracy"] == pytest.approx(100 - 100 * BY_HAND["worst_case_accuracy"])


def test_pieces_of_one_experience_are_one():
    def pieces(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        # the first experience in two pieces
        return [
            {
                **one,
                "experience": one["experience"] + 1 if one["experience"] >= 0 else -1,
                "accuracy": [0.1] * 4,
                "validation": [one["validation"][0], *one["validation"]],
            }
            for one in rows
        ]

    early = row("wake", 0, 5, [0.1, 0.1, None, None])
    found = stability([*pieces(ROWS), early], pieces(STEPS), origins=(0, 0, 1, 2))
    assert found == pytest.approx(BY_HAND)


@pytest.mark.parametrize("odd", [None, math.nan, math.inf])
def test_a_score_that_is_not_there_makes_no_number_up(odd: float | None):
    steps = [*STEPS, row("step", 2, 31, [odd, 0.5, 0.5])]
    assert stability(ROWS, steps)["min_accuracy"] is None
    assert stability(ROWS, [*steps[:2], *reversed(steps[2:])])["stability_gap"] is None


def test_what_was_not_reached_is_not_defined():
    assert stability(ROWS[:3], STEPS[:1]) == NOTHING
    assert stability([], []) == NOTHING
    assert stability([row("birth", -1, 0, [0.0]), row("wake", 0, 5, [1.0])]) == NOTHING
    unheld = [{**one, "validation": None} for one in ROWS]
    assert stability(unheld) == NOTHING


def test_old_experiences_alone_are_averaged_and_logged():
    assert old_average(STEPS[2]) == pytest.approx(0.25)
    assert old_average(row("step", 0, 3, [0.5, 0.5, 0.5])) is None
    logged = step_logs({**STEPS[0], "recency_bias": 0.25}, (0, 1, 2), Classification())
    assert logged == {
        "continual/accuracy/experience_0": 0.2,
        "continual/accuracy/experience_1": 0.4,
        "continual/old_accuracy": 0.2,
        "continual/recency_bias": 0.25,
    }


def test_recency_bias_by_hand():
    # four samples of old classes 0 and 1, one of the recent class 2: two of the four are taken for it
    outputs = torch.eye(4)[[0, 2, 1, 2, 2]]
    y, recent = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([False, False, True, False])
    taken = Classification().taken_for(outputs, y, None, recent)
    assert (taken.total, taken.weight, taken.value) == (2, 4, 0.5)
    masked = Classification().taken_for(outputs, y, torch.tensor([True, True, False, True]), recent)
    assert masked.value == 0.0
    assert Classification().taken_for(outputs[4:], y[4:], None, recent).value is None
    assert Regression().taken_for(torch.zeros(2, 1), torch.zeros(2), None, recent).value is None
    assert recency_bias([0.25, 0.5, None]) == 0.375 and recency_bias([]) is None

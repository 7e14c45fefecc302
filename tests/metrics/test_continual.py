"""The numbers of a run: by hand, by their definitions, and as Avalanche computes them from the same predictions."""

from __future__ import annotations

import math

import pytest
import torch

from dreamer import metrics
from tests.helpers.made_up_runs import fake_results

R = torch.tensor([[0.9, 0.2, 0.1], [0.6, 0.8, 0.3], [0.7, 0.5, 0.6]], dtype=torch.float64)
INITIAL = torch.tensor([0.1, 0.15, 0.05], dtype=torch.float64)


def row(after, experience, accuracy, night=-1):
    return {
        "after": after,
        "experience": experience,
        "night": night,
        "stage": 0,
        "global_step": 0,
        "accuracy": accuracy,
        "validation": None,
    }


def test_numbers_by_hand():
    assert metrics.average_accuracy(R) == pytest.approx((0.7 + 0.5 + 0.6) / 3)
    assert metrics.forgetting(R) == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert metrics.backward_transfer(R) == pytest.approx(-((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert metrics.forward_transfer(R, INITIAL) == pytest.approx(((0.2 - 0.15) + (0.3 - 0.05)) / 2)


def test_maximum_based_forgetting_looks_at_every_row_but_the_last():
    later_best = R.clone()
    later_best[1, 0] = 0.95
    assert metrics.forgetting_max(R) == pytest.approx(metrics.forgetting(R))
    assert metrics.forgetting_max(later_best) == pytest.approx(((0.95 - 0.7) + (0.8 - 0.5)) / 2)
    last_best = R.clone()
    last_best[2, 0] = 1.0
    assert metrics.forgetting_max(last_best) == pytest.approx(((0.9 - 1.0) + (0.8 - 0.5)) / 2)


def test_accuracy_of_predictions():
    assert metrics.accuracy(torch.tensor([1, 2, 3, 3]), torch.tensor([1, 2, 3, 0])) == 0.75
    assert metrics.accuracy(torch.tensor([]), torch.tensor([])) is None
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        metrics.accuracy(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match=r"\(2, 1\)"):
        metrics.accuracy(torch.zeros(2, 1), torch.zeros(2, 1))


def test_a_row_of_the_matrix_is_the_last_evaluation_of_its_experience():
    rows = [
        row("birth", -1, [0.1, 0.1]),
        row("wake", 0, [0.5, 0.0]),
        row("night", 0, [0.6, 0.0], night=0),
        row("wake", 0, [0.8, 0.0]),
        row("night", 0, [0.9, 0.1], night=1),
        row("wake", 1, [0.3, 0.7]),
    ]
    assert metrics.accuracy_matrix(rows).tolist() == [[0.9, 0.1], [0.3, 0.7]]
    assert metrics.accuracy_matrix(rows, after="wake").tolist() == [[0.8, 0.0], [0.3, 0.7]]
    assert metrics.accuracy_matrix(rows, after="night") is None
    assert metrics.initial_accuracies(rows).tolist() == [0.1, 0.1]
    assert metrics.initial_accuracies(rows[1:]) is None


def test_sleep_gain_is_the_mean_change_over_experiences_seen():
    rows = [
        row("wake", 0, [0.5, 0.0, 0.9]),
        row("night", 0, [0.7, 0.9, 0.0], night=0),
        row("wake", 1, [0.2, 0.8, 0.0]),
        row("night", 1, [0.6, 0.6, 0.0], night=1),
        row("wake", 2, [0.1, 0.1, 0.1]),
    ]
    assert metrics.night_gains(rows) == pytest.approx([0.2, 0.1])
    assert metrics.sleep_gain(rows) == pytest.approx(0.15)


def test_a_night_without_an_evaluation_before_it_has_no_gain():
    rows = [row("wake", 0, [0.5, 0.0]), row("night", 1, [0.5, 0.5], night=0)]
    assert metrics.night_gains(rows) == [None]
    assert metrics.sleep_gain(rows) is None


def test_undefined_numbers_are_none():
    one = torch.tensor([[0.9]], dtype=torch.float64)
    assert metrics.average_accuracy(one) == 0.9
    for undefined in (metrics.forgetting(one), metrics.forgetting_max(one), metrics.backward_transfer(one)):
        assert undefined is None
    assert metrics.forward_transfer(one, torch.tensor([0.1])) is None
    assert set(metrics.summarise([]).values()) == {None}
    assert metrics.average_seen([0.5, 0.7], -1) is None


def test_a_missing_test_set_spoils_no_other_number():
    rows = [
        row("birth", -1, [None, 0.1, 0.1]),
        row("wake", 0, [None, 0.0, 0.0]),
        row("wake", 1, [None, 0.9, 0.2]),
        row("wake", 2, [None, 0.8, 0.9]),
    ]
    summary = metrics.summarise(rows)
    assert summary["average_accuracy"] == pytest.approx(0.85)
    assert summary["forgetting"] == summary["forgetting_max"] == pytest.approx(0.1)
    assert summary["backward_transfer"] == pytest.approx(-0.1)
    assert summary["forward_transfer"] == pytest.approx(((0.0 - 0.1) + (0.2 - 0.1)) / 2)


def test_an_interrupted_run_has_only_the_gain_of_its_nights():
    rows = fake_results(5)["accuracy_matrix"]["rows"][:5]
    summary = metrics.summarise(rows)
    assert summary.pop("sleep_gain") is not None
    assert set(summary.values()) == {None}


def test_complete_runs_have_defined_and_finite_numbers():
    for sleep in (True, False):
        summary = metrics.summarise(fake_results(5, sleep=sleep)["accuracy_matrix"]["rows"])
        assert (summary.pop("sleep_gain") is not None) == sleep
        assert summary.pop("recency_bias") is None, "these evaluations do not hold it"
        assert all(math.isfinite(value) for value in summary.values())


@pytest.fixture(scope="module")
def predictions():
    """Predictions of 4 experiences of different sizes after each of 4 experiences, and the true labels."""
    random = torch.Generator().manual_seed(7)
    targets = [torch.randint(0, 8, (size,), generator=random) for size in (57, 101, 83, 40)]
    after = []
    for stage in range(4):
        guesses = [torch.randint(0, 8, y.shape, generator=random) for y in targets]
        luck = [torch.rand(y.shape, generator=random) < 0.9 - 0.2 * abs(stage - j) for j, y in enumerate(targets)]
        after.append([torch.where(hit, y, guess) for hit, y, guess in zip(luck, targets, guesses, strict=True)])
    return after, targets


@pytest.mark.filterwarnings("ignore:no QP solver found")  # one of the libraries that Avalanche imports
def test_equal_to_avalanche(predictions):
    from avalanche.evaluation.metrics import BWT, Accuracy, Forgetting

    after, targets = predictions
    ours = [row("wake", i, metrics.experience_accuracies(predicted, targets)) for i, predicted in enumerate(after)]
    lost, transfer = Forgetting(), BWT()
    for i, predicted in enumerate(after):
        for j, (guess, true) in enumerate(zip(predicted, targets, strict=True)):
            theirs = Accuracy()
            for part in range(0, len(true), 32):
                theirs.update(guess[part : part + 32], true[part : part + 32])
            assert ours[i]["accuracy"][j] == pytest.approx(theirs.result(), abs=1e-6)
            # as Avalanche's plugins do: initial for the experience just learnt, last for all others
            lost.update(j, theirs.result(), initial=i == j)
            transfer.update(j, theirs.result(), initial=i == j)
    summary = metrics.summarise(ours)
    first_minus_last = [lost.result_key(j) for j in range(3)]
    assert summary["forgetting"] == pytest.approx(sum(first_minus_last) / 3, abs=1e-6)
    assert summary["backward_transfer"] == pytest.approx(sum(transfer.result_key(j) for j in range(3)) / 3, abs=1e-6)
    matrix = metrics.accuracy_matrix(ours)
    assert (matrix.diagonal() - matrix[-1])[:3].tolist() == pytest.approx(first_minus_last, abs=1e-6)

"""Words follow numbers."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from dreamer.metrics.significance import equivalence
from dreamer.studies.study import Contrast
from dreamer.studies.verdicts import agreements, compare
from tests.helpers.toy_study import toy_study

STUDY = toy_study()


def result(differences: list[float], margin: float = 0.02, outcome: str = "score"):
    contrast = Contrast("coins", "lucky", "plain", outcome, margin)
    scores = {
        ("coins", "lucky", outcome): {seed: 0.5 + value for seed, value in enumerate(differences)},
        ("coins", "plain", outcome): {seed: 0.5 for seed in range(len(differences))},
    }
    return compare([contrast], STUDY, scores)[0]


SMALL = [0.001, -0.002, 0.003, -0.001, 0.002, -0.003, 0.001, -0.001]
LARGE = [0.101, 0.098, 0.103, 0.099, 0.102, 0.097, 0.100, 0.104]
WIDE = [0.2, -0.15, 0.3, -0.25, 0.1, -0.3, 0.05, 0.02]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        (LARGE, "better"),
        ([-value for value in LARGE], "worse"),
        (SMALL, "equivalent within the margin"),
        (WIDE, "no difference shown"),
        ([], "no pairs"),
        ([0.1], "too few pairs"),
    ],
)
def test_the_words_for_what_can_be_found(differences: list[float], verdict: str) -> None:
    assert result(differences).verdict == verdict


def test_less_is_better_where_the_measure_says_so_and_the_difference_keeps_its_sign() -> None:
    found = result(LARGE, outcome="loss")
    assert found.verdict == "worse"
    assert found.difference == pytest.approx(sum(LARGE) / len(LARGE))
    assert found.low < found.difference < found.high
    low, high = stats.t.interval(0.95, 7, loc=found.difference, scale=stats.sem(LARGE))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_a_difference_that_is_shown_but_smaller_than_matters_is_equivalence_and_says_so() -> None:
    found = result([0.001 * value for value in (5, 6, 4, 5, 6, 5, 4, 7)])
    assert found.p <= 0.05
    assert found.verdict == "equivalent within the margin"
    assert found.reason == "the arm is better, by less than matters"


def test_five_pairs_are_too_few_for_better_and_the_reason_says_so() -> None:
    found = result(LARGE[:5])
    assert found.verdict == "too few pairs"
    assert "with 5 pairs no p below 2/2^5" in found.reason


def test_seeds_that_one_arm_lacks_are_left_out() -> None:
    contrast = Contrast("coins", "lucky", "plain", "score", 0.02)
    scores = {("coins", "lucky", "score"): {1: 0.6, 2: 0.7}, ("coins", "plain", "score"): {2: 0.5, 3: 0.5}}
    found = compare([contrast], STUDY, scores)[0]
    assert (found.n, found.difference) == (1, pytest.approx(0.2))


@pytest.mark.parametrize("differences", [SMALL, LARGE, WIDE, [0.01, 0.02, 0.015]])
@pytest.mark.parametrize("margin", [0.005, 0.02, 0.2])
def test_equivalence_is_two_one_sided_t_tests_and_the_90_percent_interval(differences, margin) -> None:
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    p = equivalence(differences, margin)
    assert p == pytest.approx(max(above, below))
    mean = sum(differences) / len(differences)
    low, high = stats.t.interval(0.90, len(differences) - 1, loc=mean, scale=stats.sem(differences))
    assert (p <= 0.05) == (-margin <= low and high <= margin)


def test_differences_that_are_all_equal_conclude_nothing() -> None:
    for count, verdict in ((2, "too few pairs"), (8, "too few pairs")):
        found = result([0.001] * count)
        assert (found.verdict, found.p_equivalent) == (verdict, None)
    assert result([0.001] * 8).reason == "all 8 differences are equal, so they count as one pair"
    assert result([0.0] * 8).verdict == "no difference shown"
    assert equivalence([0.01], 0.02) is None


def test_outcomes_that_are_no_number_are_missing_pairs_and_said() -> None:
    for odd in (math.nan, math.inf, None):
        contrast = Contrast("coins", "lucky", "plain", "score", 0.02)
        scores = {
            ("coins", "lucky", "score"): {**dict(enumerate(0.5 + value for value in SMALL)), 8: odd},
            ("coins", "plain", "score"): dict.fromkeys(range(9), 0.5),
        }
        found = compare([contrast], STUDY, scores)[0]
        whole = result(SMALL)
        assert (found.n, found.missing, found.verdict) == (8, 1, "equivalent within the margin")
        assert (found.p_equivalent, found.low) == (pytest.approx(whole.p_equivalent), pytest.approx(whole.low))
        assert found.reason == "1 pair is missing, with a score that is NaN, infinite or undefined"


def test_both_kinds_of_tests_are_corrected_over_the_family() -> None:
    contrast = Contrast("coins", "lucky", "plain", "score", 0.02)
    other = Contrast("coins", "plain", "lucky", "score", 0.02)
    scores = {
        ("coins", "lucky", "score"): dict(enumerate(0.5 + value for value in LARGE)),
        ("coins", "plain", "score"): dict.fromkeys(range(8), 0.5),
    }
    alone = compare([contrast], STUDY, scores)[0]
    both = compare([contrast, other], STUDY, scores)
    assert alone.p == pytest.approx(2 / 2**8)
    assert [each.p for each in both] == [pytest.approx(2 * alone.p)] * 2
    assert [each.verdict for each in both] == ["better", "worse"]


def test_a_measurement_far_from_theory_departs_and_a_near_one_does_not() -> None:
    near, far = agreements([("d", "a", "m", 9, 1.0, 1.01, 0.01), ("d", "b", "m", 9, 1.0, 1.2, 0.01)])
    assert (near.departs, far.departs) == (False, True)
    assert near.z == pytest.approx(-1.0)
    assert near.p == pytest.approx(2 * stats.norm.sf(1.0))

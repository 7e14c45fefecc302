"""The tests that comparisons and studies rest on, against scipy and against what comes out by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dreamer.metrics.significance import (
    Summary,
    equivalence,
    holm,
    paired_differences,
    paired_tests,
    pairs_needed,
    rank,
    smallest_p,
    summarise,
    wilcoxon,
)


def test_summary_is_that_of_scipy():
    values = [0.91, 0.87, 0.93, 0.88, 0.9]
    found = summarise(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.n, found.mean) == (5, pytest.approx(0.898))
    assert found.std == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_summary_of_two_by_hand():
    found = summarise([0.5, 0.7])  # std 0.2 / sqrt 2, standard error 0.1, t(0.975, 1) = 12.7062
    assert found.std == pytest.approx(0.2 / math.sqrt(2))
    assert (found.low, found.high) == (pytest.approx(0.6 - 1.27062, abs=1e-5), pytest.approx(0.6 + 1.27062, abs=1e-5))


def test_summary_of_one_or_none_has_no_spread():
    one, none = summarise([0.25]), summarise([])
    assert (one.n, one.mean, one.std, one.low, one.high) == (1, 0.25, None, None, None)
    assert (none.n, none.mean, none.std, none.low, none.high) == (0, None, None, None, None)


def test_equal_numbers_have_no_spread_at_all():
    found = summarise([0.1] * 7)
    assert (found.mean, found.std, found.low, found.high) == (0.1, 0.0, 0.1, 0.1)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 9, 20])
def test_wilcoxon_without_ties_is_scipys_exact_one(n):
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.3, 1.0, n)
        assert wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


@pytest.mark.parametrize(
    "differences",
    [
        [1, 1, 1, -1, 2, 2],
        [3, -3, 3, -3],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
        [1, 2, 2, 3, 3, 3, -1, -2],
        [-4, 4, -1, 1, 2, -5, -5, -5, -5],
    ],
)
def test_wilcoxon_with_ties_counts_all_signs(differences):
    ranks = stats.rankdata(np.abs(differences))
    centre = ranks.sum() / 2
    seen = abs(ranks[np.array(differences) > 0].sum() - centre)
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    assert wilcoxon(differences) == pytest.approx(np.mean([abs(total - centre) >= seen for total in sums]))


def test_wilcoxon_leaves_zeros_out():
    assert wilcoxon([0, 1, 2, 0, -3, 4]) == wilcoxon([1, 2, -3, 4])
    assert wilcoxon([0.0, 0.0, 0.0]) == 1.0


def test_wilcoxon_sees_no_order_in_rounding_errors():
    differences = [0.9 - 0.8, 0.8 - 0.7, 0.4 - 0.5, 0.7 - 0.6, 0.3 - 0.2, 0.2 - 0.1]
    assert len({abs(value) for value in differences}) > 1, "else nothing is tested"
    assert wilcoxon(differences) == wilcoxon([1, 1, -1, 1, 1, 1]) == pytest.approx(14 / 64)


def test_below_six_pairs_nothing_reaches_one_in_twenty():
    assert (
        [wilcoxon([1.0] * n) for n in (1, 2, 5, 6)] == [smallest_p(n) for n in (1, 2, 5, 6)] == [1, 0.5, 1 / 16, 1 / 32]
    )
    assert (pairs_needed(1), pairs_needed(2), pairs_needed(11)) == (6, 7, 9)


def test_holm_by_hand():
    # sorted 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04, the last one held up by the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.02, 0.5]) == pytest.approx([1.0, 0.06, 1.0])
    assert holm([0.04]) == [0.04] and holm([]) == []


def test_holm_is_the_closed_test_by_bonferroni():
    p = [0.04, 0.011, 0.3, 0.012, 0.04]
    families = [family for k in range(1, 6) for family in itertools.combinations(range(5), k)]
    closed = [max(min(1.0, len(f) * min(p[j] for j in f)) for f in families if i in f) for i in range(5)]
    assert holm(p) == pytest.approx(closed)


def test_paired_numbers_are_those_of_scipy():
    arm = np.array([0.92, 0.95, 0.91, 0.97, 0.93, 0.9, 0.96])
    reference = np.array([0.9, 0.91, 0.92, 0.9, 0.88, 0.84, 0.93])
    (found,) = paired_tests([list(arm - reference)])
    t = stats.ttest_rel(arm, reference)
    low, high = t.confidence_interval(0.95)
    assert (found.n, found.difference) == (7, pytest.approx(np.mean(arm - reference)))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.d_z == pytest.approx(t.statistic / math.sqrt(7))
    assert found.p == found.p_holm == pytest.approx(2 * 2 / 2**7)
    assert found.verdict == found.conclusion == "better"


def test_too_few_pairs_say_so_however_large_the_difference():
    for n, smallest in ((1, "2/2^1 = 1 "), (2, "2/2^2 = 0.5 "), (5, "2/2^5 = 0.0625 ")):
        (found,) = paired_tests([[0.5 + 0.01 * i for i in range(n)]])
        assert found.verdict == "too few pairs" and smallest in found.conclusion
        assert f"with {n} pair{'' if n == 1 else 's'} no p" in found.conclusion


def test_the_correction_may_need_more_pairs():
    first, second = paired_tests([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.01, 0.02, -0.03, 0.04, 0.05, 0.06]])
    assert first.p == 2 / 64 and first.p_holm == 4 / 64
    assert first.conclusion == "too few pairs: with 6 pairs and 2 tests no corrected p below 0.0625 is possible"
    assert second.verdict == "too few pairs"


def test_verdicts_follow_the_corrected_p():
    up = [0.1 + 0.01 * i for i in range(8)]
    open_ = [0.01, -0.02, 0.03, -0.04, 0.05, -0.06, 0.07, -0.08]
    better, worse, neither, none = paired_tests([up, [-value for value in up], open_, []])
    assert [better.verdict, worse.verdict, neither.verdict] == ["better", "worse", "no difference shown"]
    assert better.p == worse.p == 2 / 256 and better.p_holm == worse.p_holm == pytest.approx(3 * 2 / 256)
    assert neither.p_holm == neither.p == wilcoxon(open_)
    assert (none.n, none.difference, none.p, none.p_holm, none.verdict) == (0, None, None, None, "no pairs")


def test_ranks_and_mean_that_disagree_conclude_nothing():
    (found,) = paired_tests([[*(0.01 + 0.001 * i for i in range(15)), -0.9]])
    assert found.p_holm < 0.05 and found.difference < 0
    assert found.conclusion == "no difference shown: most seeds point one way, their mean the other"


def test_constant_differences_have_no_effect_size():
    constant, zero = paired_tests([[0.9 - 0.8, 0.8 - 0.7, 0.3 - 0.2, 0.4 - 0.3, 0.6 - 0.5, 0.7 - 0.6, 0.1], [0.0] * 7])
    assert (constant.difference, constant.std, constant.low, constant.high) == (0.1, 0.0, 0.1, 0.1)
    assert constant.d_z is None and constant.p == 2 / 2**7
    assert constant.conclusion == "too few pairs: all 7 differences are equal, so they count as one pair"
    assert (zero.difference, zero.d_z, zero.p, zero.verdict) == (0.0, None, 1.0, "no difference shown")
    assert zero.reason == "all 7 differences are equal"


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
def test_what_is_no_number_is_missing_and_counted(odd):
    values = [0.91, odd, 0.87, 0.93, odd]
    found = summarise(values)
    assert found == dataclasses.replace(summarise([0.91, 0.87, 0.93]), missing=2)
    assert summarise([0.01, odd]) == Summary(1, 0.01, None, None, None, 1)
    assert summarise([odd]) == Summary(0, None, None, None, None, 1)
    assert wilcoxon([0.3, odd, -0.1, 0.2]) == pytest.approx(stats.wilcoxon([0.3, -0.1, 0.2], method="exact").pvalue)
    assert wilcoxon([odd]) == 1.0


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
def test_equivalence_leaves_out_what_is_no_number(odd):
    differences = [0.001, -0.002, 0.003]
    above = stats.ttest_1samp(differences, -0.005, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.005, alternative="less").pvalue
    assert equivalence([*differences, odd], 0.005) == pytest.approx(max(above, below))
    assert equivalence([0.001, odd], 0.005) is None


@pytest.mark.parametrize("equal", [[0.001] * 2, [0.001] * 9, [0.0] * 5, [0.9 - 0.8, 0.8 - 0.7, 0.3 - 0.2]])
def test_nothing_is_equivalent_by_differences_that_are_all_equal(equal):
    assert equivalence(equal, 0.5) is None


def test_pairs_that_are_missing_are_said_in_the_conclusion():
    up = [0.1 + 0.01 * i for i in range(7)]
    better, few, none, whole = paired_tests([[*up, NAN], [0.1, INF, 0.2], [NAN, INF], up])
    assert (better.n, better.missing, better.verdict) == (7, 1, "better")
    assert better.conclusion == "better: 1 pair is missing, with a score that is NaN, infinite or undefined"
    assert (few.n, few.missing, few.verdict) == (2, 1, "too few pairs") and few.reason.endswith(better.reason)
    assert (none.n, none.missing, none.p, none.verdict) == (0, 2, None, "no pairs")
    assert none.reason == "2 pairs are missing, with a score that is NaN, infinite or undefined"
    assert whole.missing == 0 and whole.conclusion == "better"
    assert (better.p, better.p_holm, better.low) == (whole.p, whole.p_holm, whole.low)


def test_a_pair_in_which_one_has_no_score_is_missing():
    found = paired_differences({1: 0.5, 2: None, 3: 0.7, 4: 0.9}, {1: 0.25, 2: 0.3, 3: NAN})
    assert found[0] == 0.25 and all(map(math.isnan, found[1:])) and len(found) == 3


def test_holm_refuses_what_is_no_p_value():
    for odd in (NAN, 1.5, -0.1):
        with pytest.raises(ValueError, match=r"expected p values in \[0, 1\]"):
            holm([0.01, odd])


def test_ties_have_equal_ranks_and_blocks_are_whole():
    scores = {
        "a": {"x": {0: 0.9, 1: 0.8, 2: 0.7}, "y": {0: 0.9, 1: 0.7}, "z": {0: 0.5, 1: 0.6, 2: 0.9}},
        "b": {"x": {0: 0.3}, "y": {0: 0.1}, "z": {0: 0.4}},
    }
    found = rank(scores)  # blocks: x 1.5 1 2, y 1.5 2 3, z 3 3 1; seed 2 lacks y
    assert found.blocks == 3
    assert found.mean_ranks == pytest.approx({"x": 4.5 / 3, "y": 6.5 / 3, "z": 7 / 3})


def test_ranks_leave_out_who_never_scored():
    found = rank({"a": {"x": {0: 0.9}, "y": {}, "z": {0: 0.95}}})
    assert found.mean_ranks == {"x": 2.0, "z": 1.0}
    assert (found.blocks, found.statistic, found.p) == (1, None, None)
    assert rank({"a": {"x": {}, "y": {}}}).blocks == rank({}).blocks == 0


def test_a_block_with_a_score_that_is_no_number_is_left_out():
    found = rank({"a": {"x": {0: 0.9, 1: NAN, 2: 0.1}, "y": {0: 0.5, 1: 0.3, 2: INF}, "z": {0: NAN}}})
    assert (found.blocks, found.mean_ranks) == (1, {"x": 1.0, "y": 2.0})


def test_equal_on_paper_is_equal_in_rank():
    found = rank({"a": {"x": {0: 0.1 + 0.2}, "y": {0: 0.3}}})
    assert found.mean_ranks == {"x": 1.5, "y": 1.5}


def test_friedman_by_hand():
    # four blocks agree: 12 / (4 * 3 * 4) * (4^2 + 8^2 + 12^2) - 3 * 4 * 4 = 8, with two degrees of freedom e^(-8 / 2)
    found = rank({"a": {arm: dict.fromkeys(range(4), score) for arm, score in (("x", 0.9), ("y", 0.8), ("z", 0.7))}})
    assert found.statistic == pytest.approx(8.0) and found.p == pytest.approx(math.exp(-4))


def test_friedman_is_scipys_also_with_ties():
    values = np.random.default_rng(3).integers(0, 4, (6, 4)) / 10
    found = rank({"a": {f"arm{j}": dict(enumerate(values[:, j])) for j in range(4)}})
    statistic, p = stats.friedmanchisquare(*values.T)
    assert (found.statistic, found.p) == (pytest.approx(statistic), pytest.approx(p))


def test_no_friedman_test_of_two_arms_one_block_or_ties_alone():
    three = ("x", "y", "z")
    assert rank({"a": {arm: {0: 0.1, 1: 0.2} for arm in three[:2]}}).p is None
    assert rank({"a": {arm: {0: 0.1 * i} for i, arm in enumerate(three)}}).p is None
    tied = rank({"a": {arm: {0: 0.1, 1: 0.2} for arm in three}})
    assert tied.p is None and set(tied.mean_ranks.values()) == {2.0}

"""What may be concluded from the scores of several arms with the same seeds: one set of tests, one set of verdicts.

Pure functions of plain numbers, for comparisons and studies alike; larger scores are better. What is not defined, such
as the deviation of one number, is None: never NaN and never a made-up 0. A score that is NaN or infinite is missing: it
is left out, counted, and said in the conclusion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

ALPHA = 0.05
"""The largest corrected p value at which a difference, or equivalence, counts as shown."""
Verdict = Literal["better", "worse", "equivalent within the margin", "no difference shown", "too few pairs", "no pairs"]
NO_NUMBER = "NaN, infinite or undefined"
"""What a missing score is called."""
CONCLUSIVE = ("better", "worse", "equivalent within the margin")
"""Verdicts that conclude something; all others leave it open."""

_CONFIDENCE = 0.95
# differences that are equal on paper differ by rounding errors, in which a test on ranks would see an order
_DECIMALS = 12


@dataclass(frozen=True)
class Summary:
    """Some numbers in five.

    Attributes:
        n: how many.
        mean: None of no numbers.
        std: with n - 1; None below two numbers.
        low: lower end of the 95 % interval of the mean (Student's t with n - 1 degrees of freedom, not cut to the range
            of a fraction); None below two numbers.
        high: its upper end.
        missing: how many were NaN or infinite, and left out.
    """

    n: int
    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    missing: int = 0


@dataclass(frozen=True)
class Paired:
    """An arm against another one, seed by seed.

    Attributes:
        n: seeds for which both have a score.
        difference: mean of the differences; None without pairs.
        std: of the differences, with n - 1; None below two pairs.
        low: lower end of the 95 % t interval of the mean difference; None below two pairs.
        high: its upper end.
        d_z: Cohen's d_z, mean over standard deviation of the differences; None below two pairs, and where all
            differences are equal, which leaves nothing to measure them by.
        p: of the two-sided Wilcoxon signed-rank test, exact (see :func:`wilcoxon`); None without pairs.
        p_holm: the same after Holm's correction over the family of tests.
        verdict: in a few words.
        conclusion: the verdict, with its reason where there is one.
        missing: pairs that were left out because a score in them is NaN, infinite or undefined.
    """

    n: int
    difference: float | None
    std: float | None
    low: float | None
    high: float | None
    d_z: float | None
    p: float | None
    p_holm: float | None
    verdict: Verdict
    conclusion: str
    missing: int = 0

    @property
    def reason(self) -> str:
        """Why the verdict is no stronger, and how many pairs are missing; may be empty."""
        return self.conclusion.removeprefix(self.verdict).removeprefix(": ")

    @property
    def left_out(self) -> str:
        """How many pairs are missing, in words; empty where none is."""
        return _left_out(self.missing)


@dataclass(frozen=True)
class Ranking:
    """How arms rank on average.

    Attributes:
        blocks: pairs of stream and seed in which every arm has a score; arms without any score are left out.
        mean_ranks: by arm, 1 is the best; empty without blocks.
        statistic: Friedman's chi-squared, corrected for ties; None below three arms or two blocks, and where all arms
            are equal in every block.
        p: its upper tail in the chi-squared distribution, an approximation for few blocks; None as above.
    """

    blocks: int
    mean_ranks: Mapping[str, float]
    statistic: float | None
    p: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95 % interval of some numbers: ``mean +- t(0.975, n - 1) * std / sqrt(n)``.

    >>> summarise([0.5, float("nan")])
    Summary(n=1, mean=0.5, std=None, low=None, high=None, missing=1)
    """
    kept = _finite(values)
    n, missing = len(kept), len(values) - len(kept)
    if not n:
        return Summary(0, None, None, None, None, missing)
    constant = min(kept) == max(kept)  # without the rounding errors of a sum
    mean = float(kept[0]) if constant else math.fsum(kept) / n
    if n == 1:
        return Summary(1, mean, None, None, None, missing)
    std = 0.0 if constant else math.sqrt(math.fsum((value - mean) ** 2 for value in kept) / (n - 1))
    reach = float(stats.t.ppf((1 + _CONFIDENCE) / 2, n - 1)) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - reach, mean + reach, missing)


def wilcoxon(differences: Sequence[float]) -> float:
    """The two-sided p value of the Wilcoxon signed-rank test, exact for every number of pairs.

    The p value is the fraction of all 2^n ways to put signs before the ranks that give a sum of positive ranks at least
    as far from its mean. Differences that agree to 12 decimals get their mean rank, and signs are counted over these
    ranks, so ties need no approximation. Zeros say nothing about a direction and are left out before ranking, as
    Wilcoxon did, and so are NaN and infinity; where nothing else is left p is 1. Source: Wilcoxon 1945, "Individual
    comparisons by ranking methods".

    Returns:
        A number in (0, 1].
    """
    ranks, signs = _signed_ranks(differences)
    doubled = np.rint(2 * ranks).astype(int)  # mean ranks are halves of whole numbers
    chances = np.ones(1)
    for rank_ in doubled:
        chances = 0.5 * (np.pad(chances, (0, rank_)) + np.pad(chances, (rank_, 0)))
    positive = int(doubled[signs > 0].sum())
    extreme = min(positive, int(doubled.sum()) - positive)
    return min(1.0, 2 * float(chances[: extreme + 1].sum()))


def equivalence(differences: Sequence[float], margin: float) -> float | None:
    """The p value of two one-sided t tests (TOST): a mean beyond the margin on either side is rejected.

    ``max(P(T > (mean + margin) / se), P(T < (mean - margin) / se))`` with n - 1 degrees of freedom; it is at most 0.05
    where the 90 % t interval lies within the margin. It assumes that differences are about normal. Differences that are
    all equal say nothing about how far the mean may vary, so nothing is concluded from them. Source: Schuirmann 1987,
    "A comparison of the two one-sided tests procedure and the power approach".

    Args:
        differences: one for each pair; NaN and infinity are left out.
        margin: the smallest difference that matters, above 0.

    Returns:
        A number in [0, 1]; None below two pairs, and where all differences agree to 12 decimals.
    """
    about = summarise([round(value, _DECIMALS) for value in _finite(differences)])
    if about.mean is None or not about.std:
        return None
    error = about.std / math.sqrt(about.n)
    above = stats.t.sf((about.mean + margin) / error, about.n - 1)
    below = stats.t.cdf((about.mean - margin) / error, about.n - 1)
    return float(max(above, below))


def normal_p(z: float) -> float:
    """The two-sided p value of a standard normal ``z``."""
    return float(2 * stats.norm.sf(abs(z)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the error of the whole family stays below the level that each is compared with.

    The i-th smallest of m becomes ``max_{j<=i} min(1, (m - j + 1) p_(j))``. Source: Holm 1979, "A simple sequentially
    rejective multiple test procedure".

    Returns:
        The corrected values, in the order given.

    Raises:
        ValueError: when one is no number in [0, 1]: NaN has no place in an order.

    >>> holm([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"expected p values in [0, 1], got {list(p_values)}")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = largest
    return corrected


def smallest_p(pairs: int) -> float:
    """The smallest p value that a two-sided signed-rank test can give: ``2 / 2^n``, all differences having one sign."""
    return min(1.0, 2.0 * 0.5**pairs)


def pairs_needed(tests: int = 1) -> int:
    """The smallest number of pairs with which one of so many corrected tests can reach 0.05 by itself."""
    pairs = 1
    while tests * smallest_p(pairs) > ALPHA:
        pairs += 1
    return pairs


def paired_differences(scores: Mapping[int, float | None], others: Mapping[int, float | None]) -> list[float]:
    """Score minus the other one, for each seed that both were run with; NaN where one has no score.

    Args:
        scores: by seed; None where a run is completed but its score is not defined.
        others: likewise.
    """
    pairs = [(score, others[seed]) for seed, score in scores.items() if seed in others]
    return [math.nan if score is None or other is None else score - other for score, other in pairs]


def paired_tests(contrasts: Sequence[Sequence[float]]) -> list[Paired]:
    """Test a family of contrasts, and correct for there being many.

    Args:
        contrasts: for each its differences, one for each seed that both arms have; NaN and infinity are missing pairs.
            Contrasts without any difference that is left are not tested and not counted.

    Returns:
        One for each, in the order given.
    """
    kept = [[round(value, _DECIMALS) for value in _finite(values)] for values in contrasts]
    tested = [values for values in kept if values]
    corrected = iter(holm([wilcoxon(values) for values in tested]))
    # a corrected p grows with every p of its family, so the smallest possible ones give the smallest possible
    bounds = iter(holm([smallest_p(len(values)) for values in tested]))
    return [
        _paired(values, next(corrected), next(bounds), len(tested), len(given) - len(values))
        if values
        else _unpaired(len(given))
        for given, values in zip(contrasts, kept, strict=True)
    ]


def rank(scores: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Ranking:
    """Rank the arms within every block of one stream and one seed; equal scores get their mean rank.

    Friedman's test is for any difference between the arms. Source: Friedman 1937, "The use of ranks to avoid the
    assumption of normality implicit in the analysis of variance"; for classifiers Demsar 2006, "Statistical
    comparisons of classifiers over multiple data sets", section 3.2.2.

    Args:
        scores: larger is better, by stream, arm and seed; a block with NaN or infinity in it is left out.
    """
    scores = {
        stream: {
            arm: {seed: value for seed, value in seeds.items() if math.isfinite(value)} for arm, seeds in on.items()
        }
        for stream, on in scores.items()
    }
    arms = list(dict.fromkeys(arm for on_stream in scores.values() for arm in on_stream if on_stream[arm]))
    blocks = []
    for on_stream in scores.values():
        by_arm = [on_stream.get(arm, {}) for arm in arms]
        shared = sorted(set.intersection(*map(set, by_arm))) if by_arm else []
        blocks += [[round(seeds[seed], _DECIMALS) for seeds in by_arm] for seed in shared]
    if not blocks:
        return Ranking(0, {}, None, None)
    values = np.array(blocks)
    ranks = np.apply_along_axis(stats.rankdata, 1, -values)
    means = {arm: float(mean) for arm, mean in zip(arms, ranks.mean(axis=0), strict=True)}
    if len(arms) < 3 or len(blocks) < 2 or not np.ptp(values, axis=1).any():
        return Ranking(len(blocks), means, None, None)
    statistic, p = stats.friedmanchisquare(*values.T)
    return Ranking(len(blocks), means, float(statistic), float(p))


def _unpaired(missing: int) -> Paired:
    reason = _left_out(missing) or "there is no seed that both arms have"
    return Paired(0, None, None, None, None, None, None, None, "no pairs", f"no pairs: {reason}", missing)


def _paired(values: Sequence[float], p_holm: float, bound: float, tests: int, missing: int) -> Paired:
    about = summarise(values)
    verdict, why = _verdict(values, p_holm, bound, tests)
    reason = "; ".join(filter(None, (why, _left_out(missing))))
    return Paired(
        n=about.n,
        difference=about.mean,
        std=about.std,
        low=about.low,
        high=about.high,
        d_z=about.mean / about.std if about.mean is not None and about.std else None,
        p=wilcoxon(values),
        p_holm=p_holm,
        verdict=verdict,
        conclusion=f"{verdict}: {reason}" if reason else verdict,
        missing=missing,
    )


def _left_out(missing: int) -> str:
    if not missing:
        return ""
    return f"{missing} pair{' is' if missing == 1 else 's are'} missing, with a score that is {NO_NUMBER}"


def _verdict(differences: Sequence[float], p_holm: float, bound: float, tests: int) -> tuple[Verdict, str]:
    n = len(differences)
    pairs = f"{n} pair" if n == 1 else f"{n} pairs"
    if smallest_p(n) > ALPHA:
        return "too few pairs", f"with {pairs} no p below 2/2^{n} = {smallest_p(n):.3g} is possible"
    if bound > ALPHA:
        return "too few pairs", f"with {pairs} and {tests} tests no corrected p below {bound:.3g} is possible"
    if min(differences) == max(differences):
        # seeds that change nothing are copies of one pair, and not independent ones
        same = f"all {n} differences are equal"
        return (
            ("too few pairs", f"{same}, so they count as one pair") if differences[0] else ("no difference shown", same)
        )
    if p_holm > ALPHA:
        return "no difference shown", ""
    ranks, signs = _signed_ranks(differences)
    up, more = float((ranks * signs).sum()) > 0, math.fsum(differences) > 0
    if up != more:
        return "no difference shown", "most seeds point one way, their mean the other"
    return ("better" if up else "worse"), ""


def _signed_ranks(differences: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    values = np.round(np.asarray(_finite(differences), dtype=float), _DECIMALS)
    values = values[values != 0]
    return stats.rankdata(np.abs(values)), np.sign(values)


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]

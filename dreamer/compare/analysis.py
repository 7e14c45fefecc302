"""What a comparison may conclude: means, paired differences, corrected tests, ranks and fronts, all chosen beforehand.

Everything here is a pure function of plain numbers. Accuracies are shares in [0, 1]. What is not defined, such as the
deviation of one number, is None: never NaN and never a made-up 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from dreamer.compare.results import Comparison

ALPHA = 0.05
"""The largest corrected p value at which an arm is called better or worse."""
SECONDARY = ("forgetting", "forgetting_max", "backward_transfer", "forward_transfer", "sleep_gain")
"""Measures of a life that are described and not tested."""
FRONTS = ("steps", "seconds", "bytes_kept")
"""Costs that accuracy is held against."""
Verdict = Literal["better", "worse", "no difference shown", "too few pairs", "no pairs"]

_CONFIDENCE = 0.95
# differences that are equal on paper differ by rounding errors, in which a test on ranks would see an order
_DECIMALS = 12
_EXPLANATION = """
All of this was chosen before any number was seen. The measure is the average accuracy over all experiences at the end
of the stream, on test data; everything else is described and not tested. A mean comes with the standard deviation over
seeds (n - 1) and its 95 % interval by Student's t, which is not cut at 0 and 100 %.

The same seed gives every arm the same class order, data order, initial weights and test data, so every arm is held
against {reference} seed by seed: what makes a seed hard for all drops out. The difference comes with its 95 % t
interval, which is that of one difference by itself, and with Cohen's d_z, its mean over its standard deviation
(undefined where all differences are equal). A seed that one of the two lacks is left out.

The test is Wilcoxon's signed-rank test, two-sided, which does not assume normal scores. Its p values are exact: equal
differences share a rank, and differences of zero are left out. Holm's correction runs over all arms and streams
({tests} here), since among many comparisons some succeed by luck. Better and worse are said at a corrected p of at most
{alpha}.

With n pairs no p below 2/2^n is possible, so with fewer than {pairs} nothing can be concluded, whatever the means look
like.{more} No difference shown does not mean that there is none.

A rank is the mean over the seeds for which every arm has a score (1 is the best, equal scores share). Friedman's test,
for three arms or more, asks whether the arms differ at all; its p is an approximation when seeds are few. Costs are
means over seeds: optimiser steps and seconds awake and asleep, without examinations, and the bytes kept beside the
network (memory, generator, teachers, plasticity).
"""


@dataclass(frozen=True)
class Summary:
    """Some numbers in five.

    Attributes:
        n: how many.
        mean: None of no numbers.
        std: with n - 1; None below two numbers.
        low: lower end of the 95 % interval of the mean (Student's t with n - 1 degrees of freedom, not cut to the range
            of a share); None below two numbers.
        high: its upper end.
    """

    n: int
    mean: float | None
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Paired:
    """An arm against the reference on one stream, seed by seed.

    Attributes:
        n: seeds that both have.
        difference: mean of arm minus reference; None without pairs.
        std: of the differences, with n - 1; None below two pairs.
        low: lower end of the 95 % t interval of the mean difference; None below two pairs.
        high: its upper end.
        d_z: Cohen's d_z, mean over standard deviation of the differences; None below two pairs, and where all
            differences are equal, which leaves nothing to measure them by.
        p: of the two-sided Wilcoxon signed-rank test, exact (see :func:`wilcoxon`); None without pairs.
        p_holm: the same after Holm's correction over all arms and streams.
        verdict: in a word or three.
        conclusion: the verdict, with its reason where there is one.
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


@dataclass(frozen=True)
class Ranking:
    """Who came first how often.

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


@dataclass(frozen=True)
class Costs:
    """What a life took, or several took in the mean; None where a ``results.json`` does not say.

    Attributes:
        steps: optimiser steps, awake and asleep.
        samples_real: met awake, counted as often as they were met.
        samples_replayed: recalled while awake.
        samples_dreamt: recalled asleep.
        seconds: awake and asleep, without examinations.
        bytes_kept: memory, generator, teachers and plasticity.
        bytes_network: the learner itself.
    """

    steps: float | None
    samples_real: float | None
    samples_replayed: float | None
    samples_dreamt: float | None
    seconds: float | None
    bytes_kept: float | None
    bytes_network: float | None

    @property
    def samples_recalled(self) -> float | None:
        """Replayed and dreamt together."""
        if self.samples_replayed is None or self.samples_dreamt is None:
            return None
        return self.samples_replayed + self.samples_dreamt


@dataclass(frozen=True)
class Standing:
    """Where an arm stands on a stream.

    Attributes:
        arm: as in the comparison.
        stream: as in the comparison.
        accuracy: of the average accuracies of all its seeds.
        paired: against the reference; None for the reference itself.
        rank: mean rank on this stream; None where it has none.
        costs: means over the seeds.
        secondary: the other measures of a life by name, described and not tested.
    """

    arm: str
    stream: str
    accuracy: Summary
    paired: Paired | None
    rank: float | None
    costs: Costs
    secondary: Mapping[str, Summary]


@dataclass(frozen=True)
class Analysis:
    """Everything that can be said about a comparison.

    Attributes:
        reference: the arm that the others are held against.
        standings: by stream, then arm, in the order of the grid.
        tests: how many p values Holm's correction ran over.
        ranking: over all streams.
        rankings: by stream.
        fronts: by stream and cost (:data:`FRONTS`), the arms that no other arm beats in mean accuracy at the same or
            a lower cost, cheapest first.
    """

    reference: str
    standings: tuple[Standing, ...]
    tests: int
    ranking: Ranking
    rankings: Mapping[str, Ranking]
    fronts: Mapping[str, Mapping[str, tuple[str, ...]]]

    def on(self, stream: str) -> list[Standing]:
        """All arms on a stream, in the order of the grid."""
        return [standing for standing in self.standings if standing.stream == stream]

    def of(self, arm: str, stream: str) -> Standing:
        """One arm on one stream.

        Raises:
            KeyError: when the grid has no such cell.
        """
        for standing in self.standings:
            if (standing.arm, standing.stream) == (arm, stream):
                return standing
        raise KeyError(f"expected an arm and a stream of the comparison, got {arm!r} and {stream!r}")


def analyse(comparison: Comparison) -> Analysis:
    """Everything that can be said about a comparison.

    Cells without results are left out where they are missing: a mean takes the seeds that an arm has, a difference the
    seeds that arm and reference share, a block of ranks needs all arms.
    """
    scores = {stream: comparison.scores(stream) for stream in comparison.streams}
    cells: set[tuple[str, str]] = {(cell.stream, cell.arm) for cell in comparison.lives}
    cells |= {(cell.stream, cell.arm) for cell in comparison.missing}
    grid = [(stream, arm) for stream in comparison.streams for arm in comparison.arms if (stream, arm) in cells]
    contrasts = [(stream, arm) for stream, arm in grid if arm != comparison.reference]
    differences = [
        _differences(scores[stream][arm], scores[stream].get(comparison.reference, {})) for stream, arm in contrasts
    ]
    paired = dict(zip(contrasts, paired_tests(differences), strict=True))
    rankings = {stream: rank({stream: scores[stream]}) for stream in comparison.streams}
    standings = tuple(
        Standing(
            arm,
            stream,
            summarise(list(scores[stream][arm].values())),
            paired.get((stream, arm)),
            rankings[stream].mean_ranks.get(arm),
            mean_costs([costs(life.results) for life in comparison.of(arm, stream).values()]),
            _secondary([life.results for life in comparison.of(arm, stream).values()]),
        )
        for stream, arm in grid
    )
    return Analysis(
        comparison.reference,
        standings,
        sum(bool(values) for values in differences),
        rank(scores),
        rankings,
        {stream: _fronts([row for row in standings if row.stream == stream]) for stream in comparison.streams},
    )


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95 % interval of some numbers.

    ``mean +- t(0.975, n - 1) * std / sqrt(n)``.
    """
    n = len(values)
    if not n:
        return Summary(0, None, None, None, None)
    constant = min(values) == max(values)  # without the rounding errors of a sum
    mean = float(values[0]) if constant else math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None, None, None)
    std = 0.0 if constant else math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    reach = float(stats.t.ppf((1 + _CONFIDENCE) / 2, n - 1)) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - reach, mean + reach)


def wilcoxon(differences: Sequence[float]) -> float:
    """The two-sided p value of the Wilcoxon signed-rank test, exact for every number of pairs.

    The p value is the share of all 2^n ways to put signs before the ranks that give a sum of positive ranks at least as
    far from its mean. Differences that agree to 12 decimals share their mean rank, and the share is counted over these
    ranks, so ties need no approximation. Zeros say nothing about a direction and are left out before ranking, as
    Wilcoxon did; where nothing else is left p is 1. Source: Wilcoxon 1945, "Individual comparisons by ranking methods".

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


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the error of the whole family stays below the level that each is held against.

    The i-th smallest of m becomes ``max_{j<=i} min(1, (m - j + 1) p_(j))``. Source: Holm 1979, "A simple sequentially
    rejective multiple test procedure".

    Returns:
        The corrected values, in the order given.
    """
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


def paired_tests(contrasts: Sequence[Sequence[float]]) -> list[Paired]:
    """Test every arm against the reference, and correct for there being many.

    Args:
        contrasts: for each arm on each stream its differences to the reference, one for each seed that both have.
            Those without any are not tested and not counted.

    Returns:
        One for each, in the order given.
    """
    tested = [values for values in contrasts if len(values)]
    corrected = iter(holm([wilcoxon(values) for values in tested]))
    # a corrected p grows with every p of its family, so the smallest possible ones give the smallest possible
    bounds = iter(holm([smallest_p(len(values)) for values in tested]))
    return [
        _paired(values, next(corrected), next(bounds), len(tested)) if len(values) else _UNPAIRED
        for values in contrasts
    ]


def rank(scores: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Ranking:
    """Rank the arms within every block of one stream and one seed; equal scores share their mean rank.

    Friedman's test asks whether the arms differ at all. Source: Friedman 1937, "The use of ranks to avoid the
    assumption of normality implicit in the analysis of variance"; for classifiers Demsar 2006, "Statistical
    comparisons of classifiers over multiple data sets", section 3.2.2.

    Args:
        scores: larger is better, by stream, arm and seed.
    """
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


def pareto_front(points: Mapping[str, tuple[float | None, float | None]]) -> tuple[str, ...]:
    """Who is not beaten: no other has at least the same gain at no higher cost, and is better in one of the two.

    Args:
        points: (gain, cost) by name; those with None in them are left out.

    Returns:
        Names, cheapest first; equal points are all in or all out.
    """
    known = {name: (gain, cost) for name, (gain, cost) in points.items() if gain is not None and cost is not None}
    front = [
        name
        for name, (gain, cost) in known.items()
        if not any(g >= gain and c <= cost and (g, c) != (gain, cost) for g, c in known.values())
    ]
    return tuple(sorted(front, key=lambda name: known[name][1]))


def costs(results: Mapping[str, Any]) -> Costs:
    """The costs of one life.

    Args:
        results: the content of ``results.json``. A sum of which a term is missing is None: an unknown cost is not a
            small one.
    """
    cost = results.get("cost") or {}
    steps, samples, seconds, sizes = (cost.get(key) or {} for key in ("optimizer_steps", "samples", "seconds", "bytes"))
    return Costs(
        steps=_total(steps, "wake", "nrem", "rem"),
        samples_real=_total(samples, "wake"),
        samples_replayed=_total(samples, "replayed"),
        samples_dreamt=_total(samples, "nrem", "rem"),
        seconds=_total(seconds, "wake", "nrem", "rem"),
        bytes_kept=_total(sizes, "memory", "generator", "teacher", "plasticity"),
        bytes_network=_total(sizes, "network"),
    )


def mean_costs(lives: Sequence[Costs]) -> Costs:
    """The mean of every cost over the lives that tell it."""
    means = {}
    for name in Costs.__dataclass_fields__:
        means[name] = summarise([cost for life in lives if (cost := getattr(life, name)) is not None]).mean
    return Costs(**means)


def explained(analysis: Analysis) -> str:
    """What was chosen beforehand, and why: plain text for table and page, an empty line between paragraphs."""
    alone, together = pairs_needed(), pairs_needed(max(analysis.tests, 1))
    more = (
        f" With {analysis.tests} tests to correct for, {together} pairs are needed before the first of them can pass."
    )
    text = _EXPLANATION.format(
        reference=analysis.reference,
        tests=f"{analysis.tests} {'test' if analysis.tests == 1 else 'tests'}",
        alpha=ALPHA,
        pairs=alone,
        more=more if together > alone else "",
    )
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


_UNPAIRED = Paired(
    0, None, None, None, None, None, None, None, "no pairs", "no pairs: no seed that arm and reference share"
)


def _paired(differences: Sequence[float], p_holm: float, bound: float, tests: int) -> Paired:
    values = [round(value, _DECIMALS) for value in differences]
    about = summarise(values)
    verdict, reason = _verdict(values, p_holm, bound, tests)
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
    )


def _verdict(differences: Sequence[float], p_holm: float, bound: float, tests: int) -> tuple[Verdict, str]:
    n = len(differences)
    pairs = f"{n} pair" if n == 1 else f"{n} pairs"
    if smallest_p(n) > ALPHA:
        return "too few pairs", f"with {pairs} no p below 2/2^{n} = {smallest_p(n):.3g} is possible"
    if bound > ALPHA:
        return "too few pairs", f"with {pairs} and {tests} tests no corrected p below {bound:.3g} is possible"
    if p_holm > ALPHA:
        return "no difference shown", ""
    ranks, signs = _signed_ranks(differences)
    up, more = float((ranks * signs).sum()) > 0, math.fsum(differences) > 0
    if up != more:
        return "no difference shown", "most seeds point one way, their mean the other"
    return ("better" if up else "worse"), ""


def _signed_ranks(differences: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    values = np.round(np.asarray(differences, dtype=float), _DECIMALS)
    values = values[values != 0]
    return stats.rankdata(np.abs(values)), np.sign(values)


def _differences(scores: Mapping[int, float], reference: Mapping[int, float]) -> list[float]:
    return [round(score - reference[seed], _DECIMALS) for seed, score in scores.items() if seed in reference]


def _secondary(lives: Sequence[Mapping[str, Any]]) -> dict[str, Summary]:
    found = {name: [(life.get("metrics") or {}).get(name) for life in lives] for name in SECONDARY}
    return {name: summarise([value for value in values if value is not None]) for name, values in found.items()}


def _fronts(standings: Sequence[Standing]) -> dict[str, tuple[str, ...]]:
    return {
        cost: pareto_front({row.arm: (row.accuracy.mean, getattr(row.costs, cost)) for row in standings})
        for cost in FRONTS
    }


def _total(values: Mapping[str, Any], *keys: str) -> float | None:
    terms = [term for key in keys if (term := values.get(key)) is not None]
    return sum(terms) if len(terms) == len(keys) else None

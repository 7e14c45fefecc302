"""What a comparison may conclude: means, paired differences, corrected tests, ranks and fronts, all chosen beforehand.

Accuracies are fractions in [0, 1], other scores as they are; what is not defined is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dreamer.compare.results import Comparison
from dreamer.core.text import DASH, plural
from dreamer.metrics.significance import (
    ALPHA,
    Paired,
    Ranking,
    Summary,
    paired_differences,
    paired_tests,
    pairs_needed,
    rank,
    summarise,
)
from dreamer.report.score import ACCURACY, Score

SECONDARY = (
    "forgetting",
    "forgetting_max",
    "backward_transfer",
    "forward_transfer",
    "sleep_gain",
    "recency_bias",
    "min_accuracy",
    "worst_case_accuracy",
    "stability_gap",
    "recovery",
)
"""Measures of a run that are described and not tested."""
NEAR = 0.01
"""Fraction by which two measured amounts may differ and still count as equal."""
FRONTS = ("steps", "seconds", "bytes_kept")
"""Costs that accuracy is plotted against."""
_EXPLANATION = """
All of this was chosen before any number was seen. The measure is the {measure} over all experiences at the end
of the stream, on test data; everything else is described and not tested. A mean comes with the standard deviation over
seeds (n - 1) and its 95 % interval by Student's t{cut}.

The same seed gives every arm the same class order, data order, initial weights and test data, so every arm is compared
with {reference} seed by seed: what makes a seed hard for all drops out. The difference comes with its 95 % t interval,
which is that of one difference by itself, and with Cohen's d_z, its mean over its standard deviation (undefined where
all differences are equal). A seed that one of the two lacks is left out; one with a score that is NaN or infinite is a
missing pair, and counted. An arm of which a run diverged on a stream is called diverged there, and has no number.

The test is Wilcoxon's signed-rank test, two-sided, which does not assume normal scores. Its p values are exact: equal
differences have the same rank, and differences of zero are left out. Where all differences are equal the seeds have
changed nothing, and count as one pair. Holm's correction runs over all arms and streams ({tests} here), since among
many comparisons some succeed by chance. Better and worse mean a corrected p of at most {alpha}.

With n pairs no p below 2/2^n is possible, so with fewer than {pairs} nothing can be concluded, whatever the means look
like.{more} No difference shown does not mean that there is none.

A rank is the mean over the seeds for which every arm has a score (1 is the best, equal scores get their mean rank).
Friedman's test, for three arms or more, is for any difference between the arms; its p is an approximation when seeds
are few. Costs are means over seeds: optimiser steps and seconds awake and asleep, without evaluations, and the bytes
kept beside the network (memory, generator, teachers, plasticity). Amounts that differ by more than {near} between arms
are listed as differences, and so is whatever differs in the data and in the augmentation of real, replayed and dreamt
samples.
"""


@dataclass(frozen=True)
class Costs:
    """What a run took, or several took in the mean; None where a ``results.json`` does not say.

    Attributes:
        steps: optimiser steps, awake and asleep.
        steps_asleep: those of them that were made asleep.
        samples_real: seen awake, counted as often as they were seen.
        samples_replayed: replayed while awake.
        samples_dreamt: replayed asleep.
        seconds: awake and asleep, without evaluations.
        bytes_kept: memory, generator, teachers and plasticity.
        bytes_memory: the memory alone.
        bytes_generator: the generator alone.
        bytes_teachers: the teachers alone.
        bytes_network: the learner itself.
    """

    steps: float | None
    steps_asleep: float | None
    samples_real: float | None
    samples_replayed: float | None
    samples_dreamt: float | None
    seconds: float | None
    bytes_kept: float | None
    bytes_memory: float | None
    bytes_generator: float | None
    bytes_teachers: float | None
    bytes_network: float | None

    @property
    def replayed_and_dreamt(self) -> float | None:
        """Samples replayed awake and asleep."""
        if self.samples_replayed is None or self.samples_dreamt is None:
            return None
        return self.samples_replayed + self.samples_dreamt


@dataclass(frozen=True)
class Standing:
    """The numbers of an arm on a stream.

    Attributes:
        accuracy: of the average accuracies, or other scores, of all its seeds.
        paired: against the reference; None for the reference itself.
        rank: mean rank on this stream; None where it has none.
        secondary: the other measures of a run by name, described and not tested.
        diverged: whether one of its runs diverged; then it has no numbers.
        stores: what it keeps of training data beside the network, see :func:`stored`.
        score: what the runs on the stream are scored by.
    """

    arm: str
    stream: str
    accuracy: Summary
    paired: Paired | None
    rank: float | None
    costs: Costs
    secondary: Mapping[str, Summary]
    diverged: bool = False
    stores: str | None = None
    score: Score = ACCURACY


@dataclass(frozen=True)
class Analysis:
    """Everything that can be said about a comparison.

    Attributes:
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

    def score(self, stream: str) -> Score:
        """By what the runs on a stream are scored."""
        return next((standing.score for standing in self.on(stream)), ACCURACY)

    @property
    def measure(self) -> str:
        """The measure of all streams."""
        names = dict.fromkeys(f"average {row.score.name}{row.score.lower}" for row in self.standings)
        return " or ".join(names) or "average accuracy"

    def on(self, stream: str) -> list[Standing]:
        """All arms on a stream, in the order of the grid."""
        return [standing for standing in self.standings if standing.stream == stream]

    def of(self, arm: str, stream: str) -> Standing:
        """One arm on one stream; a ``KeyError`` when the grid has no such cell."""
        for standing in self.standings:
            if (standing.arm, standing.stream) == (arm, stream):
                return standing
        raise KeyError(f"expected an arm and a stream of the comparison, got {arm!r} and {stream!r}")


def analyse(comparison: Comparison) -> Analysis:
    """Everything that can be said about a comparison.

    Cells without results are left out where they are missing: a mean takes the seeds that an arm has, a difference the
    seeds that arm and reference have in common, a block of ranks needs all arms. An arm of which one run diverged on a
    stream has no number there. A completed run whose score is no
    number is left out likewise, and counted.
    """
    scores = {stream: comparison.scores(stream) for stream in comparison.streams}
    outcomes = {stream: comparison.outcomes(stream) for stream in comparison.streams}
    cells = {(run.stream, run.arm) for run in comparison.runs} | {
        (cell.stream, cell.arm) for cell in comparison.missing
    }
    grid = [(stream, arm) for stream in comparison.streams for arm in comparison.arms if (stream, arm) in cells]
    contrasts = [(stream, arm) for stream, arm in grid if arm != comparison.reference]
    by = {stream: comparison.score(stream) for stream in comparison.streams}
    differences = [
        _times(
            by[stream].direction,
            paired_differences(outcomes[stream][arm], outcomes[stream].get(comparison.reference, {})),
        )
        for stream, arm in contrasts
    ]
    tested = zip(contrasts, paired_tests(differences), strict=True)
    paired = {(stream, arm): _as_measured(found, by[stream]) for (stream, arm), found in tested}
    # ranks are of what is better the more it is
    better = {
        stream: {
            arm: {seed: by[stream].direction * value for seed, value in found.items()}
            for arm, found in scores[stream].items()
        }
        for stream in comparison.streams
    }
    rankings = {stream: rank({stream: better[stream]}) for stream in comparison.streams}
    standings = tuple(
        Standing(
            arm,
            stream,
            summarise([math.nan if score is None else score for score in outcomes[stream][arm].values()]),
            paired.get((stream, arm)),
            rankings[stream].mean_ranks.get(arm),
            mean_costs([costs(run.results) for run in comparison.of(arm, stream).values()]),
            _secondary([run.results for run in comparison.of(arm, stream).values()]),
            comparison.diverged(arm, stream),
            next((stored(run.results) for run in comparison.of(arm, stream).values()), None),
            by[stream],
        )
        for stream, arm in grid
    )
    return Analysis(
        comparison.reference,
        standings,
        sum(any(map(math.isfinite, values)) for values in differences),
        rank(better),
        rankings,
        {stream: _fronts([row for row in standings if row.stream == stream]) for stream in comparison.streams},
    )


def pareto_front(points: Mapping[str, tuple[float | None, float | None]]) -> tuple[str, ...]:
    """The Pareto front: no other has at least the same gain at no higher cost, and is better in one of the two.

    Args:
        points: (gain, cost) by name; those with None, NaN or infinity in them are left out.

    Returns:
        Names, cheapest first; equal points are all in or all out.
    """
    known = {
        name: (gain, cost)
        for name, (gain, cost) in points.items()
        if gain is not None and cost is not None and math.isfinite(gain) and math.isfinite(cost)
    }
    front = [
        name
        for name, (gain, cost) in known.items()
        if not any(g >= gain and c <= cost and (g, c) != (gain, cost) for g, c in known.values())
    ]
    return tuple(sorted(front, key=lambda name: known[name][1]))


def costs(results: Mapping[str, Any]) -> Costs:
    """The costs of one run.

    Args:
        results: the content of ``results.json``. A sum of which a term is missing is None: an unknown cost is not a
            small one.
    """
    cost = results.get("cost") or {}
    steps, samples, seconds, sizes = (cost.get(key) or {} for key in ("optimizer_steps", "samples", "seconds", "bytes"))
    return Costs(
        steps=_total(steps, "wake", "nrem", "rem"),
        steps_asleep=_total(steps, "nrem", "rem"),
        samples_real=_total(samples, "wake"),
        samples_replayed=_total(samples, "replayed"),
        samples_dreamt=_total(samples, "nrem", "rem"),
        seconds=_total(seconds, "wake", "nrem", "rem"),
        bytes_kept=_total(sizes, "memory", "generator", "teacher", "plasticity"),
        bytes_memory=_total(sizes, "memory"),
        bytes_generator=_total(sizes, "generator"),
        bytes_teachers=_total(sizes, "teacher"),
        bytes_network=_total(sizes, "network"),
    )


def stored(results: Mapping[str, Any]) -> str | None:
    """What a run keeps of its training data: ``samples``, ``features``, ``statistics`` or ``nothing``.

    Results from before that was recorded say it where their memory is empty; else it is None.
    """
    cost = results.get("cost") or {}
    if "stores" in cost:
        return str(cost["stores"])
    return "nothing" if (cost.get("bytes") or {}).get("memory") == 0 else None


def stores_words(kept: str | None) -> str:
    """Whether real samples are stored, in a table."""
    return {None: DASH, "samples": "yes", "nothing": "no"}.get(kept, f"no ({kept})")


def mean_costs(several: Sequence[Costs]) -> Costs:
    """The mean of every cost over the runs that know it."""
    means = {}
    for name in Costs.__dataclass_fields__:
        means[name] = summarise([cost for one in several if (cost := getattr(one, name)) is not None]).mean
    return Costs(**means)


def explained(analysis: Analysis) -> str:
    """The statistics fixed beforehand, and why: plain text for table and page, an empty line between paragraphs."""
    alone, together = pairs_needed(), pairs_needed(max(analysis.tests, 1))
    more = (
        f" With {analysis.tests} tests to correct for, {together} pairs are needed before the first of them can pass."
    )
    text = _EXPLANATION.format(
        reference=analysis.reference,
        tests=plural(analysis.tests, "test"),
        alpha=ALPHA,
        near=f"{NEAR:.0%}".replace("%", " %"),
        pairs=alone,
        measure=analysis.measure,
        cut=", which is not cut at 0 and 100 %" if all(row.score.is_fraction for row in analysis.standings) else "",
        more=more if together > alone else "",
    )
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _secondary(several: Sequence[Mapping[str, Any]]) -> dict[str, Summary]:
    found = {name: [(results.get("metrics") or {}).get(name) for results in several] for name in SECONDARY}
    return {name: summarise([value for value in values if value is not None]) for name, values in found.items()}


def _fronts(standings: Sequence[Standing]) -> dict[str, tuple[str, ...]]:
    return {
        cost: pareto_front({row.arm: (_gain(row), getattr(row.costs, cost)) for row in standings}) for cost in FRONTS
    }


def _gain(row: Standing) -> float | None:
    """The mean score, the more the better."""
    return None if row.accuracy.mean is None else row.score.direction * row.accuracy.mean


def _times(direction: int, values: Sequence[float]) -> list[float]:
    return [direction * value for value in values]


def _as_measured(paired: Paired, score: Score) -> Paired:
    """What was tested as a gain, in the direction in which it was measured."""
    if score.higher_is_better:
        return paired
    difference, low, high, d_z = (
        None if value is None else -value for value in (paired.difference, paired.high, paired.low, paired.d_z)
    )
    return replace(paired, difference=difference, low=low, high=high, d_z=d_z)


def _total(values: Mapping[str, Any], *keys: str) -> float | None:
    terms = [term for key in keys if (term := values.get(key)) is not None]
    return sum(terms) if len(terms) == len(keys) else None

"""The sentences of tables and page: conclusions that the statistics allow, and the settings of the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dreamer.compare.analysis import Analysis, Standing
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.compare.scores import by_accuracy
from dreamer.core.text import interval, listed, one_line, p_value, plural
from dreamer.metrics.significance import ALPHA, NO_NUMBER, Ranking
from dreamer.report.score import ACCURACY, Score

Facts = list[tuple[str, list[tuple[str, str]]]]
"""(what, [(value, who)]); who is empty where all runs agree."""


def headline(comparison: Comparison, analysis: Analysis) -> list[str]:
    """The conclusion over all streams, no stronger than the statistics."""
    tested = [row for row in analysis.standings if row.paired is not None]
    if not comparison.runs:
        return ["No run of this comparison is completed yet."]
    if not tested:
        return ["There is only one arm, so nothing is compared."]
    by_verdict: dict[str, list[Standing]] = {}
    for row in tested:
        assert row.paired is not None
        by_verdict.setdefault(row.paired.verdict, []).append(row)
    several = len(comparison.streams) > 1
    words = []
    for verdict in ("better", "worse"):
        if verdict in by_verdict:
            named = listed([_found(row, several) for row in by_verdict[verdict]])
            words.append(f"{verdict.capitalize()} than {analysis.reference}: {named}.")
    undecided = by_verdict.get("no difference shown", [])
    if undecided:
        named = listed([_name(row, several) for row in undecided])
        words.append(f"No difference to {analysis.reference} was shown for {named}.")
    unknown = [row for verdict in ("too few pairs", "no pairs") for row in by_verdict.get(verdict, [])]
    if len(unknown) == len(tested):
        words.append(
            f"Nothing can be concluded about any arm against {analysis.reference}: there are too few pairs of seeds."
        )
    elif unknown:
        named = listed([_name(row, several) for row in unknown])
        words.append(f"Nothing can be concluded about {named}: too few pairs of seeds.")
    return words


def sentences(analysis: Analysis, stream: str) -> list[str]:
    """What can be said about one stream."""
    standings = [row for row in by_accuracy(analysis.on(stream)) if row.accuracy.mean is not None]
    if not standings:
        return [f"No arm has {'an accuracy' if analysis.score(stream) == ACCURACY else 'a score'} on this stream."]
    first, score = standings[0], analysis.score(stream)
    seeds = plural(first.accuracy.n, "seed")
    words = []
    if len(standings) > 1:
        arms = listed([row.arm for row in standings if row.accuracy.mean == first.accuracy.mean])
        words.append(
            f"The {'highest' if score.higher_is_better else 'lowest'} mean{_of(score)} is that of {arms}: "
            f"{score.write(first.accuracy.mean)}{score.sign} over {seeds}. "
            "That describes these seeds; what may be concluded stands in the table."
        )
    else:
        words.append(f"{first.arm} reached {score.write(first.accuracy.mean)}{score.sign}{_of(score)} over {seeds}.")
    return [*words, as_sentence(ranking_line(analysis.rankings[stream], "seed"))] if len(standings) > 1 else words


def _of(score: Score) -> str:
    """Which mean it is, where that is not said by a unit: less is better of it."""
    return "" if score.is_fraction else f" of {score.name}"


def reasons(standings: Sequence[Standing]) -> list[str]:
    """Why nothing can be concluded, each reason once, with the arms that it holds for unless it holds for all.

    Behind them, the arms of which some runs have no score.
    """
    paired = {row.arm: row.paired for row in standings if row.paired}
    found: dict[str, list[str]] = {}
    for arm, against in paired.items():
        if against.reason:
            found.setdefault(against.conclusion, []).append(arm)
    return [
        *(
            f"{reason} ({'all arms' if len(arms) == len(paired) else ', '.join(arms)})"
            for reason, arms in found.items()
        ),
        *(
            f"{plural(row.accuracy.missing, 'run')} of {row.arm} left out of its mean: the score is {NO_NUMBER}"
            for row in standings
            if row.accuracy.missing
        ),
    ]


def as_sentence(line: str) -> str:
    """A note as a sentence."""
    return f"{line[0].upper()}{line[1:]}."


def missing_lines(comparison: Comparison) -> list[str]:
    """One line for each cell without results."""
    return [one_line(f"{cell.arm} on {cell.stream}, seed {cell.seed}: {cell.reason}") for cell in comparison.missing]


def given(runs: Sequence[CompletedRun], what: str, skip: Sequence[str] = ()) -> Facts:
    """What stands in one part of the results of some runs, such as their protocol, and which runs differ in it."""
    parts = [(run, run.results.get(what) or {}) for run in runs]
    facts = []
    for key in dict.fromkeys(key for _, part in parts for key in part if key not in skip):
        by_value: dict[str, list[CompletedRun]] = {}
        for run, part in parts:
            by_value.setdefault(_value_text(part.get(key)), []).append(run)
        facts.append((key.replace("_", " "), [(value, _who(found, runs)) for value, found in by_value.items()]))
    return facts


def class_orders(runs: Sequence[CompletedRun]) -> list[tuple[int, list[tuple[str, str]]]]:
    """(seed, [(class order, which arms)]); which arms is empty where all agree, as they should."""
    found: dict[int, dict[str, list[str]]] = {}
    for run in runs:
        protocol = run.results.get("protocol") or {}
        order, names = protocol.get("class_order"), protocol.get("class_names") or ()
        text = "not said" if order is None else " | ".join(_classes(classes, names) for classes in order)
        found.setdefault(run.seed, {}).setdefault(text, []).append(run.arm)
    return [
        (seed, [(text, "" if len(orders) == 1 else ", ".join(arms)) for text, arms in orders.items()])
        for seed, orders in sorted(found.items())
    ]


def _classes(labels: Sequence[int], names: Sequence[str]) -> str:
    return (", " if names else " ").join(names[label] if label < len(names) else str(label) for label in labels)


def configs(comparison: Comparison) -> list[tuple[str, str]]:
    """(arm, configuration of its first run), as text."""
    found = {}
    for run in comparison.runs:
        if run.arm not in found and run.results.get("config"):
            found[run.arm] = json.dumps(run.results["config"], indent=2, ensure_ascii=False, default=str)
    return list(found.items())


def ranking_line(ranking: Ranking, block: str = "pair of stream and seed") -> str:
    """Mean ranks within each block, best first, and Friedman's test, in one sentence."""
    if not ranking.blocks:
        return f"mean ranks: none, there is no {block} for which every arm has a score"
    order = sorted(ranking.mean_ranks.items(), key=lambda entry: entry[1])
    text = f"mean ranks over {plural(ranking.blocks, block)}: " + ", ".join(f"{arm} {mean:.2f}" for arm, mean in order)
    if ranking.p is None:
        return text
    claim = "the arms are not all alike" if ranking.p <= ALPHA else "no difference among the arms is shown"
    test = f"Friedman: chi2({len(order) - 1}) = {ranking.statistic:.2f}, {p_value(ranking.p, named=True)}"
    return f"{text}; {test}: {claim}"


def _found(row: Standing, several: bool) -> str:
    paired = row.paired
    assert paired is not None
    return (
        f"{_name(row, several)} ({row.score.signed(paired.difference)} {row.score.short_points}, "
        f"95\N{NO-BREAK SPACE}% interval {interval(paired.low, paired.high, row.score.signed)}, "
        f"corrected {p_value(paired.p_holm, True)}, {paired.n} pairs)"
    )


def _name(row: Standing, several: bool) -> str:
    return f"{row.arm} on {row.stream}" if several else row.arm


def _who(some: Sequence[CompletedRun], every: Sequence[CompletedRun]) -> str:
    """Which runs, in few words; nothing where it is all of them."""
    if len(some) == len(every):
        return ""
    names = list(dict.fromkeys(run.arm for run in some))
    whole = all(sum(run.arm == arm for run in every) == sum(run.arm == arm for run in some) for arm in names)
    return ", ".join(names) if whole else f"{', '.join(names)} ({len(some)} of {len(every)} runs)"


def _value_text(value: Any) -> str:
    if value is None:
        return "not said"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_value_text(entry)}" for key, entry in value.items())
    return str(value)

"""What the page says in words: what the statistics allow and nothing stronger, and what the lives were given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dreamer.compare.analysis import ALPHA, Analysis, Ranking, Standing
from dreamer.compare.results import Comparison, Lived
from dreamer.compare.scores import by_accuracy
from dreamer.report.svg import p_value, percent, signed

Facts = list[tuple[str, list[tuple[str, str]]]]
"""(what, [(value, who)]); who is empty where all lives agree."""


def headline(comparison: Comparison, analysis: Analysis) -> list[str]:
    """What all of it comes to, in the words of the statistics and no stronger ones."""
    tested = [row for row in analysis.standings if row.paired is not None]
    if not comparison.lives:
        return ["No cell of this comparison has been lived yet, so there is nothing to say."]
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
            named = _listed([_found(row, several) for row in by_verdict[verdict]])
            words.append(f"{verdict.capitalize()} than {analysis.reference}: {named}.")
    undecided = by_verdict.get("no difference shown", [])
    if undecided:
        named = _listed([_name(row, several) for row in undecided])
        words.append(f"No difference to {analysis.reference} was shown for {named}.")
    unknown = [row for verdict in ("too few pairs", "no pairs") for row in by_verdict.get(verdict, [])]
    if len(unknown) == len(tested):
        words.append(
            f"Nothing can be concluded about any arm against {analysis.reference}: there are too few pairs of seeds."
        )
    elif unknown:
        named = _listed([_name(row, several) for row in unknown])
        words.append(f"Nothing can be concluded about {named}: too few pairs of seeds.")
    return words


def sentences(analysis: Analysis, stream: str) -> list[str]:
    """What can be said about one stream."""
    standings = [row for row in by_accuracy(analysis.on(stream)) if row.accuracy.mean is not None]
    if not standings:
        return ["No arm has an accuracy on this stream."]
    first = standings[0]
    seeds = f"{first.accuracy.n} seed{'s' * (first.accuracy.n != 1)}"
    words = []
    if len(standings) > 1:
        arms = _listed([row.arm for row in standings if row.accuracy.mean == first.accuracy.mean])
        words.append(
            f"The highest mean is that of {arms}: {percent(first.accuracy.mean)} % over {seeds}. "
            "That describes these seeds; what may be concluded stands in the table."
        )
    else:
        words.append(f"{first.arm} reached {percent(first.accuracy.mean)} % over {seeds}.")
    ranks = ranking_words(analysis.rankings[stream], "this stream")
    return [*words, ranks] if ranks else words


def given(lives: Sequence[Lived], what: str, skip: Sequence[str] = ()) -> Facts:
    """What stands in one part of the results of some lives, such as their protocol, and which lives differ in it.

    Args:
        lives: whose results are read.
        what: the part.
        skip: keys to leave out.
    """
    parts = [(life, life.results.get(what) or {}) for life in lives]
    facts = []
    for key in dict.fromkeys(key for _, part in parts for key in part if key not in skip):
        by_value: dict[str, list[Lived]] = {}
        for life, part in parts:
            by_value.setdefault(_value_text(part.get(key)), []).append(life)
        facts.append((key.replace("_", " "), [(value, _who(found, lives)) for value, found in by_value.items()]))
    return facts


def class_orders(lives: Sequence[Lived]) -> list[tuple[int, list[tuple[str, str]]]]:
    """(seed, [(class order, which arms)]); which arms is empty where all agree, as they should."""
    found: dict[int, dict[str, list[str]]] = {}
    for life in lives:
        order = (life.results.get("protocol") or {}).get("class_order")
        text = "not said" if order is None else " | ".join(" ".join(map(str, classes)) for classes in order)
        found.setdefault(life.seed, {}).setdefault(text, []).append(life.arm)
    return [
        (seed, [(text, "" if len(orders) == 1 else ", ".join(arms)) for text, arms in orders.items()])
        for seed, orders in sorted(found.items())
    ]


def configs(comparison: Comparison) -> list[tuple[str, str]]:
    """(arm, configuration of its first life), as text."""
    found = {}
    for life in comparison.lives:
        if life.arm not in found and life.results.get("config"):
            found[life.arm] = json.dumps(life.results["config"], indent=2, ensure_ascii=False, default=str)
    return list(found.items())


def ranking_words(ranking: Ranking, where: str) -> str:
    """Who ranks first, and whether the arms differ at all; empty where nothing was ranked."""
    if not ranking.mean_ranks or len(ranking.mean_ranks) < 2:
        return ""
    best = min(ranking.mean_ranks.values())
    first = _listed([arm for arm, rank in ranking.mean_ranks.items() if rank == best])
    blocks = "pair of stream and seed" if ranking.blocks == 1 else f"{ranking.blocks} pairs of stream and seed"
    words = f"The best mean rank on {where} is that of {first}: {best:.2f} over the {blocks} that all arms have."
    if ranking.p is not None:
        claim = "the arms are not all alike" if ranking.p <= ALPHA else "no difference among the arms is shown"
        words += f" Friedman's test: χ² = {ranking.statistic:.2f}, {p_value(ranking.p, True)}; {claim}."
    return words


def _found(row: Standing, several: bool) -> str:
    paired = row.paired
    assert paired is not None
    interval = f"95\N{NO-BREAK SPACE}% interval {signed(paired.low)} to {signed(paired.high)}"
    return (
        f"{_name(row, several)} ({signed(paired.difference)} points, {interval}, "
        f"corrected {p_value(paired.p_holm, True)}, {paired.n} pairs)"
    )


def _name(row: Standing, several: bool) -> str:
    return f"{row.arm} on {row.stream}" if several else row.arm


def _who(some: Sequence[Lived], every: Sequence[Lived]) -> str:
    """Which lives, in few words; nothing where it is all of them."""
    if len(some) == len(every):
        return ""
    names = list(dict.fromkeys(life.arm for life in some))
    whole = all(sum(life.arm == arm for life in every) == sum(life.arm == arm for life in some) for arm in names)
    return ", ".join(names) if whole else f"{', '.join(names)} ({len(some)} of {len(every)} lives)"


def _value_text(value: Any) -> str:
    if value is None:
        return "not said"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_value_text(entry)}" for key, entry in value.items())
    return str(value)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

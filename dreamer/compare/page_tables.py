"""The sortable tables of the page: the arms of a stream, and every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dreamer.compare.analysis import SECONDARY, Analysis, Costs, Standing, costs, stored, stores_words
from dreamer.compare.results import Comparison
from dreamer.compare.scores import by_accuracy
from dreamer.compare.words import as_sentence, reasons
from dreamer.core import text
from dreamer.core.text import DASH, capital, percent, plus_minus
from dreamer.metrics.significance import ALPHA, Paired
from dreamer.report.html_tables import Column, Entry, Table, number, p_value, verdict, word_columns, words
from dreamer.report.score import ACCURACY, Score

_COSTS = (
    Column("Steps", "Optimiser steps, awake and asleep"),
    Column("Bytes", "Kept beside the network: memory, generator, teachers, plasticity"),
    Column("Stores real samples", "Whether training data are kept beside the network", words=True),
    Column("Seconds", "Awake and asleep, without evaluations"),
    Column("Seen", "Real samples awake"),
    Column("Replayed", "Samples replayed awake"),
    Column("Dreamt", "Samples replayed asleep"),
)
_MEASURES = {
    "average_accuracy": "Accuracy",
    "forgetting": "Forgetting",
    "forgetting_max": "Forgetting (best)",
    "backward_transfer": "Backward transfer",
    "forward_transfer": "Forward transfer",
    "sleep_gain": "Gain per night",
    "recency_bias": "Recency bias",
    "min_accuracy": "Worst of old experiences",
    "worst_case_accuracy": "Worst case",
    "stability_gap": "Stability gap",
    "recovery": "Recovery",
}
_SMALLER = ("forgetting", "forgetting_max", "recency_bias", "stability_gap")
"""Measures of which less is better."""
_SCORES = ("average_accuracy", "min_accuracy", "worst_case_accuracy")
"""Measures that are better in the direction of the score."""


def standings_table(analysis: Analysis, stream: str, key: str) -> Table:
    """What the arms of one stream learnt, whose ``key`` is unique in the page."""
    reference, score = analysis.reference, analysis.score(stream)
    unit = "per cent" if score.is_fraction else score.unit
    columns = [
        Column("Arm", words=True),
        Column("Seeds", "Runs with a score", True),
        Column(
            capital(score.name),
            f"Average {score.name} at the end of the stream{f' in {unit}' if unit else ''}: mean ± standard deviation, "
            "95 % interval",
            score.higher_is_better,
        ),
        Column(
            "Difference",
            f"Mean difference to {reference} with the same seeds in {score.points}, 95 % interval",
            score.higher_is_better,
        ),
        Column("d_z", "Cohen's d_z: mean over standard deviation of the differences", score.higher_is_better),
        Column("p", "Wilcoxon's signed-rank test, two-sided, after Holm's correction"),
        Column("Conclusion", f"Against {reference}, at a corrected p of at most {ALPHA}", words=True),
        Column("Rank", "Mean rank over the seeds that all arms have; 1 is the best"),
        Column(
            "Forgetting",
            f"{'First minus last' if score.higher_is_better else 'Last minus first'} {score.name}, mean over "
            f"experiences and seeds, in {score.points}",
        ),
    ]
    standings = by_accuracy(analysis.on(stream))
    return Table(
        f"{key}-table",
        f"Arms on {stream}, the {'most accurate' if score == ACCURACY else 'best'} first; differences are to "
        f"{reference}",
        columns,
        [_standing_row(row, reference) for row in standings],
        2,
        [as_sentence(line) for line in reasons(standings)],
        _full(standings),
    )


def costs_table(analysis: Analysis, stream: str, key: str) -> Table:
    """What they spent, in the same order."""
    rows = [
        [Entry(row.arm, row.arm), *_cost_entries(row.costs, row.stores)] for row in by_accuracy(analysis.on(stream))
    ]
    caption = f"What the arms cost on {stream}: means over seeds, in the order of the table above"
    return Table(f"{key}-spent", caption, [Column("Arm", words=True), *_COSTS], rows)


def cells_table(comparison: Comparison, directory: Path) -> Table:
    """Every run with its seed and its numbers; folders below the page's directory are linked."""
    # what no run was measured by has no column
    found = [run.results["metrics"] for run in comparison.runs]
    scores = {run.stream: Score.of(run.results) for run in comparison.runs}
    plain = set(scores.values()) <= {ACCURACY}
    smaller = _SMALLER if all(score.higher_is_better for score in scores.values()) else (*_SMALLER, *_SCORES)
    measured = [key for key in _MEASURES if any(metrics.get(key) is not None for metrics in found)]
    columns = [
        *word_columns("Stream", "Arm"),
        Column("Seed"),
        *(
            Column("Score" if key == "average_accuracy" and not plain else _MEASURES[key], falls=key not in smaller)
            for key in measured
        ),
        *_COSTS,
    ]
    rows = []
    for run in comparison.runs:
        metrics, score = run.results["metrics"], scores[run.stream]
        rows.append(
            [
                *words(run.stream),
                Entry(run.arm, run.arm, link=_link(run.folder, directory)),
                number(run.seed, "{}"),
                *(
                    Entry((percent if key == "recency_bias" else score.write)(metrics.get(key), 2), metrics.get(key))
                    for key in measured
                ),
                *_cost_entries(costs(run.results), stored(run.results)),
            ]
        )
    caption = "Every run: accuracies, transfers and biases in per cent, forgetting and gaps in percentage points"
    if not plain:
        caption += ", other scores and their differences in their own units"
    return Table("cells", caption, columns, rows)


def _full(standings: Sequence[Standing]) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """All numbers of the arms of a stream, for a CSV file."""
    summary = ("mean", "std", "low", "high")
    paired = ("difference", "std", "low", "high", "d_z", "p", "p_holm", "verdict", "conclusion")
    spent = ("steps", "bytes_kept", "bytes_network", "seconds", "samples_real", "samples_replayed", "samples_dreamt")
    header = [
        "arm",
        "n",
        "runs_without_score",
        *(f"accuracy_{name}" for name in summary),
        "pairs",
        "pairs_missing",
        *(f"difference_{name}" if name in summary else name for name in paired),
        "rank",
        *(f"{measure}_mean" for measure in SECONDARY),
        *spent,
        "stores",
    ]
    rows = [
        [
            row.arm,
            row.accuracy.n,
            row.accuracy.missing,
            *(getattr(row.accuracy, name) for name in summary),
            row.paired.n if row.paired else None,
            row.paired.missing if row.paired else None,
            *(getattr(row.paired, name, None) for name in paired),
            row.rank,
            *(row.secondary[measure].mean if measure in row.secondary else None for measure in SECONDARY),
            *(getattr(row.costs, name) for name in spent),
            row.stores,
        ]
        for row in standings
    ]
    return header, rows


def _standing_row(row: Standing, reference: str) -> list[Entry]:
    write = partial(row.score.write, digits=2)
    lost = row.secondary.get("forgetting")
    return [
        Entry(row.arm, row.arm, "reference" if row.arm == reference else ""),
        number(row.accuracy.n),
        Entry(
            "diverged" if row.diverged else plus_minus(row.accuracy.mean, row.accuracy.std, write),
            row.accuracy.mean,
            _interval(row.accuracy.low, row.accuracy.high, write),
        ),
        *_paired_entries(row.paired, row.score),
        number(row.rank, "{:.2f}"),
        Entry(write(lost.mean if lost else None), lost.mean if lost else None),
    ]


def _paired_entries(paired: Paired | None, score: Score) -> list[Entry]:
    if paired is None:
        return [Entry(DASH, None), Entry(DASH, None), Entry(DASH, None), Entry("reference", None)]
    return [
        Entry(
            score.signed(paired.difference, 2),
            paired.difference,
            _interval(paired.low, paired.high, partial(score.signed, digits=2)),
        ),
        number(paired.d_z, "{:.2f}"),
        p_value(paired.p_holm, hint="" if paired.p is None else f"uncorrected: {text.p_value(paired.p)}"),
        verdict(paired.verdict, hint=paired.conclusion),
    ]


def _cost_entries(cost: Costs, kept: str | None) -> list[Entry]:
    return [
        number(cost.steps),
        Entry(text.size(cost.bytes_kept), cost.bytes_kept, hint=f"{text.number(cost.bytes_kept)} bytes"),
        Entry(stores_words(kept), kept),
        number(cost.seconds, "{:,.1f}"),
        *(number(value) for value in (cost.samples_real, cost.samples_replayed, cost.samples_dreamt)),
    ]


def _link(folder: Path | None, directory: Path) -> str:
    """From the page to a run folder that lies below it, and so travels with it."""
    if folder is None or not folder.resolve().is_relative_to(directory.resolve()):
        return ""
    inside = folder.resolve().relative_to(directory.resolve())
    return f"./{quote(inside.as_posix())}/"


def _interval(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    return "" if low is None else text.interval(low, high, write)

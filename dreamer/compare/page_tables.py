"""The sortable tables of the page: the arms of a stream, every life, and the cells that are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dreamer.compare.analysis import ALPHA, SECONDARY, Analysis, Costs, Paired, Standing, costs
from dreamer.compare.results import Comparison
from dreamer.compare.scores import by_accuracy
from dreamer.report.svg import DASH, MINUS, p_value, percent, signed
from dreamer.report.table import size


@dataclass(frozen=True)
class Column:
    """A column of a sortable table.

    Attributes:
        label: its heading.
        hint: what it means, in a sentence.
        falls: whether the largest value comes first when it is sorted by.
        words: whether it holds words, not numbers.
    """

    label: str
    hint: str = ""
    falls: bool = False
    words: bool = False


@dataclass(frozen=True)
class Entry:
    """A cell of a sortable table.

    Attributes:
        text: what is shown.
        value: what is sorted by, and what goes into the CSV file; None comes last.
        below: a second, smaller line.
        hint: shown while the pointer rests on it.
        mood: ``good``, ``bad`` or empty.
        link: where it leads, relative to the page.
    """

    text: str
    value: float | str | None
    below: str = ""
    hint: str = ""
    mood: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table.

    Attributes:
        key: its name in file names and anchors.
        caption: what it shows.
        columns: its headings.
        rows: its entries.
        sorted_by: the column by which the rows come sorted, or None.
        notes: what belongs under it.
        full: header and rows of its CSV file, where that says more than its entries.
    """

    key: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]
    sorted_by: int | None = None
    notes: Sequence[str] = ()
    full: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None

    @property
    def header(self) -> Sequence[str]:
        """The names of its numbers in a CSV file."""
        return self.full[0] if self.full else [column.label for column in self.columns]

    @property
    def numbers(self) -> Sequence[Sequence[Any]]:
        """Its numbers, one line of a CSV file each."""
        return self.full[1] if self.full else [[entry.value for entry in row] for row in self.rows]


_COSTS = (
    Column("Steps", "Optimiser steps, awake and asleep"),
    Column("Bytes", "Kept beside the network: memory, generator, teachers, plasticity"),
    Column("Seconds", "Awake and asleep, without examinations"),
    Column("Seen", "Samples met awake"),
    Column("Replayed", "Samples recalled while awake"),
    Column("Dreamt", "Samples recalled asleep"),
)
_SIGNS = {"better": "▲", "worse": "▼", "no difference shown": "○", "too few pairs": DASH, "no pairs": DASH}


def standings_table(analysis: Analysis, stream: str, key: str) -> Table:
    """Everything about the arms of one stream.

    Args:
        analysis: what may be concluded.
        stream: which one.
        key: of the stream, unique in the page.
    """
    reference = analysis.reference
    columns = [
        Column("Arm", words=True),
        Column("Seeds", "Lives with a score", True),
        Column(
            "Accuracy",
            "Average accuracy at the end of the stream in per cent: mean ± standard deviation, 95 % interval",
            True,
        ),
        Column(
            "Difference",
            f"Mean difference to {reference} with the same seeds in percentage points, 95 % interval",
            True,
        ),
        Column("d_z", "Cohen's d_z: mean over standard deviation of the differences", True),
        Column("p", "Wilcoxon's signed-rank test, two-sided, after Holm's correction"),
        Column("Conclusion", f"Against {reference}, at a corrected p of at most {ALPHA}", words=True),
        Column("Rank", "Mean rank over the seeds that all arms have; 1 is the best"),
        Column("Forgetting", "First minus last accuracy, mean over experiences and seeds, in percentage points"),
        *_COSTS,
    ]
    standings = by_accuracy(analysis.on(stream))
    return Table(
        f"{key}-table",
        f"Arms on {stream}, the most accurate first; differences are to {reference}",
        columns,
        [_standing_row(row, reference) for row in standings],
        2,
        _reasons(standings),
        _full(standings),
    )


def missing_table(comparison: Comparison) -> Table | None:
    """The cells without results and why; None where there are none."""
    if not comparison.missing:
        return None
    columns = [Column("Stream", words=True), Column("Arm", words=True), Column("Seed"), Column("Reason", words=True)]
    rows = [
        [
            Entry(cell.stream, cell.stream),
            Entry(cell.arm, cell.arm),
            _plain(cell.seed, "{}"),
            Entry(cell.reason, cell.reason),
        ]
        for cell in comparison.missing
    ]
    return Table("missing-cells", "Cells of the grid without results", columns, rows)


def cells_table(comparison: Comparison, directory: Path) -> Table:
    """Every life with its seed and its numbers.

    Args:
        comparison: what was lived.
        directory: of the page, from which run folders below it are linked.
    """
    measures = {
        "average_accuracy": "Accuracy",
        "forgetting": "Forgetting",
        "forgetting_max": "Forgetting (best)",
        "backward_transfer": "Backward transfer",
        "forward_transfer": "Forward transfer",
        "sleep_gain": "Gain per night",
    }
    columns = [
        Column("Stream", words=True),
        Column("Arm", words=True),
        Column("Seed"),
        *(Column(label, falls=not label.startswith("Forgetting")) for label in measures.values()),
        *_COSTS,
    ]
    rows = []
    for life in comparison.lives:
        metrics = life.results["metrics"]
        rows.append(
            [
                Entry(life.stream, life.stream),
                Entry(life.arm, life.arm, link=_link(life.folder, directory)),
                _plain(life.seed, "{}"),
                *(Entry(percent(metrics.get(key), 2), metrics.get(key)) for key in measures),
                *_cost_entries(costs(life.results)),
            ]
        )
    caption = "Every life: accuracies and transfers in per cent, forgetting in percentage points"
    return Table("cells", caption, columns, rows)


def _reasons(standings: Sequence[Standing]) -> list[str]:
    """Why nothing can be concluded, with the arms that it holds for; each reason once."""
    found: dict[str, list[str]] = {}
    for row in standings:
        if row.paired is not None and row.paired.conclusion != row.paired.verdict:
            found.setdefault(row.paired.conclusion, []).append(row.arm)
    compared = sum(row.paired is not None for row in standings)
    return [
        f"{conclusion[0].upper()}{conclusion[1:]} ({'all arms' if len(arms) == compared else ', '.join(arms)})."
        for conclusion, arms in found.items()
    ]


def _full(standings: Sequence[Standing]) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Everything that is known of the arms of a stream, for a CSV file."""
    summary = ("mean", "std", "low", "high")
    paired = ("difference", "std", "low", "high", "d_z", "p", "p_holm", "verdict")
    spent = ("steps", "bytes_kept", "bytes_network", "seconds", "samples_real", "samples_replayed", "samples_dreamt")
    header = [
        "arm",
        "n",
        *(f"accuracy_{name}" for name in summary),
        "pairs",
        *(f"difference_{name}" if name in summary else name for name in paired),
        "rank",
        *(f"{measure}_mean" for measure in SECONDARY),
        *spent,
    ]
    rows = [
        [
            row.arm,
            row.accuracy.n,
            *(getattr(row.accuracy, name) for name in summary),
            row.paired.n if row.paired else None,
            *(getattr(row.paired, name, None) for name in paired),
            row.rank,
            *(row.secondary[measure].mean if measure in row.secondary else None for measure in SECONDARY),
            *(getattr(row.costs, name) for name in spent),
        ]
        for row in standings
    ]
    return header, rows


def _standing_row(row: Standing, reference: str) -> list[Entry]:
    lost = row.secondary.get("forgetting")
    return [
        Entry(row.arm, row.arm, "reference" if row.arm == reference else ""),
        Entry(str(row.accuracy.n), row.accuracy.n),
        Entry(
            percent(row.accuracy.mean, 2) + ("" if row.accuracy.std is None else f" ± {percent(row.accuracy.std, 2)}"),
            row.accuracy.mean,
            _interval(row.accuracy.low, row.accuracy.high),
        ),
        *_paired_entries(row.paired),
        _plain(row.rank, "{:.2f}"),
        Entry(percent(lost.mean if lost else None, 2), lost.mean if lost else None),
        *_cost_entries(row.costs),
    ]


def _paired_entries(paired: Paired | None) -> list[Entry]:
    if paired is None:
        return [Entry(DASH, None), Entry(DASH, None), Entry(DASH, None), Entry("reference", None)]
    return [
        Entry(signed(paired.difference, 2), paired.difference, _interval(paired.low, paired.high, signed)),
        _plain(paired.d_z, "{:.2f}"),
        Entry(
            p_value(paired.p_holm), paired.p_holm, hint="" if paired.p is None else f"uncorrected: {p_value(paired.p)}"
        ),
        Entry(
            f"{_SIGNS[paired.verdict]} {paired.verdict}",
            paired.verdict,
            hint=paired.conclusion,
            mood={"better": "good", "worse": "bad"}.get(paired.verdict, ""),
        ),
    ]


def _cost_entries(cost: Costs) -> list[Entry]:
    return [
        _plain(cost.steps, "{:,.0f}"),
        _size(cost.bytes_kept),
        _plain(cost.seconds, "{:,.1f}"),
        *(_plain(value, "{:,.0f}") for value in (cost.samples_real, cost.samples_replayed, cost.samples_dreamt)),
    ]


def _link(folder: Path | None, directory: Path) -> str:
    """From the page to a run folder that lies below it, and so travels with it."""
    if folder is None or not folder.resolve().is_relative_to(directory.resolve()):
        return ""
    inside = folder.resolve().relative_to(directory.resolve())
    return f"./{quote(inside.as_posix())}/"


def _plain(value: float | None, form: str) -> Entry:
    return Entry(DASH if value is None else form.format(value).replace("-", MINUS), value)


def _size(value: float | None) -> Entry:
    """Bytes in powers of 1000; exactly while the pointer rests on them."""
    if value is None:
        return _plain(None, "")
    return Entry(size(round(value)), value, hint=f"{value:,.0f} bytes")


def _interval(low: float | None, high: float | None, write: Callable[[float | None, int], str] = percent) -> str:
    return "" if low is None or high is None else f"{write(low, 2)} to {write(high, 2)}"

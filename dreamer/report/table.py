"""The table of results that a run prints at its end: scores, metrics and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from dreamer.core.text import aligned, size
from dreamer.report.results import evaluations
from dreamer.report.score import Score

_MOST_CLASSES = 5


def experience_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row per experience, pieces of one together: its number, its classes, and the score on it at three times.

    Returns:
        (experience, classes or domain, after its wake, after its night, at the end of the run), accuracies in percent;
        a dash where the network was not evaluated.
    """
    score, origins = Score.of(results), results["protocol"].get("origins")
    rows = evaluations(results)
    order = results["protocol"]["class_order"]
    if origins is not None:
        whole = [[classes for classes, own in zip(order, origins, strict=True) if own == i] for i in sorted({*origins})]
        order = [sorted(set().union(*pieces)) for pieces in whole]
    final = rows[-1]["accuracy"] if rows and rows[-1]["stage"] >= 0 else [None] * len(order)
    lines: list[tuple[str, ...]] = []
    for i, classes in enumerate(order):
        wake, night = (
            next(
                (row["accuracy"][i] for row in reversed(rows) if (row["after"], row["experience"]) == (after, i)), None
            )
            for after in ("wake", "night")
        )
        lines.append(
            (
                str(i),
                _classes(classes, results["protocol"].get("class_names", ())),
                *(score.write(value, 2) for value in (wake, night, final[i])),
            )
        )
    return lines


def metric_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """(name, value) of the numbers of the whole run; undefined ones are left out, accuracies in percentage points."""
    score = Score.of(results)
    values = results["metrics"]
    return [
        (name, (Score() if key == "recency_bias" else score).write(values[key], 2))
        for key, name in _names(score).items()
        if values.get(key) is not None
    ]


def metric_lines(results: Mapping[str, Any]) -> list[str]:
    """The same as plain text, a line each."""
    score, rows = Score.of(results), metric_rows(results)
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:<{width}}  {value:>7}{score.sign}" for name, value in rows]


def cost_lines(results: Mapping[str, Any]) -> list[str]:
    """What the run took: steps, samples and seconds awake and asleep, and bytes kept beside the network."""
    cost = results["cost"]
    steps, samples, seconds, sizes = (cost[key] for key in ("optimizer_steps", "samples", "seconds", "bytes"))
    asleep = {key: cost[key]["nrem"] + cost[key]["rem"] for key in ("optimizer_steps", "samples", "seconds")}
    return [
        f"awake  {steps['wake']:,} steps, {samples['wake']:,} samples"
        + (f" and {samples['replayed']:,} replayed" if samples["replayed"] else "")
        + f", {seconds['wake']:.1f} s",
        f"asleep {asleep['optimizer_steps']:,} steps, {asleep['samples']:,} dreams, {asleep['seconds']:.1f} s"
        f"; evaluations {seconds['examination']:.1f} s",
        "kept   " + ", ".join(f"{name} {size(nbytes)}" for name, nbytes in sizes.items()),
    ]


def plain_table(results: Mapping[str, Any]) -> str:
    """The table as plain text of fixed width, for files, pipes and logs."""
    rows = aligned([_header(results), *experience_rows(results)], left=())
    return "\n".join([_heading(results), "", *rows, "", *metric_lines(results), "", *cost_lines(results)])


def print_table(results: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Print the table: drawn with rich in a terminal, as plain text anywhere else."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.print(Text(plain_table(results)), soft_wrap=True)
        return
    table = Table(header_style="bold")
    for name in _header(results):
        table.add_column(name, justify="right")
    for row in experience_rows(results):
        table.add_row(*row)
    numbers = Table.grid(padding=(0, 2))
    numbers.add_column()
    numbers.add_column(justify="right")
    score = Score.of(results)
    for name, value in metric_rows(results):
        style = "bold" if name == _names(score)["average_accuracy"] else ""
        numbers.add_row(Text(name), f"{value}{score.sign}", style=style)
    console.print(Text(_heading(results), style="bold"))
    console.print(table, numbers, "", Text("\n".join(cost_lines(results)), style="dim"), sep="\n")


def _heading(results: Mapping[str, Any]) -> str:
    protocol = results["protocol"]
    # a run without a run folder has no name of its own
    name = results.get("name", protocol["stream"])
    state = "" if results["complete"] else " (stopped early)"
    score = Score.of(results)
    scores = "accuracies in %" if score == Score() else score.heading
    return (
        f"{name}{state}: {protocol['stream']}, {protocol['scenario']}-incremental, "
        f"active outputs: {protocol['active_outputs']}, seed {results['seed']}; {scores}"
    )


def _header(results: Mapping[str, Any]) -> tuple[str, ...]:
    groups = "domain" if results["protocol"].get("groups") == "domain" else "classes"
    return ("experience", groups, "after wake", "after night", "final")


def _names(score: Score) -> dict[str, str]:
    """The metrics by their key, as they are called in the table."""
    worse = ("first - last", "best - last") if score.higher_is_better else ("last - first", "last - best")
    return {
        "average_accuracy": f"average {score.name}",
        "forgetting": f"forgetting ({worse[0]})",
        "forgetting_max": f"forgetting ({worse[1]})",
        "backward_transfer": "backward transfer",
        "forward_transfer": "forward transfer",
        "sleep_gain": "gain per night",
        "recency_bias": "recency bias",
        "min_accuracy": f"worst {score.name} of old experiences",
        "worst_case_accuracy": f"worst-case {score.name}",
        "stability_gap": "stability gap",
        "recovery": "recovery from it",
    }


def _classes(labels: Sequence[int], names: Sequence[str]) -> str:
    named = [names[label] if label < len(names) else str(label) for label in labels[:_MOST_CLASSES]]
    shown = (", " if names else " ").join(named)
    return shown + (f" … ({len(labels)})" if len(labels) > _MOST_CLASSES else "")

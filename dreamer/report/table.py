"""The table of results that a life prints at its end: what was learnt, what sleep changed, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from dreamer.metrics.continual import whole_rows

_METRICS = {
    "average_accuracy": "average accuracy",
    "forgetting": "forgetting (first - last)",
    "forgetting_max": "forgetting (best - last)",
    "backward_transfer": "backward transfer",
    "forward_transfer": "forward transfer",
    "sleep_gain": "gain per night",
}
_MOST_CLASSES = 5


def experience_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row per experience, pieces of one together: its number, its classes, and the accuracy on it at three times.

    Args:
        results: the content of ``results.json``.

    Returns:
        (experience, classes, after its wake, after its night, at the end of the life), in percent; ``-`` where the
        network was not examined.
    """
    origins = results["protocol"].get("origins")
    rows = whole_rows(results["accuracy_matrix"]["rows"], origins)
    order = results["protocol"]["class_order"]
    if origins is not None:
        whole = [[classes for classes, own in zip(order, origins, strict=True) if own == i] for i in sorted({*origins})]
        order = [sorted(set().union(*pieces)) for pieces in whole]
    final = rows[-1]["accuracy"] if rows and rows[-1]["stage"] >= 0 else [None] * len(order)
    lines: list[tuple[str, ...]] = []
    for i, classes in enumerate(order):
        day, night = (
            next(
                (row["accuracy"][i] for row in reversed(rows) if (row["after"], row["experience"]) == (after, i)), None
            )
            for after in ("wake", "night")
        )
        lines.append((str(i), _classes(classes), _percent(day), _percent(night), _percent(final[i])))
    return lines


def metric_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """(name, value in percentage points) of the numbers of the whole life; undefined ones are left out."""
    return [
        (name, f"{100 * results['metrics'][key]:.2f}")
        for key, name in _METRICS.items()
        if results["metrics"].get(key) is not None
    ]


def cost_lines(results: Mapping[str, Any]) -> list[str]:
    """What the life took: steps, samples and seconds awake and asleep, and bytes kept beside the network."""
    cost = results["cost"]
    steps, samples, seconds, sizes = (cost[key] for key in ("optimizer_steps", "samples", "seconds", "bytes"))
    asleep = {key: cost[key]["nrem"] + cost[key]["rem"] for key in ("optimizer_steps", "samples", "seconds")}
    return [
        f"awake  {steps['wake']:,} steps, {samples['wake']:,} samples"
        + (f" and {samples['replayed']:,} replayed" if samples["replayed"] else "")
        + f", {seconds['wake']:.1f} s",
        f"asleep {asleep['optimizer_steps']:,} steps, {asleep['samples']:,} dreams, {asleep['seconds']:.1f} s"
        f"; examinations {seconds['examination']:.1f} s",
        "kept   " + ", ".join(f"{name} {size(nbytes)}" for name, nbytes in sizes.items()),
    ]


def plain_table(results: Mapping[str, Any]) -> str:
    """The table as plain text of fixed width, for files, pipes and logs."""
    header = ("experience", "classes", "after wake", "after night", "final")
    rows = [header, *experience_rows(results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [_heading(results), ""]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append("")
    width = max(len(name) for name in _METRICS.values())
    lines += [f"{name:<{width}}  {value:>7} %" for name, value in metric_rows(results)]
    return "\n".join([*lines, "", *cost_lines(results)])


def print_table(results: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Print the table: drawn with rich in a terminal, as plain text anywhere else.

    Args:
        results: the content of ``results.json``.
        file: where to; by default the standard output.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.print(Text(plain_table(results)), soft_wrap=True)
        return
    life = Table(header_style="bold")
    for name in ("experience", "classes", "after wake", "after night", "final"):
        life.add_column(name, justify="right")
    for row in experience_rows(results):
        life.add_row(*row)
    numbers = Table.grid(padding=(0, 2))
    numbers.add_column()
    numbers.add_column(justify="right")
    for name, value in metric_rows(results):
        numbers.add_row(Text(name), f"{value} %", style="bold" if name == _METRICS["average_accuracy"] else "")
    console.print(Text(_heading(results), style="bold"))
    console.print(life, numbers, "", Text("\n".join(cost_lines(results)), style="dim"), sep="\n")


def _heading(results: Mapping[str, Any]) -> str:
    protocol = results["protocol"]
    # a life without a run folder has no name of its own
    name = results.get("name", protocol["stream"])
    state = "" if results["complete"] else " (broke off)"
    return (
        f"{name}{state}: {protocol['stream']}, {protocol['scenario']}-incremental, "
        f"active outputs: {protocol['active_outputs']}, seed {results['seed']}; accuracies in %"
    )


def _classes(labels: Sequence[int]) -> str:
    shown = [str(label) for label in labels[:_MOST_CLASSES]]
    return " ".join(shown) + (f" … ({len(labels)})" if len(labels) > _MOST_CLASSES else "")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def size(count: int) -> str:
    """Bytes in the unit in which they are easiest to read, in powers of 1000."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} B"

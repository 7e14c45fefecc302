"""The tables of a comparison: for spreadsheets, programs, GitHub, papers and the terminal.

Shares stay shares in ``results.csv`` and ``results.json``; what is meant to be read says per cent.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from dreamer.compare.analysis import Analysis, Ranking, Standing, Summary, costs, explained
from dreamer.compare.results import Comparison, Lived
from dreamer.core.files import write_text
from dreamer.report import table
from dreamer.report.results import write_results

CSV = "results.csv"
MARKDOWN = "table.md"
LATEX = "table.tex"
METRICS = ("average_accuracy", "forgetting", "forgetting_max", "backward_transfer", "forward_transfer", "sleep_gain")
"""Columns of ``results.csv`` that are taken from ``metrics`` as they are."""
NOTHING = "-"
"""Stands where a number is not defined or not known."""

_MARKDOWN_COLUMNS = {
    "arm": "arm",
    "n": "n",
    "accuracy": "accuracy (%)",
    "interval": "95 % interval",
    "difference": "difference to {reference} (points)",
    "pairs": "pairs",
    "d_z": "d_z",
    "p_holm": "p (Holm)",
    "verdict": "conclusion",
    "steps": "steps",
    "samples": "samples met + recalled",
    "kept": "bytes kept",
    "seconds": "seconds",
    "rank": "rank",
}
_LATEX_COLUMNS = {
    "arm": "Arm",
    "n": "$n$",
    "accuracy": r"Accuracy (\%)",
    "difference": "Difference",
    "d_z": "$d_z$",
    "p_holm": r"$p_\mathrm{Holm}$",
    "verdict": "Conclusion",
    "rank": "Rank",
}
_LATEX_COSTS = {"arm": "Arm", "steps": "Steps", "samples": "Samples", "kept": "Bytes kept", "seconds": "Seconds"}
_TERMINAL_COLUMNS = {
    "arm": "arm",
    "n": "n",
    "accuracy": "accuracy",
    "difference": "difference",
    "p_holm": "p (Holm)",
    "verdict": "conclusion",
    "steps": "steps",
    "kept": "kept",
    "seconds": "seconds",
    "rank": "rank",
}
_WORDS = ("arm", "verdict")
_BLOCKS = ("pair of stream and seed", "pairs of stream and seed")
_SHORT = {"no difference shown": "none shown"}
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # a row that begins with these would be read as an option of the line before it
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def write_tables(comparison: Comparison, analysis: Analysis, folder: str | Path) -> list[Path]:
    """Write ``results.csv``, ``results.json``, ``table.md`` and ``table.tex``, each in one piece.

    Args:
        comparison: the lives.
        analysis: what was made of them.
        folder: is made when it is not there.

    Returns:
        The paths of the files.

    Raises:
        OSError: when the folder cannot be written to.
    """
    folder = Path(folder)
    texts = {
        CSV: csv_table(comparison, folder),
        MARKDOWN: markdown_table(comparison, analysis),
        LATEX: latex_table(comparison, analysis),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [*(folder / name for name in texts), write_results(everything(comparison, analysis, folder), folder)]


def csv_table(comparison: Comparison, folder: Path) -> str:
    """One row for each cell of the grid, lived or missing; what is undefined or unknown is empty.

    Args:
        comparison: the lives.
        folder: paths below it are written relative to it.
    """
    places = {place: i for i, place in enumerate((s, a) for s in comparison.streams for a in comparison.arms)}
    rows = [_lived_row(life, folder) for life in comparison.lives]
    rows += [
        {"stream": cell.stream, "arm": cell.arm, "seed": cell.seed, "missing": cell.reason}
        for cell in comparison.missing
    ]
    rows.sort(key=lambda row: (places[row["stream"], row["arm"]], row["seed"]))
    costs_of = list(asdict(costs({})))
    out = io.StringIO()
    columns = ["stream", "arm", "seed", *METRICS, *costs_of, "folder", "missing"]
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def everything(comparison: Comparison, analysis: Analysis, folder: Path) -> dict[str, Any]:
    """What ``results.json`` holds: every cell's numbers, and all that was concluded from them.

    Args:
        comparison: the lives.
        analysis: what was made of them.
        folder: paths below it are written relative to it.
    """
    return {
        "title": comparison.title,
        "command": comparison.command,
        "reference": comparison.reference,
        "streams": comparison.streams,
        "arms": comparison.arms,
        "warnings": comparison.warnings,
        "cells": [
            {
                "stream": life.stream,
                "arm": life.arm,
                "seed": life.seed,
                "folder": _place(life.folder, folder) or None,
                "metrics": life.results.get("metrics"),
                "cost": life.results.get("cost"),
                "accuracy_matrix": life.results.get("accuracy_matrix"),
            }
            for life in comparison.lives
        ],
        "missing": [asdict(cell) for cell in comparison.missing],
        "analysis": asdict(analysis),
        "explanation": explained(analysis).split("\n\n"),
    }


def markdown_table(comparison: Comparison, analysis: Analysis) -> str:
    """One table for each stream as GitHub draws it, then all that a reader has to know about them."""
    reference = _markdown(comparison.reference)
    header = [name.format(reference=reference) for name in _MARKDOWN_COLUMNS.values()]
    rule = ["---" if key in _WORDS else "---:" for key in _MARKDOWN_COLUMNS]
    lines = [f"# {_markdown(comparison.title)}"]
    if comparison.command:
        lines += ["", "```bash", comparison.command, "```"]
    for stream in comparison.streams:
        rows = [[_markdown(row[key]) for key in _MARKDOWN_COLUMNS] for row in map(_texts, analysis.on(stream))]
        lines += ["", f"## {_markdown(stream)}", "", *(f"| {' | '.join(row)} |" for row in (header, rule, *rows))]
        lines += ["", *(f"- {_markdown(note)}" for note in stream_notes(analysis, stream))]
    if len(comparison.streams) > 1:
        lines += ["", "## All streams", "", _markdown(ranking_line(analysis.ranking, *_BLOCKS))]
    for title, notes in (("Warnings", comparison.warnings), ("Missing", missing_lines(comparison))):
        if notes:
            lines += ["", f"## {title}", "", *(f"- {_markdown(note)}" for note in notes)]
    return "\n".join([*lines, "", "## How to read this", "", explained(analysis)]) + "\n"


def latex_table(comparison: Comparison, analysis: Analysis) -> str:
    r"""Two ``table`` environments for each stream, what was learnt and what it cost, to be read with ``\input``.

    They need the package booktabs alone, and are narrow enough for the text of a page where names are short.
    """
    lines = [r"% \usepackage{booktabs}"]
    for stream in comparison.streams:
        learnt = (
            f"{_latex(stream)}: average accuracy at the end of the stream (mean $\\pm$ standard deviation over $n$ "
            f"seeds), difference to {_latex(comparison.reference)} in percentage points with its 95\\,\\% interval, "
            f"Cohen's $d_z$, and Wilcoxon's signed-rank test with Holm's correction ($m = {analysis.tests}$)."
        )
        cost = (
            f"{_latex(stream)}: optimiser steps, samples met and recalled, bytes kept beside the network, and seconds "
            "awake and asleep; means over seeds."
        )
        for columns, caption in ((_LATEX_COLUMNS, learnt), (_LATEX_COSTS, cost)):
            lines += _latex_float(columns, caption, analysis.on(stream))
    return "\n".join(lines) + "\n"


def plain_comparison(comparison: Comparison, analysis: Analysis) -> str:
    """The tables as plain text of fixed width, for pipes and logs."""
    blocks = [comparison.title]
    for stream in comparison.streams:
        rows = [tuple(_TERMINAL_COLUMNS.values()), *terminal_rows(analysis, stream)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(map(_justified, _TERMINAL_COLUMNS, row, widths)).rstrip() for row in rows]
        blocks.append("\n".join([_heading(stream, comparison), *lines]))
        blocks.append("\n".join(stream_notes(analysis, stream)))
    return "\n\n".join([*blocks, *filter(None, ["\n".join(_closing(comparison, analysis))])])


def print_comparison(comparison: Comparison, analysis: Analysis, file: IO[str] | None = None) -> None:
    """Print the tables: drawn with rich in a terminal, as plain text anywhere else.

    Args:
        comparison: the lives.
        analysis: what was made of them.
        file: where to; by default the standard output.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.print(Text(plain_comparison(comparison, analysis)), soft_wrap=True)
        return
    console.print(Text(comparison.title, style="bold"))
    for stream in comparison.streams:
        table = Table(header_style="bold")
        for key, name in _TERMINAL_COLUMNS.items():
            table.add_column(Text(name), justify="left" if key in _WORDS else "right")
        for row in terminal_rows(analysis, stream):
            table.add_row(*map(Text, row))
        console.print("", Text(_heading(stream, comparison)), table, sep="\n")
        console.print(Text("\n".join(stream_notes(analysis, stream)), style="dim"))
    if closing := _closing(comparison, analysis):
        console.print("", Text("\n".join(closing), style="yellow"), sep="\n")


def terminal_rows(analysis: Analysis, stream: str) -> list[tuple[str, ...]]:
    """What the terminal shows of the arms on a stream."""
    return [tuple(row[key] for key in _TERMINAL_COLUMNS) for row in map(_texts, analysis.on(stream))]


def stream_notes(analysis: Analysis, stream: str) -> list[str]:
    """What has to be said under the table of a stream: why nothing can be concluded, ranks, and Pareto fronts."""
    paired = {row.arm: row.paired for row in analysis.on(stream) if row.paired}
    reasons: dict[str, list[str]] = {}
    for arm, against in paired.items():
        if against.conclusion != against.verdict:
            reasons.setdefault(against.conclusion, []).append(arm)
    front = analysis.fronts[stream]
    names = {"steps": "steps", "seconds": "seconds", "bytes_kept": "bytes kept"}
    fronts = [f"{', '.join(front[key])} ({name})" for key, name in names.items() if front[key]]
    return [
        *(reason if len(arms) == len(paired) else f"{', '.join(arms)}: {reason}" for reason, arms in reasons.items()),
        ranking_line(analysis.rankings[stream], "seed", "seeds"),
        *([f"Pareto front of mean accuracy against cost: {'; '.join(fronts)}"] if fronts else []),
    ]


def ranking_line(ranking: Ranking, block: str, blocks: str) -> str:
    """Mean ranks, best first, and Friedman's test, in one sentence.

    Args:
        ranking: what is said.
        block: what the arms were ranked within.
        blocks: the same in the plural.
    """
    if not ranking.blocks:
        return f"mean ranks: none, there is no {block} for which every arm has a score"
    order = sorted(ranking.mean_ranks.items(), key=lambda entry: entry[1])
    text = f"mean ranks over {ranking.blocks} {block if ranking.blocks == 1 else blocks}: "
    text += ", ".join(f"{arm} {mean:.2f}" for arm, mean in order)
    if ranking.p is None:
        return text
    p = p_value(ranking.p)
    p = f"< {p[1:]}" if p[0] == "<" else f"= {p}"
    return f"{text}; Friedman: chi2({len(order) - 1}) = {ranking.statistic:.2f}, p {p}"


def missing_lines(comparison: Comparison) -> list[str]:
    """One line for each cell without results."""
    return [_one_line(f"{cell.arm} on {cell.stream}, seed {cell.seed}: {cell.reason}") for cell in comparison.missing]


def percent(share: float | None, sign: str = "") -> str:
    """A share in per cent, with two decimals; ``sign`` is ``+`` where a rise should show it."""
    return NOTHING if share is None else f"{100 * share:{sign}.2f}"


def mean_and_deviation(summary: Summary) -> str:
    """``mean ± std`` in per cent; the mean alone where there is no deviation."""
    deviation = "" if summary.std is None else f" ± {percent(summary.std)}"
    return percent(summary.mean) + deviation


def interval(low: float | None, high: float | None, sign: str = "") -> str:
    """``[low, high]`` in per cent."""
    return NOTHING if low is None else f"[{percent(low, sign)}, {percent(high, sign)}]"


def p_value(p: float | None) -> str:
    """Three decimals, or that it is smaller than they can show."""
    if p is None:
        return NOTHING
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def count(number: float | None, decimals: int = 0) -> str:
    """A number with its thousands apart."""
    return NOTHING if number is None else f"{number:,.{decimals}f}"


def size(nbytes: float | None) -> str:
    """Bytes in the unit in which they are easiest to read."""
    return NOTHING if nbytes is None else table.size(round(nbytes))


def _texts(standing: Standing) -> dict[str, str]:
    """Everything that a table may say about an arm on a stream, by column."""
    paired, cost = standing.paired, standing.costs
    texts = {
        "arm": standing.arm,
        "n": str(standing.accuracy.n),
        "accuracy": mean_and_deviation(standing.accuracy),
        "interval": interval(standing.accuracy.low, standing.accuracy.high),
        "steps": count(cost.steps),
        "samples": f"{count(cost.samples_real)} + {count(cost.samples_recalled)}",
        "kept": size(cost.bytes_kept),
        "seconds": count(cost.seconds, 1),
        "rank": NOTHING if standing.rank is None else f"{standing.rank:.2f}",
    }
    if paired is None:
        nothing = dict.fromkeys(("pairs", "d_z", "p_holm", "verdict"), NOTHING)
        return texts | nothing | {"difference": "reference"}
    reach = "" if paired.low is None else f" {interval(paired.low, paired.high, '+')}"
    return texts | {
        "difference": percent(paired.difference, "+") + reach,
        "pairs": str(paired.n),
        "d_z": NOTHING if paired.d_z is None else f"{paired.d_z:+.2f}",
        "p_holm": p_value(paired.p_holm),
        "verdict": paired.verdict,
    }


def _lived_row(life: Lived, folder: Path) -> dict[str, Any]:
    metrics = life.results.get("metrics") or {}
    row = {
        "stream": life.stream,
        "arm": life.arm,
        "seed": life.seed,
        **{name: metrics.get(name) for name in METRICS},
        **asdict(costs(life.results)),
        "folder": _place(life.folder, folder),
    }
    return {key: "" if value is None else value for key, value in row.items()}


def _place(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    path, folder = path.resolve(), folder.resolve()
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _closing(comparison: Comparison, analysis: Analysis) -> list[str]:
    everywhere = [ranking_line(analysis.ranking, *_BLOCKS)] if len(comparison.streams) > 1 else []
    return [
        *(f"all streams: {line}" for line in everywhere),
        *(f"warning: {warning}" for warning in comparison.warnings),
        *(f"missing: {line}" for line in missing_lines(comparison)),
    ]


def _heading(stream: str, comparison: Comparison) -> str:
    return f"{stream}: average accuracy in %, differences to {comparison.reference} in percentage points"


def _justified(key: str, text: str, width: int) -> str:
    return text.ljust(width) if key in _WORDS else text.rjust(width)


def _markdown(text: str) -> str:
    # an underscore within a word is left alone on GitHub, and read more easily without a backslash
    return re.sub(r"[\\`*|<>~$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", _one_line(text))


def _latex_float(columns: Mapping[str, str], caption: str, standings: Sequence[Standing]) -> list[str]:
    shape = "".join("l" if key in _WORDS else "r" for key in columns)
    rows = [" & ".join(_latex_cell(key, row[key]) for key in columns) for row in map(_texts, standings)]
    return [
        r"\begin{table}[htbp]",
        r"\centering\scriptsize",
        r"\setlength{\tabcolsep}{2pt}",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{@{{}}{shape}@{{}}}}",
        *(r"\toprule", " & ".join(columns.values()) + r" \\"),
        *(r"\midrule", *(rf"{row} \\" for row in rows), r"\bottomrule"),
        *(r"\end{tabular}", r"\end{table}"),
    ]


def _latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in _one_line(text))


def _latex_cell(key: str, text: str) -> str:
    if text == NOTHING:
        return "--"
    if key in _WORDS or text == "reference":
        return _latex(_SHORT.get(text, text) if key == "verdict" else text)
    return text.replace("±", r"$\pm$").replace("-", "$-$").replace("<", "$<$")


def _one_line(text: str) -> str:
    return " ".join(text.split())

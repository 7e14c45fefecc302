"""The tables of a comparison: for spreadsheets, programs, GitHub, papers and the terminal.

Fractions stay fractions in ``results.csv`` and ``results.json``; what is meant to be read says per cent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any

from dreamer.compare.analysis import SECONDARY, Analysis, Standing, costs, explained, stored, stores_words
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.compare.words import missing_lines, ranking_line, reasons
from dreamer.core.files import csv_text, write_text
from dreamer.core.text import (
    DASH,
    MINUS,
    aligned,
    capital,
    interval,
    number,
    one_line,
    p_value,
    plus_minus,
    size,
)
from dreamer.metrics.significance import NO_NUMBER
from dreamer.report.results import write_results
from dreamer.report.score import Score

CSV = "results.csv"
MARKDOWN = "table.md"
LATEX = "table.tex"
METRICS = ("average_accuracy", *SECONDARY)
"""Columns of ``results.csv`` that are taken from ``metrics`` as they are."""

# what a table says of an arm: its key, and its heading on GitHub, in LaTeX and in the terminal, where it is shown there
_COLUMNS = (
    ("arm", "arm", "Arm", "arm"),
    ("n", "n", "$n$", "n"),
    ("accuracy", "{score}{unit}", "{Score}{unit}", "{score}"),
    ("interval", "95 % interval", "", ""),
    ("difference", "difference to {reference} ({points})", "Difference", "difference"),
    ("pairs", "pairs", "", ""),
    ("d_z", "d_z", "$d_z$", ""),
    ("p_holm", "p (Holm)", r"$p_\mathrm{Holm}$", "p (Holm)"),
    ("verdict", "conclusion", "Conclusion", "conclusion"),
    ("steps", "steps", "Steps", "steps"),
    ("samples", "samples real + replayed", "Samples", ""),
    ("replayed", "", "", "replayed"),
    ("kept", "bytes kept", "Bytes kept", "kept"),
    ("stores", "stores real samples", "Real kept", "real kept"),
    ("seconds", "seconds", "Seconds", "seconds"),
    ("rank", "rank", "Rank", "rank"),
)
_MARKDOWN, _LATEX, _TERMINAL = ({row[0]: row[place] for row in _COLUMNS if row[place]} for place in (1, 2, 3))
_LATEX_COSTS = ("arm", "steps", "samples", "kept", "stores", "seconds")
_LATEX_SCORES = tuple(key for key in _LATEX if key == "arm" or key not in _LATEX_COSTS)
_WORDS = ("arm", "stores", "verdict")
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
    """Write ``results.csv``, ``results.json``, ``table.md`` and ``table.tex``, each in one piece; gives their paths."""
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
    """One row for each cell of the grid, completed or missing; what is undefined or unknown is empty.

    The last column says why a cell has no score.
    """
    places = {place: i for i, place in enumerate((s, a) for s in comparison.streams for a in comparison.arms)}
    rows = [_csv_row(run, folder) for run in comparison.runs]
    rows += [
        {"stream": cell.stream, "arm": cell.arm, "seed": cell.seed, "missing": cell.reason}
        for cell in comparison.missing
    ]
    rows.sort(key=lambda row: (places[row["stream"], row["arm"]], row["seed"]))
    costs_of = list(asdict(costs({})))
    return csv_text(["stream", "arm", "seed", *METRICS, *costs_of, "stores", "folder", "missing"], rows)


def everything(comparison: Comparison, analysis: Analysis, folder: Path) -> dict[str, Any]:
    """What ``results.json`` holds: every cell's numbers, and all that was concluded from them."""
    return {
        "title": comparison.title,
        "command": comparison.command,
        "reference": comparison.reference,
        "streams": comparison.streams,
        "arms": comparison.arms,
        "warnings": comparison.warnings,
        "cells": [
            {
                "stream": run.stream,
                "arm": run.arm,
                "seed": run.seed,
                "folder": _place(run.folder, folder) or None,
                "metrics": run.results.get("metrics"),
                "cost": run.results.get("cost"),
                "accuracy_matrix": run.results.get("accuracy_matrix"),
            }
            for run in comparison.runs
        ],
        "missing": [asdict(cell) for cell in comparison.missing],
        "analysis": asdict(analysis),
        "explanation": explained(analysis).split("\n\n"),
    }


def markdown_table(comparison: Comparison, analysis: Analysis) -> str:
    """One table for each stream as GitHub draws it, then the notes to them."""
    rule = ["---" if key in _WORDS else "---:" for key in _MARKDOWN]
    lines = [f"# {_markdown(comparison.title)}"]
    if comparison.command:
        lines += ["", "```bash", comparison.command, "```"]
    for stream in comparison.streams:
        named = {name: _markdown(text) for name, text in _names(analysis, stream).items()}
        header = [name.format(**named) for name in _MARKDOWN.values()]
        rows = [[_markdown(row[key]) for key in _MARKDOWN] for row in map(_texts, analysis.on(stream))]
        lines += ["", f"## {_markdown(stream)}", "", *(f"| {' | '.join(row)} |" for row in (header, rule, *rows))]
        lines += ["", *(f"- {_markdown(note)}" for note in stream_notes(analysis, stream))]
    if len(comparison.streams) > 1:
        lines += ["", "## All streams", "", _markdown(ranking_line(analysis.ranking))]
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
        score = analysis.score(stream)
        learnt = (
            f"{_latex(stream)}: average {_latex(score.name + score.lower)} at the end of the stream (mean $\\pm$ "
            f"standard deviation over $n$ seeds), difference to {_latex(comparison.reference)} in "
            f"{_latex(score.points)} with its 95\\,\\% interval, Cohen's $d_z$, and Wilcoxon's signed-rank test with "
            f"Holm's correction ($m = {analysis.tests}$)."
        )
        cost = (
            f"{_latex(stream)}: optimiser steps, real and replayed samples, bytes kept beside the network, "
            "whether real samples are among them, and seconds awake and asleep; means over seeds."
        )
        for keys, caption in ((_LATEX_SCORES, learnt), (_LATEX_COSTS, cost)):
            named = {name: _latex(text) for name, text in _names(analysis, stream).items()}
            lines += _latex_float(keys, caption, analysis.on(stream), named)
    return "\n".join(lines) + "\n"


def plain_comparison(comparison: Comparison, analysis: Analysis) -> str:
    """The tables as plain text of fixed width, for pipes and logs."""
    blocks = [comparison.title]
    for stream in comparison.streams:
        rows = [_terminal_header(analysis, stream), *terminal_rows(analysis, stream)]
        left = [place for place, key in enumerate(_TERMINAL) if key in _WORDS]
        blocks.append("\n".join([_heading(stream, analysis), *aligned(rows, left)]))
        blocks.append("\n".join(stream_notes(analysis, stream)))
    return "\n\n".join([*blocks, *filter(None, ["\n".join(_closing(comparison, analysis))])])


def print_comparison(comparison: Comparison, analysis: Analysis, file: IO[str] | None = None) -> None:
    """Print the tables: drawn with rich in a terminal, as plain text anywhere else."""
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
        for key, name in zip(_TERMINAL, _terminal_header(analysis, stream), strict=True):
            table.add_column(Text(name), justify="left" if key in _WORDS else "right")
        for row in terminal_rows(analysis, stream):
            table.add_row(*map(Text, row))
        console.print("", Text(_heading(stream, analysis)), table, sep="\n")
        console.print(Text("\n".join(stream_notes(analysis, stream)), style="dim"))
    if closing := _closing(comparison, analysis):
        console.print("", Text("\n".join(closing), style="yellow"), sep="\n")


def terminal_rows(analysis: Analysis, stream: str) -> list[tuple[str, ...]]:
    """What the terminal shows of the arms on a stream."""
    return [tuple(row[key] for key in _TERMINAL) for row in map(_texts, analysis.on(stream))]


def stream_notes(analysis: Analysis, stream: str) -> list[str]:
    """The notes under the table of a stream: why nothing can be concluded, ranks, and Pareto fronts."""
    front = analysis.fronts[stream]
    names = {"steps": "steps", "seconds": "seconds", "bytes_kept": "bytes kept"}
    fronts = [f"{', '.join(front[key])} ({name})" for key, name in names.items() if front[key]]
    return [
        *reasons(analysis.on(stream)),
        ranking_line(analysis.rankings[stream], "seed"),
        *([f"Pareto front of {_mean_of(analysis.score(stream))} against cost: {'; '.join(fronts)}"] if fronts else []),
    ]


def _mean_of(score: Score) -> str:
    return score.name if score.name.startswith("mean ") else f"mean {score.name}"


def _texts(standing: Standing) -> dict[str, str]:
    """Everything that a table may say about an arm on a stream, by column."""
    paired, cost, score = standing.paired, standing.costs, standing.score
    write, signed = partial(score.write, digits=2), partial(score.signed, digits=2)
    texts = {
        "arm": standing.arm,
        "n": str(standing.accuracy.n),
        "accuracy": _accuracy(standing),
        "interval": interval(standing.accuracy.low, standing.accuracy.high, write),
        "steps": number(cost.steps),
        "samples": f"{number(cost.samples_real)} + {number(cost.replayed_and_dreamt)}",
        "replayed": number(cost.replayed_and_dreamt),
        "kept": size(cost.bytes_kept),
        "stores": stores_words(standing.stores),
        "seconds": number(cost.seconds, "{:,.1f}"),
        "rank": number(standing.rank, "{:.2f}"),
    }
    if paired is None:
        nothing = dict.fromkeys(("pairs", "d_z", "p_holm", "verdict"), DASH)
        return texts | nothing | {"difference": "reference"}
    reach = "" if paired.low is None else f" ({interval(paired.low, paired.high, signed)})"
    return texts | {
        "difference": signed(paired.difference) + reach,
        "pairs": str(paired.n),
        "d_z": number(paired.d_z, "{:+.2f}"),
        "p_holm": p_value(paired.p_holm),
        "verdict": paired.verdict,
    }


def _accuracy(standing: Standing) -> str:
    if standing.diverged:
        return "diverged"
    return plus_minus(standing.accuracy.mean, standing.accuracy.std, partial(standing.score.write, digits=2))


def _csv_row(run: CompletedRun, folder: Path) -> dict[str, Any]:
    metrics = run.results.get("metrics") or {}
    row = {
        "stream": run.stream,
        "arm": run.arm,
        "seed": run.seed,
        **{name: metrics.get(name) for name in METRICS},
        **asdict(costs(run.results)),
        "stores": stored(run.results),
        "folder": _place(run.folder, folder),
        "missing": f"the score is {NO_NUMBER}" if run.average_accuracy is None else None,
    }
    return {key: "" if value is None else value for key, value in row.items()}


def _place(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    path, folder = path.resolve(), folder.resolve()
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _closing(comparison: Comparison, analysis: Analysis) -> list[str]:
    everywhere = [ranking_line(analysis.ranking)] if len(comparison.streams) > 1 else []
    return [
        *(f"all streams: {line}" for line in everywhere),
        *(f"warning: {warning}" for warning in comparison.warnings),
        *(f"missing: {line}" for line in missing_lines(comparison)),
    ]


def _heading(stream: str, analysis: Analysis) -> str:
    score = analysis.score(stream)
    return f"{stream}: average {score.heading}, differences to {analysis.reference} in {score.points}"


def _names(analysis: Analysis, stream: str) -> dict[str, str]:
    """What the headings of a stream's tables are filled with."""
    score = analysis.score(stream)
    return {
        "reference": analysis.reference,
        "score": score.name,
        "Score": capital(score.name),
        "unit": score.bracket,
        "points": score.short_points,
    }


def _terminal_header(analysis: Analysis, stream: str) -> tuple[str, ...]:
    named = _names(analysis, stream)
    return tuple(name.format(**named) for name in _TERMINAL.values())


def _markdown(text: str) -> str:
    # an underscore within a word is left alone on GitHub, and read more easily without a backslash
    return re.sub(r"[\\`*|<>~$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", one_line(text))


def _latex_float(
    keys: Sequence[str], caption: str, standings: Sequence[Standing], named: Mapping[str, str]
) -> list[str]:
    shape = "".join("l" if key in _WORDS else "r" for key in keys)
    rows = [" & ".join(_latex_cell(key, row[key]) for key in keys) for row in map(_texts, standings)]
    return [
        r"\begin{table}[htbp]",
        r"\centering\scriptsize",
        r"\setlength{\tabcolsep}{2pt}",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{@{{}}{shape}@{{}}}}",
        *(r"\toprule", " & ".join(_latex_head(key, named) for key in keys) + r" \\"),
        *(r"\midrule", *(rf"{row} \\" for row in rows), r"\bottomrule"),
        *(r"\end{tabular}", r"\end{table}"),
    ]


def _latex_head(key: str, named: Mapping[str, str]) -> str:
    return _LATEX[key].format(**named) if key == "accuracy" else _LATEX[key]


def _latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in one_line(text))


def _latex_cell(key: str, text: str) -> str:
    if text == DASH:
        return "--"
    if key in _WORDS or text == "reference":
        return _latex(_SHORT.get(text, text) if key == "verdict" else text)
    return text.replace("±", r"$\pm$").replace(MINUS, "$-$").replace("<", "$<$")

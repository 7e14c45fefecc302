"""``report.html``: a whole comparison on one page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dreamer.compare import curves, galleries, page_tables, scores, tables, words
from dreamer.compare.analysis import Analysis, explained
from dreamer.compare.results import Comparison
from dreamer.core.text import plural
from dreamer.report import page
from dreamer.report.html_tables import missing_table
from dreamer.report.results import FILE_NAME

_TEMPLATE = Path(__file__).parent / "comparison.html.jinja"
_PICTURES = 6_000_000
"""Bytes for the dreams of the whole page, of which text makes a third more."""


def write_page(comparison: Comparison, analysis: Analysis, folder: str | Path) -> Path:
    """Write ``report.html`` into the folder of a comparison, and return its path."""
    keys = [f"{_key(stream)}-{number}" for number, stream in enumerate(comparison.streams, start=1)]
    named = zip(comparison.streams, keys, strict=True)
    streams = [_stream(comparison, analysis, stream, key) for stream, key in named]
    overall = words.as_sentence(f"all streams: {words.ranking_line(analysis.ranking)}") if len(streams) > 1 else ""
    amounts = plural(len(comparison.arms), "arm"), plural(len(streams), "stream"), plural(len(comparison.runs), "run")
    return page.write_page(
        folder,
        _TEMPLATE,
        kind="comparison",
        title=comparison.title,
        headline=words.headline(comparison, analysis),
        command=comparison.command,
        contents=[(stream["key"], stream["name"]) for stream in streams],
        missing=missing_table([(c.stream, c.arm, c.seed, c.reason) for c in comparison.missing], "Stream"),
        cells=page_tables.cells_table(comparison, Path(folder)),
        explanation=explained(analysis).split("\n\n"),
        comparison=comparison,
        files={"latex": tables.LATEX, "markdown": tables.MARKDOWN, "csv": tables.CSV, "json": FILE_NAME},
        overall=overall,
        counts="{} on {}, {}".format(*amounts),
        measure=analysis.measure,
        streams=streams,
        configs=words.configs(comparison),
        versions=words.given(comparison.runs, "versions"),
    )


def _stream(comparison: Comparison, analysis: Analysis, stream: str, key: str) -> dict[str, Any]:
    """Everything that the page says about one stream."""
    # the most accurate first, as in the table
    order = [standing.arm for standing in scores.by_accuracy(analysis.on(stream))]
    arms = {arm: list(comparison.of(arm, stream).values()) for arm in order}
    arms = {arm: runs for arm, runs in arms.items() if runs}
    every = [run for runs in arms.values() for run in runs]
    figures = [
        scores.accuracies(comparison, analysis, stream, key),
        scores.differences(comparison, analysis, stream, key),
        scores.fronts(analysis, stream, key),
        curves.learning_curves(arms, key, analysis.reference),
        curves.nights(arms, key),
        curves.forgetting(arms, key),
        curves.matrices(arms, key),
        curves.hypnograms(arms, key),
        galleries.dreams(arms, key, _PICTURES // len(comparison.streams)),
    ]
    return {
        "name": stream,
        "key": key,
        "sentences": words.sentences(analysis, stream),
        "table": page_tables.standings_table(analysis, stream, key),
        "costs": page_tables.costs_table(analysis, stream, key),
        "figures": [figure for figure in figures if figure is not None],
        "protocol": words.given(every, "protocol", skip=["class_order", "class_names"]),
        "orders": words.class_orders(every),
    }


def _key(stream: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", stream.lower()).strip("-") or "stream"

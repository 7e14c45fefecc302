"""``report.html``: a whole comparison on one page that needs no network, neither to open nor to be read."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from dreamer.compare import curves, galleries, page_tables, page_words, scores
from dreamer.compare.analysis import Analysis, explained
from dreamer.compare.results import Comparison
from dreamer.core.files import write_text

FILE_NAME = "report.html"
_PICTURES = 6_000_000
"""Bytes for the dreams of the whole page, of which text makes a third more."""
_HERE = Path(__file__).parent


def write_page(comparison: Comparison, analysis: Analysis, directory: str | Path) -> Path:
    """Write the page of a comparison.

    The page holds its style, its script, its figures and its pictures; a policy in its head forbids it to fetch
    anything and to run anything but that script.

    Args:
        comparison: what was lived.
        analysis: what may be concluded from it.
        directory: the folder of the comparison, which is made when it is not there.

    Returns:
        The path of ``report.html``.
    """
    path = Path(directory) / FILE_NAME
    write_text(path, _render(comparison, analysis, Path(directory)))
    return path


def _render(comparison: Comparison, analysis: Analysis, directory: Path) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    world = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    keys = {stream: f"{_slug(stream)}-{number}" for number, stream in enumerate(comparison.streams, start=1)}
    return world.get_template("page.html.jinja").render(
        comparison=comparison,
        headline=page_words.headline(comparison, analysis),
        overall=page_words.ranking_words(analysis.ranking, "all streams") if len(comparison.streams) > 1 else "",
        streams=[_stream(comparison, analysis, stream, keys[stream]) for stream in comparison.streams],
        missing=page_tables.missing_table(comparison),
        cells=page_tables.cells_table(comparison, directory),
        configs=page_words.configs(comparison),
        versions=page_words.given(comparison.lives, "versions"),
        explanation=explained(analysis).split("\n\n"),
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _stream(comparison: Comparison, analysis: Analysis, stream: str, key: str) -> dict[str, Any]:
    """Everything that the page says about one stream."""
    arms = {arm: list(comparison.of(arm, stream).values()) for arm in comparison.arms}
    # the most accurate first, as in the table
    order = [standing.arm for standing in scores.by_accuracy(analysis.on(stream))]
    arms = {arm: arms[arm] for arm in order if arms[arm]}
    lived = [life for lives in arms.values() for life in lives]
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
        "sentences": page_words.sentences(analysis, stream),
        "table": page_tables.standings_table(analysis, stream, key),
        "figures": [figure for figure in figures if figure is not None],
        "protocol": page_words.given(lived, "protocol", skip=["class_order"]),
        "orders": page_words.class_orders(lived),
    }


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "stream"

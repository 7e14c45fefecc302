"""Scores other than accuracies: their own unit, and the right direction in every table, sentence, rank and figure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dreamer.compare import collect, curves, scores
from dreamer.compare.analysis import analyse
from dreamer.compare.page import write_page
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.compare.tables import csv_table, everything, latex_table, markdown_table, plain_comparison
from dreamer.compare.words import headline, sentences
from dreamer.config.binding import ConfigError
from dreamer.core.text import MINUS
from dreamer.metrics.continual import summarise
from tests.helpers.made_up_runs import fake_results

BITS = {"score": "bits per byte", "unit": "", "higher_is_better": False}
LEVELS = {"er": 3.0, "dreams": 2.5, "none": 4.0}
# where all differences are equal the seeds have changed nothing
DRIFT = {"er": 0.0, "dreams": 0.001, "none": 0.002}
SEEDS = range(7)


def results(level: float, seed: int, **protocol: Any) -> dict[str, Any]:
    """A run whose bits per byte end at about the level; in the fake its accuracies fall where these rise."""
    made = fake_results(3, seed=seed)
    for row in made["accuracy_matrix"]["rows"]:
        row["accuracy"] = [level + 1 - value for value in row["accuracy"]]
    made["protocol"] |= BITS | protocol
    made["metrics"] = dict(summarise(made["accuracy_matrix"]["rows"], higher_is_better=False))
    made["metrics"]["average_accuracy"] = level + 0.01 * seed
    made["cost"]["bytes"] |= {"plasticity": 0, "memory": 1000 if level == 3.0 else 0}
    return made


def compared() -> Comparison:
    runs = [
        CompletedRun(arm, "texts", seed, results(level + seed * DRIFT[arm], seed))
        for arm, level in LEVELS.items()
        for seed in SEEDS
    ]
    return Comparison("a trial", tuple(runs), (), "er")


def test_less_is_better_where_the_score_says_so() -> None:
    analysis = analyse(compared())
    er, dreams, none = (analysis.of(arm, "texts") for arm in LEVELS)
    assert dreams.paired is not None and none.paired is not None
    # differences are as they are measured, verdicts as they are meant
    assert dreams.paired.verdict == "better" and dreams.paired.difference == pytest.approx(-0.497)
    assert none.paired.verdict == "worse" and none.paired.difference == pytest.approx(1.006)
    assert dreams.paired.low < dreams.paired.difference < dreams.paired.high < 0 and dreams.paired.d_z < 0
    assert [row.rank for row in (dreams, er, none)] == [1, 2, 3]
    assert analysis.ranking.mean_ranks == {"er": 2, "dreams": 1, "none": 3}
    # as cheap as none and better, so nothing else is on it
    assert analysis.fronts["texts"]["bytes_kept"] == ("dreams",)
    assert [row.arm for row in scores.by_accuracy(analysis.on("texts"))] == ["dreams", "er", "none"]


def test_the_words_have_its_unit() -> None:
    comparison = compared()
    analysis = analyse(comparison)
    better, worse = headline(comparison, analysis)
    assert better.startswith(f"Better than er: dreams ({MINUS}0.497 bits per byte, ")
    assert worse.startswith("Worse than er: none (+1.006 bits per byte, ")
    first = sentences(analysis, "texts")[0]
    assert first.startswith("The lowest mean of bits per byte is that of dreams: 2.533 over 7 seeds.")


def test_no_table_says_accuracy_or_per_cent_of_bits(tmp_path: Path) -> None:
    comparison = compared()
    analysis = analyse(comparison)
    plain, markdown, latex = (write(comparison, analysis) for write in (plain_comparison, markdown_table, latex_table))
    assert "texts: average bits per byte, lower is better, differences to er in bits per byte" in plain
    assert re.search(rf"dreams +7 +2\.533 ± 0\.02376 +{MINUS}0\.497 ", plain)
    assert "| bits per byte | 95 % interval | difference to er (bits per byte) |" in markdown
    assert "average bits per byte (lower is better) at the end" in latex and "Bits per byte & Difference" in latex
    for text in (plain, markdown, latex):
        assert not re.search(r"accura|percentage|\(\\?%\)|0 and 100", text)
    assert "texts,none,0,4.0," in csv_table(comparison, tmp_path), "numbers are as they are"
    stored = json.loads(json.dumps(everything(comparison, analysis, tmp_path)))
    assert stored["analysis"]["standings"][0]["score"]["name"] == "bits per byte"


def test_no_figure_says_accuracy_or_per_cent_of_bits(tmp_path: Path) -> None:
    comparison = compared()
    analysis = analyse(comparison)
    arms = {arm: list(comparison.of(arm, "texts").values()) for arm in LEVELS}
    figures = [
        scores.accuracies(comparison, analysis, "texts", "k"),
        scores.differences(comparison, analysis, "texts", "k"),
        scores.fronts(analysis, "texts", "k"),
        curves.learning_curves(arms, "k", "er"),
        curves.nights(arms, "k"),
        curves.forgetting(arms, "k"),
        curves.matrices(arms, "k"),
    ]
    for figure in figures:
        assert figure is not None
        drawn = "".join(panel.markup("k") for panel in figure.panels)
        said = f"{figure.title} {figure.caption} {drawn}".replace("95 % interval", "")
        assert not re.search(r"ccurate|ccuracy|percentage| %", said), figure.title
        depths = [float(depth) for depth in re.findall(r'fill-opacity="([^"]+)"', drawn)]
        assert all(0 <= depth <= 1 for depth in depths)
    assert figures[1].caption.startswith("Left of zero the arm was better than er")
    nights = "".join(panel.markup("k") for panel in figures[4].panels)
    assert re.search(r"\+0\.\d+ bits per byte a night", nights), "a night that lowers them is a gain"
    lost = [row[3] for row in figures[5].numbers]
    expected = [run.results["metrics"]["forgetting"] for runs in arms.values() for run in runs]
    assert (
        sum(lost) / len(lost) == pytest.approx(sum(expected) / len(expected))
        and figures[5].header[3] == "last_minus_first"
    )
    page = write_page(comparison, analysis, tmp_path).read_text(encoding="utf-8")
    assert "The measure is the average bits per byte (lower is better) at the end of the stream" in page


def test_runs_of_two_scores_are_not_compared(tmp_path: Path) -> None:
    for name, protocol in (("a", {}), ("b", {"score": "accuracy", "unit": "%", "higher_is_better": True})):
        folder = tmp_path / name
        folder.mkdir()
        made = results(3.0, 0, **protocol) | {"name": name}
        (folder / "results.json").write_text(json.dumps(made))
    with pytest.raises(ConfigError, match=r"one score for all runs on fake, got bits per byte in .*a and accuracy in"):
        collect.of_folders([tmp_path])
    assert collect.of_folders([tmp_path / "a"]).score("fake").name == "bits per byte"

"""The page says what was found, no more, and needs nothing else to be read."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

import pytest

from dreamer.core.text import DASH, MINUS
from dreamer.jobs.runner import Missing
from dreamer.report.results import read_results, write_results
from dreamer.studies import words
from dreamer.studies.findings import Findings, find
from dreamer.studies.page import write_page
from dreamer.studies.study import Study
from dreamer.studies.tables import csv_table, plain_findings
from tests.helpers.toy_experiment import Toy
from tests.helpers.toy_study import toy_study


def finished(study: Study, folder: Path) -> Findings:
    """Runs every cell in this process."""
    for cell in study.cells:
        place = folder / cell.folder
        place.mkdir(parents=True)
        result = Toy(**{key: value for key, value in cell.settings.items() if key != "name"}).run(cell.seed, place)
        write_results({**cell.plain(), "complete": True, "seconds": 1.0, **result}, place)
    return find(study, folder, "dreamer study toy")


def page(findings: Findings, folder: Path) -> str:
    return write_page(findings, folder).read_text()


def test_the_verdict_stands_at_the_top_and_follows_the_numbers(tmp_path: Path) -> None:
    text = page(finished(toy_study(), tmp_path / "one"), tmp_path / "one")
    top = text.partition("<nav")[0]
    assert "On coins, lucky is better than plain in score: +" in top
    assert "corrected p" in top and "6 pairs, margin 2.00" in top
    arms = {"plain": {"set": {"gain": 0.3}}, "lucky": {"set": {"gain": 0.1}}}
    text = page(finished(toy_study(arms=arms), tmp_path / "two"), tmp_path / "two")
    assert "On coins, lucky is worse than plain in score" in text.partition("<nav")[0]
    arms = {"plain": {}, "lucky": {"set": {"gain": 0.0005}}}
    text = page(finished(toy_study(arms=arms), tmp_path / "three"), tmp_path / "three")
    assert "lucky and plain are equivalent within the margin in score" in text.partition("<nav")[0]


def test_an_outcome_that_is_no_number_is_counted_in_text_page_and_table(tmp_path: Path) -> None:
    study = toy_study()
    finished(study, tmp_path)
    place = tmp_path / study.cells[0].folder
    results = read_results(place)
    results["outcomes"]["score"] = math.nan
    write_results(results, place)
    findings = find(study, tmp_path)
    said = "plain, score: 1 run left out, NaN, infinite or undefined"
    assert said in plain_findings(findings) and said in page(findings, tmp_path)
    assert (findings.primary[0].n, findings.primary[0].missing) == (5, 1)
    assert "1 pair is missing" in words.headline(findings)[0]
    rows = list(csv.DictReader(io.StringIO(csv_table(findings))))
    assert [row["missing"] for row in rows if row["missing"]] == ["score: NaN, infinite or undefined"]


def test_question_design_limits_and_every_cell_are_there(tmp_path: Path) -> None:
    text = page(finished(toy_study(), tmp_path), tmp_path)
    for said in ("Does it?", "Adds a tenth.", "Coins. Seeds 1, 2, 3, 4, 5, 6.", "It is a toy.", "dreamer study toy"):
        assert said in text
    assert "lucky against plain" in text and "in score on coins, margin 2.00" in text
    assert text.count("/results.json") == 12
    assert "The primary contrast is tested by itself; all others are exploratory" in " ".join(text.split())


def test_text_of_the_user_is_text_and_nothing_is_fetched(tmp_path: Path) -> None:
    text = page(finished(toy_study(), tmp_path), tmp_path)
    assert "Does a toy &lt;i&gt;toss&lt;/i&gt;?" in text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)
    assert "default-src 'none'" in text


def test_courses_are_drawn_with_theory_and_real_data_and_pictures(tmp_path: Path) -> None:
    text = page(finished(toy_study(), tmp_path), tmp_path)
    assert 'id="data-1-score"' in text and 'id="data-1-contrasts-score"' in text and 'id="data-1-pictures"' in text
    assert "<title>theory</title>" in text and "<title>real data</title>" in text
    assert text.count("data:image/png;base64,") == 2
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_an_empty_study_has_a_page_that_says_so(tmp_path: Path) -> None:
    findings = find(toy_study(), tmp_path)
    assert words.headline(findings) == ["No run of this study is completed yet."]
    assert isinstance(findings.missing[0], Missing)
    assert "12 missing" in page(findings, tmp_path)


@pytest.mark.parametrize(
    ("value", "measure", "text"),
    [(0.1234, "score", "12.34"), (-0.5, "loss", f"{MINUS}0.5"), (None, "score", DASH), (1234.5, "size", "1234")],
)
def test_amounts_are_short(value: float | None, measure: str, text: str) -> None:
    assert words.amount(value, Toy.measures[measure]) == text

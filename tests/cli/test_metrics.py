"""``dreamer metrics``: the numbers of a run folder, computed anew from its evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dreamer.cli.main import app
from dreamer.config.binding import ConfigError
from dreamer.metrics import stability, summarise
from dreamer.report.results import write_results
from tests.helpers.made_up_runs import fake_results


def run_folder(folder: Path, within: bool) -> dict[str, Any]:
    results = fake_results(3)
    rows = results["accuracy_matrix"]["rows"]
    for row in rows:
        row["validation"] = [0.5 * score for score in row["accuracy"]]
        row["recency_bias"] = 0.25
    if within:
        low = [
            {**row, "after": "step", "validation": [0.1] * 3, "global_step": row["global_step"] - 1} for row in rows[3:]
        ]
        results["continual"] = {"every_n_steps": 1, "rows": low}
    results["metrics"] = {"average_accuracy": 0.0}  # not what the evaluations say
    write_results(results, folder)
    return results


def printed(*words: str) -> str:
    done = CliRunner().invoke(app, ["metrics", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_all_numbers_come_from_the_evaluations(tmp_path: Path) -> None:
    folders = [tmp_path / "after", tmp_path / "within"]
    made = [run_folder(folder, folder.name == "within") for folder in folders]
    found = json.loads(printed("--json", *map(str, folders)))
    for folder, results in zip(folders, made, strict=True):
        rows, steps = results["accuracy_matrix"]["rows"], results.get("continual", {}).get("rows", [])
        wanted = {**summarise(rows), **stability(rows, steps), "evaluations_within_stages": len(steps)}
        assert found[str(folder)] == pytest.approx(wanted)
    assert found[str(folders[1])]["min_accuracy"] == pytest.approx(0.1)
    assert found[str(folders[0])]["min_accuracy"] > 0.1


def test_the_table_says_where_gap_and_worst_scores_come_from(tmp_path: Path) -> None:
    run_folder(tmp_path / "after", False)
    run_folder(tmp_path / "within", True)
    text = printed(str(tmp_path / "after"))
    assert "stability gap" in text and "recency bias" in text and "25.00 %" in text
    assert "after stages alone" in text
    assert "within stages" in printed(str(tmp_path / "within"))


def test_a_folder_without_a_run_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for content in (None, "{", "{}"):
        if content is not None:
            (tmp_path / "results.json").write_text(content)
        with pytest.raises(ConfigError, match="expected a run folder with the results of a run"):
            CliRunner().invoke(app, ["metrics", str(tmp_path)], catch_exceptions=False)

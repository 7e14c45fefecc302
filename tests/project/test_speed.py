"""The measurements of speed pair what they compare; how fast things are is theirs to print, not a test's to assert."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
import torch

from benchmarks.speed import loops, many, parts, runs, steps, table
from benchmarks.speed.pair import Case, Goal, Spent, measure, ratios
from dreamer.core.types import Dream, Output
from dreamer.networks import MLP
from dreamer.objectives.base import total_loss
from dreamer.stages.base import DEFAULT_OBJECTIVES
from tests.project.test_measurements import ROOT


def case(calls: list[str], **options: Any) -> Case:
    """Takes twice as long as its reference, and notes who has its turn."""

    def way(name: str, seconds: float) -> Spent:
        calls.append(name)
        return Spent(seconds, 2 * seconds)

    given: dict[str, Any] = {"goal": Goal(0.9, "at least 0.9"), "rounds": 3} | options
    return Case("twice", "a trial", "step", "a bare loop", lambda: way("o", 0.02), lambda: way("r", 0.01), **given)


def test_rounds_alternate_and_the_first_is_not_counted():
    calls: list[str] = []
    rounds = measure(case(calls))
    assert "".join(calls) == "roorroor" and len(rounds) == 3
    assert ratios(rounds) == [0.5] * 3 and rounds[0]["ours"] == [0.02, 0.04]
    assert len(measure(case(calls), rounds=1)) == 1
    assert len(calls) == 12


def test_a_case_without_a_reference_has_no_ratio():
    rounds = measure(Case("alone", "a report", "report", "", lambda: Spent(1.0, 1.0), rounds=2, warm_up=False))
    assert rounds == [{"ours": [1.0, 1.0]}] * 2 and ratios(rounds) == []


def test_goals_are_computed_from_the_record(tmp_path):
    record = table.Measured(tmp_path / "speed.json")
    record.add(case([]), measure(case([])))
    record.add(Case("alone", "a report", "report", "", lambda: Spent(1.0, 1.0)), [{"ours": [1.0, 1.0]}])
    record.add_profiles({"a shell": {"torch": 90.4, "dreamer": 10.0}})
    content = table.read(tmp_path / "speed.json")
    text = table.tables(content)
    row = "| a trial | a bare loop | 20 ms a step | 10 ms a step | 0.50 (0.50 to 0.50) | 0.50 (0.50 to 0.50) |"
    assert f"{row} at least 0.9 | **no** |" in text
    assert "| a report |  | 1 s a report |  |  |  |" in text
    assert "| a shell | 100 | 90 | 10 |" in text
    easier = copy.deepcopy(content)
    easier["cases"]["twice"]["goal"]["least"] = 0.5
    assert table.reached(easier["cases"]["twice"]) and not table.reached(content["cases"]["twice"])


def test_begun_again_it_measures_what_is_missing(tmp_path):
    record = table.Measured(tmp_path / "speed.json")
    record.add(case([]), measure(case([])))
    again = table.Measured(tmp_path / "speed.json")
    assert again.has("twice") and not again.has("alone")


def test_the_page_prints_the_tables_of_the_record():
    record = table.read()
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert table.tables(record) in page
    known = {found.name for found in (*steps.cases(), *parts.cases(), *runs.cases(), *many.cases())}
    assert set(record["cases"]) <= known


def test_the_bare_night_has_the_loss_of_a_stage():
    torch.manual_seed(0)
    network = MLP((4,), 3, (5,))
    x, y, taught = torch.rand(8, 4), torch.randint(3, (8,)), torch.randn(8, 3)
    ours = total_loss(DEFAULT_OBJECTIVES, Output(network(x)), Dream(x, y, teacher=taught), None)
    assert ours is not None
    assert loops._sleep_loss(network, x, y, taught).item() == pytest.approx(ours.item(), rel=1e-6)


def test_the_variable_of_lightning_is_back_after_a_bare_loop(monkeypatch):
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    with loops.as_without_lightning():
        assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"


def test_seeds_as_one_vectorised_step_end_where_each_ends_alone():
    step = many.together("tiny")
    for _ in range(5):
        weights = step()
    for seed in range(len(many.networks("tiny"))):
        step = many.alone("tiny", seed)
        for _ in range(5):
            own = step()
        for name, weight in own.items():
            torch.testing.assert_close(weights[name][seed], weight, rtol=1e-4, atol=1e-6)

"""The recorder of outcomes: what it takes for a difference, and what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reproductions.outcomes.compare import compare, differences
from reproductions.outcomes.fingerprints import hashed


def outcome(**changes: Any) -> dict[str, Any]:
    found = {"metrics": {"average_accuracy": 0.5}, "weights": hashed({"a": torch.ones(2), "b": torch.zeros(3)})}
    return found | {"logged": {"lines": 3, "columns": {"loss": "x", "step": "y"}}} | changes


def test_the_smallest_change_of_a_number_or_a_tensor_is_a_difference():
    assert differences(outcome(), outcome()) == ([], [])
    assert differences(outcome(), outcome(metrics={"average_accuracy": 0.5 + 1e-12}))[0] == ["metrics.average_accuracy"]
    nudged = hashed({"a": torch.ones(2), "b": torch.full((3,), 1e-30)})
    assert "weights.any_order" in differences(outcome(), outcome(weights=nudged))[0]


def test_renamed_attributes_and_columns_are_none():
    renamed = hashed({"z": torch.ones(2), "b": torch.zeros(3)})
    wrong, remarks = differences(outcome(), outcome(weights=renamed))
    assert not wrong and remarks == ["weights.ordered: the same tensors under names of another order"]
    columns = {"lines": 3, "columns": {"train/loss": "x", "step": "y"}}
    assert differences(outcome(), outcome(logged=columns)) == ([], [])
    other = {"lines": 3, "columns": {"loss": "w", "step": "y"}}
    assert differences(outcome(), outcome(logged=other))[0] == ["logged.columns.loss"]


def test_a_missing_case_counts_only_against_a_whole_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole = {"whole": True, "cases": {"er": outcome(), "lwf": outcome()}}
    for name, record in {"a": whole, "b": {"whole": True, "cases": {"er": outcome()}}}.items():
        (tmp_path / name).write_text(json.dumps(record))
    (tmp_path / "c").write_text(json.dumps({"whole": False, "cases": {"er": outcome()}}))
    assert compare(tmp_path / "a", tmp_path / "b") == 1
    assert "lwf: missing in" in capsys.readouterr().out
    assert compare(tmp_path / "a", tmp_path / "c") == 0

"""``results.json``: written in one piece, read back as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from dreamer.report.results import compose, read_results, versions, write_results
from tests.helpers.made_up_runs import fake_results


def test_what_is_written_is_read_back(tmp_path):
    results = compose(fake_results(3), name="a run", config={"a": {"b": [1, 2]}}, complete=False)
    path = write_results(results, tmp_path / "new" / "run")
    assert read_results(path) == read_results(path.parent) == json.loads(json.dumps(results))
    assert list(read_results(path))[:5] == ["name", "complete", "seed", "config", "versions"]
    assert read_results(path)["complete"] is False and read_results(path)["name"] == "a run"


def test_lists_of_numbers_stay_on_one_line(tmp_path):
    text = write_results(fake_results(40), tmp_path).read_text()
    accuracy = [line for line in text.splitlines() if line.strip().startswith('"accuracy": [')]
    assert len(accuracy) == 1 + 2 * 40
    assert all(len(json.loads(line.split(":", 1)[1].rstrip(","))) == 40 for line in accuracy)


def test_whatever_a_config_holds_becomes_json(tmp_path):
    config = {
        "path": Path("x") / "y",
        "tensor": torch.tensor([1, 2]),
        "nan": math.nan,
        "inf": [math.inf, 1.5],
        "tuple": (1, None, True),
        3: "umlaut ü",
    }
    read = read_results(write_results(config, tmp_path))
    assert read == {
        "path": str(Path("x/y")),
        "tensor": [1, 2],
        "nan": None,
        "inf": [None, 1.5],
        "tuple": [1, None, True],
        "3": "umlaut ü",
    }


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_results({"a": 1}, tmp_path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_results({"a": 2}, tmp_path)
    assert read_results(tmp_path) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="found no such file"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text('{"a": 1')
    with pytest.raises(ValueError, match="expected JSON"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text("[1]")
    with pytest.raises(ValueError, match="got a list"):
        read_results(tmp_path)


def test_versions_are_stated():
    stated = versions()
    assert set(stated) == {"python", "torch", "lightning", "dreamer", "numpy", "platform", "threads"}
    assert stated["torch"] == torch.__version__ and stated["threads"] == torch.get_num_threads()
    assert stated["lightning"] and stated["python"] and stated["platform"]

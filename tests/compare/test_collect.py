"""Runs are found in their folders, whatever started them, and a report says what their results.json say."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from dreamer.compare import collect, grid
from dreamer.compare import run as session
from dreamer.compare.analysis import analyse
from dreamer.compare.cell import run_cell
from dreamer.compare.fairness import differences
from dreamer.compare.grid import Grid
from dreamer.compare.results import CompletedRun
from dreamer.core.errors import ConfigError, Diverged
from dreamer.jobs import manifest
from dreamer.report.results import read_results, write_results

REQUEST = {
    "arms": ["er memory.capacity=40", "fine_tune"],
    "streams": ["digits"],
    "seeds": 2,
    "set": ["stream.experiences=2", "wake.steps=6"],
}
ER, NONE = REQUEST["arms"]


@pytest.fixture(scope="module")
def wanted() -> Grid:
    return grid.read(REQUEST)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, wanted: Grid) -> Path:
    """The folder of a comparison that has been run."""
    folder = tmp_path_factory.mktemp("comparison")
    for cell in wanted.cells:
        manifest.write(cell.plain(), folder / cell.folder, grid.PROGRAM.fingerprint())
        run_cell(folder / cell.folder)
    return folder


def test_a_cell_runs_as_its_configuration_says_and_only_once(done: Path, wanted: Grid) -> None:
    cell = wanted.cells[0]
    results = read_results(done / cell.folder)
    assert results["complete"] and results["seed"] == 1
    assert sum(results["cost"]["optimizer_steps"].values()) == 12
    written = (done / cell.folder / "results.json").stat().st_mtime_ns
    assert run_cell(done / cell.folder) == results
    assert (done / cell.folder / "results.json").stat().st_mtime_ns == written


def test_runs_of_a_seed_are_paired(done: Path, wanted: Grid) -> None:
    found = collect.of_grid(wanted, done).runs
    for seed in (1, 2):
        one, two = (each.results for each in found if each.seed == seed)
        assert one["protocol"]["class_order"] == two["protocol"]["class_order"]
        assert one["accuracy_matrix"]["rows"][0]["accuracy"] == two["accuracy_matrix"]["rows"][0]["accuracy"]
    assert not [line for line in differences(found) if "not paired" in line]


def test_the_grid_and_its_folder_give_the_same_comparison(done: Path, wanted: Grid) -> None:
    requested, found = collect.of_grid(wanted, done), collect.of_folders([done])
    assert {(each.arm, each.stream, each.seed) for each in requested.runs} == {
        (each.arm, each.stream, each.seed) for each in found.runs
    }
    assert requested.scores("digits") == {arm: found.scores("digits")[arm] for arm in requested.arms}
    assert collect.of_folders([done], NONE).reference == NONE


def test_a_cell_that_was_not_run_is_missing_with_its_reason(done: Path, wanted: Grid, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(done, copy)
    lost, broken = (copy / cell.folder for cell in wanted.cells[:2])
    (lost / "results.json").unlink()
    (lost / "cell.log").write_text("a line\nValueError: the data went away\n")
    shutil.rmtree(broken)
    comparison = collect.of_grid(wanted, copy)
    assert [(cell.arm, cell.seed) for cell in comparison.missing] == [(ER, 1), (ER, 2)]
    assert "the data went away" in comparison.missing[0].reason
    assert comparison.missing[1].reason == "not run yet"
    assert len(comparison.runs) == 2
    incomplete = collect.of_grid(wanted, copy, reasons={broken: "killed by SIGKILL"})
    assert incomplete.missing[1].reason == "killed by SIGKILL"


def test_the_copy_among_the_files_of_wandb_counts_once_and_serves_alone(
    done: Path, wanted: Grid, tmp_path: Path
) -> None:
    run = done / wanted.cells[0].folder
    for place in (tmp_path / "both" / "run", tmp_path / "alone"):
        files = place / "wandb" / "offline-run-20260101_000000-abc" / "files"
        files.mkdir(parents=True)
        shutil.copy(run / "results.json", files)
    shutil.copy(run / "results.json", tmp_path / "both" / "run")
    both = collect.of_folders([tmp_path / "both"]).runs
    assert [each.folder for each in both] == [tmp_path / "both" / "run"]
    alone = collect.of_folders([tmp_path / "alone"]).runs
    assert [(each.arm, each.stream, each.seed) for each in alone] == [("er_memory.capacity_40", "digits", 1)]


def test_folders_that_make_no_comparison_are_refused(done: Path, wanted: Grid, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a folder with runs"):
        collect.of_folders([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="there are no completed runs"):
        collect.of_folders([tmp_path])
    with pytest.raises(ConfigError, match="reference: 'lwf' is none of the arms found"):
        collect.of_folders([done], "lwf")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot read the run in"):
        collect.of_folders([tmp_path])
    twice = tmp_path / "twice"
    one, two = (done / cell.folder for cell in wanted.cells[:2])
    shutil.copytree(one, twice / "a")
    shutil.copytree(two, twice / "b")
    shutil.copy(one / "cell.json", twice / "b")
    with pytest.raises(ConfigError, match=r"was run twice, in .*: leave one out$"):
        collect.of_folders([twice])
    for name in ("a", "b"):
        path = twice / name / "results.json"
        results = json.loads(path.read_text())
        results["config"] |= {"stream": "folder", "data": {"root": f"pictures/{name}"}}
        path.write_text(json.dumps(results))
    with pytest.raises(ConfigError, match="leave one out; runs are not of one stream, but of different folders"):
        collect.of_folders([twice])


def test_a_report_says_what_the_results_say(done: Path, wanted: Grid, tmp_path: Path) -> None:
    session.report(collect.of_grid(wanted, done, "dreamer compare"), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.html", "results.csv", "results.json", "table.md", "table.tex"}
    with open(tmp_path / "results.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row, cell in zip(rows, wanted.cells, strict=True):
        final = json.loads((done / cell.folder / "results.json").read_text())["accuracy_matrix"]["rows"][-1]["accuracy"]
        assert float(row["average_accuracy"]) == pytest.approx(sum(final) / len(final), abs=1e-12)


def test_a_report_that_cannot_be_written_is_one_sentence(done: Path, wanted: Grid, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot write the report to"):
        session.report(collect.of_grid(wanted, done), tmp_path / "file")


def changed(each: CompletedRun, **changes: object) -> CompletedRun:
    results = json.loads(json.dumps(each.results)) | changes
    return CompletedRun(each.arm, each.stream, each.seed, results)


def test_differences_between_arms_are_reported(done: Path, wanted: Grid) -> None:
    one, _, other, _ = collect.of_grid(wanted, done).runs
    assert any(
        line.startswith("arms differ in bytes kept beside the network (er") for line in differences([one, other])
    )
    assert not any("optimiser steps" in line for line in differences([one, other]))
    cost = json.loads(json.dumps(other.results["cost"]))
    cost["optimizer_steps"]["nrem"] = 7
    said = differences([one, changed(other, cost=cost)])
    assert (
        f"arms differ in optimiser steps ({ER} 12, fine_tune 19); --match steps makes them equal where it can" in said
    )
    fewer = {**other.results["cost"], "samples": {**other.results["cost"]["samples"], "wake": 5}}
    assert any(
        line.startswith("arms differ in real samples seen awake")
        for line in differences([one, changed(other, cost=fewer)])
    )
    protocol = {**other.results["protocol"], "class_order": [[0, 1], [2, 3]]}
    assert "not paired: runs with seed 1 differ in their order of classes" in differences(
        [one, changed(other, protocol=protocol)]
    )
    config = {"wake": {"perturbations": [{"name": "affine"}]}}
    assert f"arms differ in the augmentation of real samples (none: {ER}; affine: fine_tune)" in differences(
        [one, changed(other, config=config)]
    )
    versions = {**other.results["versions"], "torch": "1.0"}
    assert any("different versions" in line for line in differences([one, changed(other, versions=versions)]))


def test_an_arm_that_diverged_has_no_number(tmp_path: Path) -> None:
    words = {**REQUEST, "arms": ["fine_tune", "fine_tune optimizer.lr=1e30"]}
    wanted = grid.read(words)
    for cell in wanted.cells:
        manifest.write(cell.plain(), tmp_path / cell.folder, grid.PROGRAM.fingerprint())
        diverges = cell.arm.endswith("1e30") and cell.seed == 1
        with pytest.raises(Diverged) if diverges else nullcontext():
            if diverges or not cell.arm.endswith("1e30"):
                run_cell(tmp_path / cell.folder)
            else:
                write_results(collect.of_grid(wanted, tmp_path).runs[0].results, tmp_path / cell.folder)
    comparison = collect.of_grid(wanted, tmp_path)
    assert [(cell.seed, cell.diverged) for cell in comparison.missing] == [(1, True)]
    standing = analyse(comparison).of(wanted.cells[-1].arm, "digits")
    assert standing.diverged and standing.accuracy.n == 0 and standing.accuracy.mean is None and standing.rank is None
    session.report(comparison, tmp_path)
    line = next(line for line in (tmp_path / "table.md").read_text().splitlines() if "1e30" in line and "|" in line)
    assert "diverged" in line and "%" not in line

"""What a comparison concludes, against what comes out by hand."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from dreamer.compare.analysis import Costs, analyse, costs, explained, mean_costs, pareto_front
from dreamer.compare.page_tables import standings_table
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.compare.tables import csv_table, plain_comparison, stream_notes
from dreamer.jobs.runner import Missing
from dreamer.metrics.significance import smallest_p, summarise
from tests.helpers.made_up_runs import fake_results


def completed_run(arm: str, stream: str, seed: int, accuracy: float | None) -> CompletedRun:
    results = fake_results(3, seed=seed)
    results["metrics"]["average_accuracy"] = accuracy
    results["cost"]["bytes"]["plasticity"] = 0
    return CompletedRun(arm, stream, seed, results)


def comparison(scores, missing=(), reference="er") -> Comparison:
    """From scores by stream, arm and seed."""
    completed = tuple(
        completed_run(arm, stream, seed, score)
        for stream, arms in scores.items()
        for arm, seeds in arms.items()
        for seed, score in seeds.items()
    )
    return Comparison("toy", completed, tuple(missing), reference)


def test_pareto_front():
    points = {"dear": (0.9, 10.0), "good": (0.9, 5.0), "cheap": (0.5, 1.0), "bad": (0.4, 2.0), "twin": (0.5, 1.0)}
    assert pareto_front(points) == ("cheap", "twin", "good")
    assert pareto_front({"unknown": (0.9, None), "failed": (None, 0.0), "only": (0.1, 7.0)}) == ("only",)
    assert pareto_front({}) == ()


def test_costs_of_a_run_by_hand():
    assert costs(completed_run("er", "a", 0, 0.5).results) == Costs(
        steps=3 * (120 + 40 + 30),
        steps_asleep=3 * (40 + 30),
        samples_real=7680,
        samples_replayed=0,
        samples_dreamt=2560 + 1920,
        seconds=12.25 + 4.5 + 3.75,
        bytes_kept=2_504_112 + 3_827_792,
        bytes_memory=0,
        bytes_generator=2_504_112,
        bytes_teachers=3_827_792,
        bytes_network=1_913_896,
    )


def test_unknown_costs_are_not_small_ones():
    results = completed_run("er", "a", 0, 0.5).results
    del results["cost"]["bytes"]["teacher"], results["cost"]["samples"]
    results["cost"]["seconds"]["rem"] = None
    found = costs(results)
    assert found.bytes_kept is found.samples_real is found.replayed_and_dreamt is found.seconds is None
    assert found.steps == 570 and found.bytes_network == 1_913_896
    assert costs({}) == Costs(*[None] * 11)
    complete = costs(completed_run("er", "a", 1, 0.5).results)
    assert mean_costs([found, complete]) == complete, "a run that does not state its costs is left out of the mean"
    assert mean_costs([]) == Costs(*[None] * 11)


def test_analysis_of_a_whole_grid():
    seeds = range(8)
    scores = {
        "a": {"er": {k: 0.5 + 0.01 * k for k in seeds}, "bir": {k: 0.7 + 0.02 * k for k in seeds}},
        "b": {"er": {k: 0.5 for k in seeds}, "bir": {k: 0.5 for k in seeds}},
    }
    found = analyse(comparison(scores))
    assert [(row.stream, row.arm) for row in found.standings] == [("a", "er"), ("a", "bir"), ("b", "er"), ("b", "bir")]
    assert found.of("er", "a").paired is None and found.tests == 2
    better, same = found.of("bir", "a"), found.of("bir", "b")
    assert better.accuracy == summarise([0.7 + 0.02 * k for k in seeds])
    assert better.paired.difference == pytest.approx(0.235)
    assert (better.paired.p, better.paired.p_holm, better.paired.verdict) == (2 / 256, 4 / 256, "better")
    assert (same.paired.p_holm, same.paired.d_z, same.paired.verdict) == (1.0, None, "no difference shown")
    assert (better.rank, same.rank) == (1.0, 1.5)
    assert found.ranking.mean_ranks == {"er": 1.75, "bir": 1.25} and found.ranking.blocks == 16
    assert found.fronts["a"] == dict.fromkeys(("steps", "seconds", "bytes_kept"), ("bir",))
    assert better.costs.steps == 570 and better.secondary["forgetting"].n == 8
    with pytest.raises(KeyError, match="'nobody' and 'a'"):
        found.of("nobody", "a")


def test_missing_cells_leave_holes_and_nothing_else():
    scores = {"a": {"er": {0: 0.5, 1: 0.6, 2: 0.7}, "bir": {0: 0.8, 2: 0.8}, "lost": {}}}
    missing = [Missing("bir", "a", 1, "it died"), *(Missing("lost", "a", k, "it died") for k in range(3))]
    found = analyse(comparison(scores, missing))
    bir, lost = found.of("bir", "a"), found.of("lost", "a")
    assert (bir.accuracy.n, bir.paired.n, bir.paired.difference) == (2, 2, pytest.approx(0.2))
    assert bir.paired.p == bir.paired.p_holm == 0.5, "an arm that was not run is no test to correct for"
    assert lost.accuracy.mean is None and lost.paired.verdict == "no pairs" and lost.rank is None
    assert lost.costs.steps is None and found.tests == 1
    assert found.rankings["a"].blocks == 2 and "lost" not in found.rankings["a"].mean_ranks
    assert "lost" not in found.fronts["a"]["steps"]


def test_one_seed_and_two_seeds_conclude_nothing():
    for n in (1, 2):
        found = analyse(
            comparison({"a": {"er": dict.fromkeys(range(n), 0.5), "bir": {k: 0.9 + 0.01 * k for k in range(n)}}})
        )
        bir = found.of("bir", "a")
        assert bir.paired.verdict == "too few pairs" and bir.paired.p == smallest_p(n)
        assert (bir.accuracy.std is None, bir.paired.d_z is None) == (n == 1, n == 1)


def test_runs_without_accuracy_and_references_without_runs():
    found = analyse(comparison({"a": {"er": {0: None}, "bir": {0: 0.9}}}))
    assert found.of("er", "a").accuracy.n == 0 and found.of("bir", "a").paired.verdict == "no pairs"
    empty = analyse(Comparison("nothing", (), (), "er"))
    assert empty.standings == () and empty.tests == 0 and explained(empty)


def test_scores_that_are_no_number_are_counted_and_said():
    up = {k: 0.7 + 0.02 * k for k in range(7)}
    scores = {"a": {"er": dict.fromkeys(range(9), 0.5), "bir": {**up, 7: math.nan, 8: None}}}
    made = comparison(scores)
    found = analyse(made)
    bir = found.of("bir", "a")
    assert (bir.accuracy.n, bir.accuracy.missing, bir.paired.n, bir.paired.missing) == (7, 2, 7, 2)
    assert bir.accuracy.mean == summarise(list(up.values())).mean and bir.paired.verdict == "better"
    notes = stream_notes(found, "a")
    assert notes[0] == "better: 2 pairs are missing, with a score that is NaN, infinite or undefined (all arms)"
    assert notes[1] == "2 runs of bir left out of its mean: the score is NaN, infinite or undefined"
    assert all(note in plain_comparison(made, found) for note in notes[:2])
    table = standings_table(found, "a", "a")
    assert [note.lower().rstrip(".") for note in table.notes] == [note.lower() for note in notes[:2]]
    header, rows = table.full
    row = dict(zip(header, rows[0], strict=True))
    assert (row["arm"], row["runs_without_score"], row["pairs_missing"]) == ("bir", 2, 2)
    cells = list(csv.DictReader(io.StringIO(csv_table(made, Path()))))
    assert [cell["seed"] for cell in cells if cell["missing"]] == ["7", "8"]


def test_a_score_that_is_no_number_is_on_no_front():
    assert pareto_front({"odd": (math.nan, 1.0), "free": (0.9, math.inf), "only": (0.1, 7.0)}) == ("only",)


def test_an_arm_of_one_stream_stands_on_that_stream_alone():
    found = analyse(comparison({"a": {"er": {0: 0.5}, "bir": {0: 0.9}}, "b": {"er": {0: 0.5}}}))
    assert [row.arm for row in found.on("b")] == ["er"]


def test_the_explanation_has_the_numbers_of_this_comparison():
    few = explained(analyse(comparison({"a": {"er": {0: 0.5}, "bir": {0: 0.9}}})))
    assert "with er seed by seed" in few and "(1 test here)" in few and "fewer than 6" in few
    assert "to correct for" not in few
    many = {"er": {0: 0.5}} | {f"arm{i}": {0: 0.9} for i in range(11)}
    assert "With 11 tests to correct for, 9 pairs" in explained(analyse(comparison({"a": many})))

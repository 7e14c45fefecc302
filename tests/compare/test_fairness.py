"""Whatever arms were given or took differently is named; what is alike is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dreamer import config
from dreamer.compare.analysis import analyse
from dreamer.compare.cells import Cell
from dreamer.compare.fairness import differences
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.compare.tables import everything, markdown_table, plain_comparison
from tests.helpers.made_up_runs import fake_results

CONFIG: dict[str, Any] = {
    "stream": {"name": "digits", "validation": 0.1},
    "memory": {"name": "class_balanced", "capacity": 100},
    "wake": {"name": "wake", "steps": 10, "replay": 64, "perturbations": [], "replay_perturbations": []},
    "night": [{"name": "nrem", "steps": 5}, {"name": "rem", "steps": 5, "perturbations": [{"name": "noise"}]}],
}


def run(arm: str, plain: dict[str, Any] = CONFIG, cost: dict[str, dict[str, int]] | None = None) -> CompletedRun:
    results = fake_results(2)
    results["config"] = plain
    results["cost"]["bytes"]["plasticity"] = 0
    for kind, amounts in (cost or {}).items():
        results["cost"][kind] |= amounts
    return CompletedRun(arm, "digits", 1, results)


def changed(*path: str | int, value: Any) -> dict[str, Any]:
    plain = copy.deepcopy(CONFIG)
    node: Any = plain
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return plain


@pytest.mark.parametrize("stream", ["folder", "hugging_face", "text"])
def test_runs_on_different_folders_are_not_of_one_stream(stream: str) -> None:
    def of(place: str, **data: str) -> dict[str, Any]:
        return CONFIG | {"stream": {"name": stream, "root": place} if place else stream, "data": data}

    line = "runs are not of one stream, but of different folders (/pets: a; /birds: b)"
    for other in (of("/birds"), of("", root="/birds")):
        assert any(found.startswith(line) for found in differences([run("a", of("/pets")), run("b", other)]))
    assert not any("folders" in found for found in differences([run("a", of("/pets")), run("b", of("/pets"))]))


def test_tables_of_one_name_in_different_folders_are_no_stream() -> None:
    one, two = (CONFIG | {"stream": {"name": "table", "file": f"{place}/train.csv"}} for place in ("pets", "birds"))
    line = "runs are not of one stream, but of different folders (pets/train.csv: a; birds/train.csv: b)"
    assert any(found.startswith(line) for found in differences([run("a", one), run("b", two)]))
    assert not any("folders" in found for found in differences([run("a", one), run("b", one)]))


def test_alike_arms_have_no_difference() -> None:
    assert differences([run("a"), run("b", copy.deepcopy(CONFIG))]) == []


AFFINE = [{"name": "affine", "degrees": 45}]


@pytest.mark.parametrize(
    ("plain", "line"),
    [
        (
            changed("wake", "perturbations", value=AFFINE),
            "arms differ in the augmentation of real samples (none: a; affine (degrees 45): b)",
        ),
        (
            changed("wake", "replay_perturbations", value=AFFINE),
            "arms differ in the augmentation of samples replayed awake (none: a; affine (degrees 45): b)",
        ),
        (
            changed("night", 0, "perturbations", value=AFFINE),
            "arms differ in the augmentation of samples replayed in nrem stages (none: a; affine (degrees 45): b)",
        ),
        (
            changed("night", 1, "perturbations", value=AFFINE),
            "arms differ in the augmentation of samples replayed in rem stages (noise: a; affine (degrees 45): b)",
        ),
        (
            changed("night", 1, "strength", value=0.5),
            "arms differ in the augmentation of samples replayed in rem stages (noise: a; noise, strength 0.5: b)",
        ),
        (
            changed("night", value=CONFIG["night"][1:]),
            "arms differ in the augmentation of samples replayed in nrem stages (none: a; no such stage: b)",
        ),
        (
            changed("wake", "data", value="joint"),
            "arms differ in the data of wake stages (experience: a; joint: b)",
        ),
        (
            changed("stream", "validation", value=0.5),
            "arms differ in the stream (digits (validation 0.1): a; digits (validation 0.5): b)",
        ),
    ],
)
def test_every_difference_of_the_configurations_is_named(plain: dict[str, Any], line: str) -> None:
    assert differences([run("a"), run("b", plain)]) == [line]


def test_a_default_that_is_written_out_is_no_difference() -> None:
    written = changed("night", 1, "perturbations", value=["noise"])
    assert differences([run("a"), run("b", written)]) == []


@pytest.mark.parametrize(
    ("cost", "line"),
    [
        ({"samples": {"replayed": 100_000}}, "arms differ in samples replayed awake (a 10, b 100,000)"),
        ({"samples": {"rem": 100_000}}, "arms differ in samples replayed asleep (a 2,570, b 102,560)"),
        ({"samples": {"wake": 9_000}}, "arms differ in real samples seen awake (a 7,680, b 9,000)"),
        ({"optimizer_steps": {"wake": 220, "nrem": 100}}, "arms differ in optimiser steps asleep (a 140, b 160)"),
        ({"bytes": {"memory": 1000}}, "arms differ in bytes of memory (a 0, b 1,000)"),
        ({"bytes": {"generator": 1}}, "arms differ in bytes of the generator (a 2,504,112, b 1)"),
        ({"bytes": {"teacher": 0}}, "arms differ in bytes of teachers (a 3,827,792, b 0)"),
    ],
)
def test_every_difference_of_what_was_measured_is_named(cost: dict[str, dict[str, int]], line: str) -> None:
    few = {"samples": {"replayed": 10, "nrem": 2_560, "rem": 10}}
    merged = {kind: few.get(kind, {}) | cost.get(kind, {}) for kind in (*few, *cost)}
    if "replayed" not in cost.get("samples", {}):
        merged["samples"]["replayed"] = 10
    assert line in differences([run("a", cost=few), run("b", cost=merged)])
    assert not any("augmentation" in found for found in differences([run("a", cost=few), run("b", cost=merged)]))


def test_amounts_within_one_per_cent_count_as_equal() -> None:
    near, far = {"samples": {"wake": 7_750}}, {"samples": {"wake": 7_760}}
    assert differences([run("a"), run("b", cost=near)]) == []
    assert len(differences([run("a"), run("b", cost=far)])) == 1


def test_who_does_not_say_what_it_took_is_named() -> None:
    silent = run("b")
    del silent.results["cost"]["samples"]["replayed"]
    assert differences([run("a"), silent]) == ["arms may differ in samples replayed awake: b does not say"]


def test_arms_without_runs_are_compared_as_planned() -> None:
    many = changed("wake", "replay", value=100_000)
    cells = [Cell("a", "digits", 1, CONFIG), Cell("b", "digits", 1, many)]
    line = "arms differ in the planned replay awake (replay 64: a; replay 100000: b)"
    assert differences([], cells) == [line]
    assert differences([run("a")], cells) == [line]
    assert differences([run("a"), run("b", many)], cells) == [], "what was measured is alike"


def test_by_default_ours_and_er_differ() -> None:
    plain = {name: config.read("digits", *recipe) for name, recipe in (("ours", ()), ("er", ("er",)))}
    found = differences([run(name, made) for name, made in plain.items()])
    for what in ("replayed awake", "replayed in nrem stages", "replayed in rem stages"):
        assert [line for line in found if f"the augmentation of samples {what}" in line]
    planned = differences([], [Cell(name, "digits", 1, made) for name, made in plain.items()])
    for what in ("the planned nights", "the memory", "the generator"):
        assert [line for line in planned if line.startswith(f"arms differ in {what}")]


def test_differences_stand_in_table_terminal_and_results(tmp_path: Any) -> None:
    runs = (run("a"), run("b", changed("night", 1, "perturbations", value=AFFINE)))
    said = differences(runs)
    comparison = Comparison("toy", runs, (), "a", tuple(said))
    analysis = analyse(comparison)
    assert said[0] in plain_comparison(comparison, analysis)
    assert said[0] in markdown_table(comparison, analysis)
    assert everything(comparison, analysis, tmp_path)["warnings"] == (said[0],)

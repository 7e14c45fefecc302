"""The README's numbers are the measured ones."""

from __future__ import annotations

import csv
import re
import statistics
from pathlib import Path

import pytest

from benchmarks.teachers import __main__ as teachers
from benchmarks.trust import table as trust
from dreamer import config
from dreamer.core.text import MINUS
from reproductions import (
    arithmetic,
    caltech,
    capacity,
    cifar10_features,
    domains,
    feature_batches,
    fine_tuning,
    language_studies,
    night_schedules,
    night_trials,
    nights,
    official,
    on_features,
    pad_probe,
    papers,
    patch_runs,
    record_runs,
    record_trials,
    records,
    stability_gap,
    studies,
)
from reproductions.trials import Trials

NIGHTS = nights.NIGHTS
ROOT = Path(__file__).parents[2]
MEASUREMENTS = ROOT / "docs" / "measurements"


@pytest.mark.parametrize("stream", nights.STREAMS)
def test_the_readme_prints_the_tables_of_the_script(stream: str) -> None:
    assert NIGHTS.table(stream) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_strategies_prints_the_differences_of_the_script() -> None:
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8").replace(MINUS, "-")
    for stream in nights.STREAMS:
        found = NIGHTS.contrasts(stream)[nights.REFERENCE]
        assert f"{found.difference:+.2f} points, 95 % interval {found.low:+.2f} to {found.high:+.2f}" in page


def test_the_page_of_strategies_prints_nights_in_equal_time() -> None:
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    for stream in nights.STREAMS:
        assert nights.in_equal_time(stream) in page


def test_every_arm_was_run_with_every_seed_and_as_many_samples() -> None:
    measured = NIGHTS.runs.all()
    assert [(one["stream"], one["arm"], one["seed"]) for one in measured] == [
        (stream, arm, seed) for stream, arm, seed in NIGHTS.wanted()
    ]
    for one in measured:
        assert one["curve"][-1][2] == pytest.approx(one["average_accuracy"])
        assert one["bytes"]["memory"] == 0
    for stream in nights.STREAMS:
        replayed = {
            sum(count for kind, count in one["samples"].items() if kind != "wake")
            for one in measured
            if one["stream"] == stream and one["arm"] != "no sleep"
        }
        assert len(replayed) == 1, "at equal samples"


def written(picture: Path) -> list[str]:
    """The words and numbers in a picture, which its file has as comments beside their outlines."""
    return re.findall(r"<!-- (.*?) -->", picture.read_text(encoding="utf-8"))


def test_the_pictures_on_the_pages_are_those_of_the_numbers(tmp_path: Path) -> None:
    nights.draw(NIGHTS, tmp_path / "nights.svg")
    night_schedules.draw(night_schedules.RUNS.all(), tmp_path / "night_schedules.svg")
    for name in ("nights", "night_schedules"):
        assert len(written(tmp_path / f"{name}.svg")) > 10
        assert written(tmp_path / f"{name}.svg") == written(MEASUREMENTS / f"{name}.svg")


def test_the_page_of_language_models_prints_what_is_kept() -> None:
    measured = arithmetic.RUNS.all()
    assert arithmetic.tables(measured) in (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    assert {(one["arm"], one["seed"]) for one in measured} <= set(arithmetic.wanted())
    recipe = config.read("arithmetic")
    learnt = [round(0.98 * count) for count in recipe["stream"]["samples"]]
    for one in measured:
        assert one["steps"]["wake"] == sum(-(-count // recipe["wake"]["batch_size"]) for count in learnt)


def test_the_page_of_records_prints_the_tables_of_the_scripts() -> None:
    page = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    assert record_runs.page() in page
    for trials in record_trials.STREAMS:
        assert trials.table() in page
    for one in record_runs.RECORDS.runs.all():
        assert one["bytes"]["memory"] == 0, "no stored sample"
        assert (one["stream"], one["arm"], one["seed"]) in record_runs.RECORDS.wanted()
        assert all(one["seed"] not in trials.seeds for trials in record_trials.STREAMS), "no setting was chosen on it"


def test_what_the_page_of_records_says_of_its_runs_stands_in_their_table() -> None:
    page = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    said = page.split("<!-- until here -->")[1].split("## Filters")[0].replace(MINUS, "-")
    table = record_runs.page()
    intervals = re.findall(r"[+-]\d+\.\d\d to [+-]\d+\.\d\d", said)
    assert len(intervals) > 8 and all(interval in table for interval in intervals)
    points = re.findall(r"(\d+\.\d\d) points", said)
    assert len(points) > 5 and set(points) <= set(re.findall(r"\d+\.\d\d", table))


@pytest.mark.parametrize("stream", record_runs.STREAMS)
def test_every_arm_of_a_record_replays_as_many_samples(stream: str) -> None:
    replayed = {
        sum(count for kind, count in one["samples"].items() if kind != "wake")
        for one in record_runs.RECORDS.runs.of(stream=stream)
    }
    assert len(replayed) == 1


@pytest.mark.parametrize("stream", patch_runs.STREAMS)
def test_the_page_of_records_prints_dreams_of_patches(stream: str) -> None:
    assert patch_runs.table(stream) in (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    for one in patch_runs.RUNS.runs.all():
        assert one["bytes"]["memory"] == 0, "no stored sample"
        assert (one["stream"], one["arm"], one["seed"]) in patch_runs.RUNS.wanted()
        assert all(one["seed"] not in trials.seeds for trials in record_trials.STREAMS), "no setting was chosen on it"


def test_a_record_takes_less_time_than_the_official_code_on_the_same_machine() -> None:
    ours = record_runs.RECORDS.of("records/split_mnist", record_runs.OURS)
    theirs = [one for one in official.recorded() if one["machine"] == ours[0]["machine"]]
    assert theirs
    assert max(one["cpu_seconds"] for one in ours) < min(one["cpu_seconds"] for one in theirs)


@pytest.mark.parametrize(
    "trials", [*record_trials.STREAMS, night_trials.NIGHTS], ids=lambda trials: f"{trials.script}-{trials.which}"
)
def test_trials_on_record_are_those_that_the_script_makes(trials: Trials) -> None:
    for one in trials.runs.all():
        assert one["command"] == trials.command(one["trial"], one["seed"])


@pytest.mark.parametrize("configuration", record_trials.CHOSEN)
def test_a_record_is_the_trial_that_was_chosen(configuration: str) -> None:
    trials, chosen = record_trials.CHOSEN[configuration]
    trial = config.read(trials.stream, *trials.settings[chosen])
    assert {**config.read(configuration), "name": ""} == {**trial, "name": ""}


def test_the_page_of_fine_tuning_prints_what_was_lost() -> None:
    measured = fine_tuning.RUNS.all()
    assert fine_tuning.tables(measured) in (ROOT / "docs" / "fine_tuning.md").read_text(encoding="utf-8")
    for one in measured:
        assert [each["name"] for each in one["sets"]] == [each["name"] for each in measured[0]["sets"]]
        for each in one["sets"]:
            assert each["after"] - each["before"] == pytest.approx(each["loss"], abs=0.0021), (
                "printed with three digits"
            )
            assert each["low"] < each["loss"] < each["high"]


def test_the_page_of_fine_tuning_prints_what_two_teachers_hold() -> None:
    measured = teachers.RUNS.all()
    assert teachers.sentence(measured) in (ROOT / "docs" / "fine_tuning.md").read_text(encoding="utf-8")
    assert {(one["teachers"], one["round"]) for one in measured} == {(n, r) for n in (0, 2) for r in range(3)}
    for one in measured:
        held = one["bytes"]
        assert len(held["each"]) == one["teachers"] and all(each < held["model"] / 20 for each in held["each"])
        assert held["loaded"] < held["peak"], "the most is held in training, not in reading the model"
    without, beside = (teachers.peak(measured, count) for count in (0, 2))
    assert (beside - without) * 2**20 < measured[0]["bytes"]["model"] / 4, "two whole copies would be twice as much"


def test_what_the_example_prints_is_read() -> None:
    printed = (
        "60 steps in 223 CPU seconds; at most 3.3 GiB of memory\n"
        "set          samples   before    after  loss (95 % interval)\n"
        "code              16    1.224    1.527    0.303 (+0.256 to +0.350)  lost\n"
        "french            16    2.282    1.909   -0.373 (-0.436 to -0.310)  kept\n"
    )
    found = fine_tuning.printed(printed)
    assert (found["cpu_seconds"], found["gib"]) == (223, 3.3)
    assert [(one["name"], one["loss"], one["low"]) for one in found["sets"]] == [
        ("code", 0.303, 0.256), ("french", -0.373, -0.436)
    ]  # fmt: skip


def test_the_page_of_language_models_prints_the_five_domains() -> None:
    page = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    assert domains.tables(domains.RUNS.all()) in page
    assert capacity.table(capacity.every()) in page
    sizes = {one["width"]: one["bytes"]["network"] for one in capacity.every()}
    assert sorted(sizes.values()) == [sizes[width] for width in (*capacity.WIDTHS, capacity.WIDEST)]


def test_the_page_of_strategies_prints_when_nights_come() -> None:
    measured = night_schedules.RUNS.all()
    assert sorted((one["schedule"], one["budget"], one["seed"]) for one in measured) == sorted(night_schedules.wanted())
    assert night_schedules.table(measured) in (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    for one in measured:
        if one["schedule"] != "where drift is found":
            # what is known beforehand takes what it was given, up to rounding
            assert one["sleep_steps"] == pytest.approx(5 * one["budget"], rel=0.05)


def test_the_page_of_strategies_prints_what_was_tried_in_nights() -> None:
    assert night_trials.NIGHTS.table() in (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")


def test_the_page_of_metrics_prints_the_table_of_the_stability_gap() -> None:
    measured = stability_gap.RUNS.all()
    assert stability_gap.table(measured) in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    wanted = [
        (stream, arm, seed)
        for stream, (_, seeds) in stability_gap.STREAMS.items()
        for arm in stability_gap.ARMS
        for seed in seeds
    ]
    assert [(one["stream"], one["arm"], one["seed"]) for one in measured] == wanted
    for one in measured:
        assert one["evaluations"] > 0
        assert one["arm"] != "fine-tuning" or one["recovery"] < 0.01 < one["stability_gap"]


def test_the_reproductions_page_is_what_its_script_writes() -> None:
    assert papers.page(papers.recorded()) == (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8")
    names = {name for name, _, _ in papers.runs()}
    assert set(papers.recorded()) <= names, "a run that belongs to no row"


def test_the_page_of_the_recipes_prints_what_every_pass_is_worth() -> None:
    with (MEASUREMENTS / "der_passes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    for recipe in ("der", "derpp"):
        cells = []
        for arm in (f"{recipe} memory.every_pass=false", recipe):
            values = [100 * float(row["average_accuracy"]) for row in rows if row["arm"] == arm]
            assert len(values) == 5
            cells.append(f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}")
        assert f"| {recipe} | {cells[0]} | {cells[1]} |" in page


def test_the_picture_of_the_empty_room_is_drawn_from_its_curves(tmp_path: Path) -> None:
    curves = studies.read("empty-room", "mnist_100", "accuracy")
    arms = studies.EMPTY_ROOM
    assert {arm: len(seeds) for arm, seeds in curves.items() if arm in arms} == dict.fromkeys(arms, 10)
    studies.empty_room(curves, tmp_path / "drawn.svg")
    assert written(tmp_path / "drawn.svg") == written(MEASUREMENTS / "empty_room.svg")


def test_the_picture_of_the_snake_is_drawn_from_its_curves(tmp_path: Path) -> None:
    curves = {measure: studies.read("snake", "mnist", measure) for measure in ("precision", "recall", "frechet")}
    for found in curves.values():
        assert {arm: len(seeds) for arm, seeds in found.items() if arm in studies.SNAKE} == dict.fromkeys(
            studies.SNAKE, 3
        )
    assert 0 < curves["recall"]["real_100"][0][10.0] <= 100
    studies.snake(curves, tmp_path / "drawn.svg")
    assert written(tmp_path / "drawn.svg") == written(MEASUREMENTS / "snake.svg")


@pytest.mark.parametrize(
    ("study", "data", "outcome", "arms"),
    [
        ("empty-room", "mnist_10", "accuracy", "nothing awake awake_perturbed dreams_plain dreams_perturbed"),
        ("empty-room", "mnist_100", "accuracy", "nothing awake awake_perturbed dreams_plain dreams_perturbed"),
        ("empty-room", "mnist_1000", "accuracy", "nothing awake awake_perturbed dreams_plain dreams_perturbed"),
        (
            "snake",
            "digits",
            "accuracy",
            "real_100 real_50 accumulate real_10 anchored replace perturbed_codes perturbed_pixels",
        ),
        ("snake", "mnist", "accuracy", "real_100 real_50 accumulate real_10 replace perturbed_codes perturbed_pixels"),
        ("snake", "mnist", "recall", "real_100 real_50 accumulate real_10 replace perturbed_codes perturbed_pixels"),
        ("snake", "mnist", "precision", "real_100 real_50 accumulate real_10 replace perturbed_codes perturbed_pixels"),
        ("pad", "cifar10", "accuracy", "full without_rem"),
        ("pad", "cifar10_10000", "accuracy", "full without_rem rem_removed without_nrem wake_only"),
        ("pad", "cifar10_10000", "occluded", "full without_rem rem_removed without_nrem wake_only"),
        ("pad", "cifar10_10000", "published", "full without_rem rem_removed without_nrem wake_only"),
    ],
)
def test_the_page_of_the_studies_prints_what_they_wrote_down(study: str, data: str, outcome: str, arms: str) -> None:
    with (ROOT / "docs" / "studies" / study / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["data"] == data]
    page = (ROOT / "docs" / "studies_results.md").read_text(encoding="utf-8")
    for arm in arms.split():
        values = [100 * float(row[outcome]) for row in rows if row["arm"] == arm and row[outcome]]
        assert f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" in page, arm


@pytest.mark.parametrize("study", language_studies.TABLES)
def test_the_page_of_the_studies_prints_what_those_of_language_wrote_down(study: str) -> None:
    page = (ROOT / "docs" / "studies_results.md").read_text(encoding="utf-8")
    table = language_studies.table(study)
    assert language_studies.section(study) in page
    assert language_studies.verdicts(study).startswith("> On ")
    there = {(row["data"], row["arm"]) for row in language_studies.cells(study) if row["seconds"]}
    assert there <= set(language_studies.TABLES[study].arms)
    assert table.count("\n|") == 2 + len(there) + bool(language_studies.held_out(study))


@pytest.mark.parametrize("study", language_studies.TABLES)
def test_sentences_below_the_tables_of_language_have_numbers_of_the_tables(study: str) -> None:
    page = (ROOT / "docs" / "studies_results.md").read_text(encoding="utf-8")
    section = language_studies.section(study)
    below = page.split(section)[1].split("\n## ")[0]
    own = re.sub(r"\* Published.*?(?=\n\*|\Z)", "", below, flags=re.DOTALL)
    typed = set(re.findall(r"\d+\.\d+", own))
    assert typed and not typed - set(re.findall(r"\d+\.\d+", section))


def test_the_page_of_the_studies_prints_the_probe_of_rescaled_codes() -> None:
    page = (ROOT / "docs" / "studies_results.md").read_text(encoding="utf-8")
    assert pad_probe.table(pad_probe.recorded()) in page


def test_the_page_of_pictures_prints_the_table_of_its_script() -> None:
    runs = caltech.RUNS.all()
    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    assert caltech.table(runs) in page and caltech.chosen() in page
    measured = [(run["arm"], run["seed"]) for run in runs]
    assert len(set(measured)) == len(measured) and {arm for arm, _ in measured} <= set(caltech.ARMS)
    begins = "They do not reach|Wide dreams|Whitened dreams|Three sixths|With the last block"
    bullets = re.findall(rf"^- (?:{begins}).*?(?=\n- )", page, re.DOTALL | re.MULTILINE)
    assert len(bullets) == 5
    printed = set(re.findall(r"\d+\.\d+", caltech.table(runs) + caltech.chosen()))
    for bullet in bullets:
        typed = set(re.findall(r"\d+\.\d\d", bullet))
        assert typed and not typed - printed
    assert caltech.WIDE == f"generator.temperature={config.read('caltech101')['generator']['temperature']}"
    # in a closed form the order of the classes changes nothing
    assert len(set(on_features.scores(runs, "SLDA").values())) == 1
    extraction = records.read(caltech.RUNS.path, {})["extraction"]
    each = 1000 * extraction["cpu_seconds"] / extraction["images"]
    assert (
        f"{extraction['cpu_seconds']:.0f} CPU seconds for {extraction['images']:,} images, {each:.0f} ms each" in page
    )


def test_the_page_of_pictures_prints_what_cifar10_gave_and_pictures_at_a_time() -> None:
    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    assert cifar10_features.table() in page and cifar10_features.chosen() in page and feature_batches.table() in page
    measured = [(run["arm"], run["seed"]) for run in cifar10_features.RUNS.all()]
    assert len(set(measured)) == len(measured) == len(cifar10_features.ARMS) * len(cifar10_features.SEEDS)
    assert not set(cifar10_features.CHOOSING) & set(cifar10_features.SEEDS)
    words = page.split("## CIFAR-10")[1].split("<!-- until here -->")[1].split("All settings")[0]
    typed = set(re.findall(r"\d+\.\d\d", words))
    assert typed and not typed - set(re.findall(r"\d+\.\d+", cifar10_features.table()))


def test_the_page_of_trust_prints_what_was_tried() -> None:
    record = trust.read()
    assert trust.table(record) in (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    for kinds in record["experiments"].values():
        for kind in kinds.values():
            assert len(set(kind["tried"])) == len(kind["tried"]) and set(kind["wrong"]) <= set(kind["tried"])

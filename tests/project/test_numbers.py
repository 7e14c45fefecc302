"""Every number of the README stands in a committed file that a command wrote."""

from __future__ import annotations

import csv
import json
import re
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dreamer.core.text import MINUS
from dreamer.generators import ClassConditionalVAE
from dreamer.metrics.significance import Paired, paired_tests
from reproductions import domains, fine_tuning, nights, patch_runs, record_runs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8").replace(MINUS, "-")
# read from papers; configs/strategies and docs/reproductions.md name the tables
PUBLISHED = ("deep generative replay 91.2", "replay through feedback 92.6", "joint training 97.9")
# what a number stands in that was not measured
NOT_PROSE = (r"```.*?```", r"\]\([^)]*\)", r"^\|[^\n]*\|$")
OTHER = (
    r"arXiv \d+\.\d+",
    r"pytorch-lightning( \d+\.\d+\.\d+,?)*( and \d+\.\d+\.\d+)?",
    r"cannot bring below 0.05",
    r"decoders of up to 0.65 million weights",
    r"with its 95 % interval",
    *map(re.escape, PUBLISHED),
)


@cache
def study(name: str) -> list[dict[str, str]]:
    with (ROOT / "docs" / "studies" / name / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_seed(name: str, data: str, arm: str, measure: str) -> dict[str, float]:
    rows = [row for row in study(name) if (row["data"], row["arm"]) == (data, arm)]
    return {row["seed"]: 100 * float(row[measure]) for row in rows if row[measure]}  # empty where it has not been run


def contrasts(name: str, data: str, measure: str, *pairs: tuple[str, str]) -> list[Paired]:
    """The primary contrasts of a study, corrected among themselves."""
    scores = [[by_seed(name, data, arm, measure) for arm in pair] for pair in pairs]
    return paired_tests([[one[seed] - other[seed] for seed in one] for one, other in scores])


def room(arm: str, measure: str = "accuracy") -> float:
    return statistics.mean(by_seed("empty-room", "mnist_100", arm, measure).values())


def snake(arm: str, measure: str) -> float:
    return statistics.mean(by_seed("snake", "mnist", arm, measure).values())


@cache
def primary() -> Paired:
    arms = [by_seed("empty-room", "mnist_100", arm, "accuracy") for arm in ("dreams_perturbed", "awake_perturbed")]
    return paired_tests([[arms[0][seed] - arms[1][seed] for seed in arms[1]]])[0]


@cache
def snakes() -> list[Paired]:
    return contrasts("snake", "digits", "accuracy", ("replace", "real_10"), ("perturbed_codes", "replace"))


@cache
def generations() -> list[Paired]:
    return contrasts("language-snake", "documentation", "perplexity", ("replace", "beside"), ("perturbed", "replace"))


@cache
def words(name: str, data: str, arm: str, against: str, measure: str) -> Paired:
    one, other = (by_seed(name, data, each, measure) for each in (arm, against))
    assert len(one) == len(other) == 6
    return paired_tests([[one[seed] - other[seed] for seed in other]])[0]


def spoken(name: str, data: str, arm: str, measure: str) -> float:
    return statistics.mean(by_seed(name, data, arm, measure).values())


@cache
def recorded(name: str) -> Any:
    return json.loads((ROOT / "docs" / "measurements" / name).read_text(encoding="utf-8"))


def split_mnist(arm: str, measure: Callable[[dict[str, Any]], float]) -> float:
    return statistics.mean(measure(run) for run in nights.NIGHTS.of("split_mnist", arm))


def percent(arm: str, key: str = "average_accuracy") -> float:
    return split_mnist(arm, lambda run: 100 * run[key])


def by_day(arm: str) -> float:
    """Accuracy on all classes after the last day, before its night."""
    return split_mnist(arm, lambda run: 100 * [row for row in run["curve"] if row[1] == "wake"][-1][2])


def megabytes(part: str) -> float:
    return split_mnist(nights.OURS, lambda run: run["bytes"][part] / 1e6)


def record(name: str, arm: str = record_runs.OURS) -> list[float | None]:
    """Accuracy in per cent and megabytes kept, on average over the seeds."""
    runs = record_runs.RECORDS.of(f"records/{name}", arm)
    kept = statistics.mean(sum(run["bytes"].values()) for run in runs) / 1e6
    return [100 * statistics.mean(run["average_accuracy"] for run in runs), kept]


PATCHES = (patch_runs.OURS, patch_runs.STATISTICS)


def of_patches(stream: str, arm: str) -> float:
    """Accuracy in per cent, on average over the seeds."""
    return 100 * statistics.mean(run["average_accuracy"] for run in patch_runs.RUNS.of(stream, arm))


def official(code: str) -> float:
    return next(
        100 * run["average_accuracy"]
        for run in recorded("official.json")
        if (run["code"], run["seed"]) == (code, 11) and run["machine"].startswith("Intel")
    )


def lost(replay: int) -> list[float]:
    """Least and largest loss in bits per byte of a hard fine-tuning, on all sets but the one that it is trained on."""
    run = next(one for one in fine_tuning.RUNS.all() if (one["strength"], one["replay"]) == ("hard", replay))
    losses = [one["loss"] for one in run["sets"] if one["name"] != fine_tuning.TRAINED]
    return [min(losses), max(losses)]


def forgotten(arm: str) -> float:
    """Bits per byte that were lost of all domains but the last, on average over them and the seeds."""
    return statistics.mean(
        statistics.mean(domains.lost(one)) for one in domains.of(domains.paired(domains.RUNS.all()), arm)
    )


def claims() -> list[tuple[str, list[float | None]]]:
    """Words of the README and the numbers in them, in order."""
    ours = nights.OURS
    quick, small = (nights.IN_EQUAL_TIME.contrasts(stream)[nights.REFERENCE] for stream in ("split_mnist", "digits"))
    found, (reached, codes) = primary(), snakes()
    facts = words("language-facts", "people_200", "own_recombined", "text", "accuracy")
    kept = words("language-room", "toy", "own_kl", "none", "kept")
    alone, _ = generations()
    retold = ("language-facts", "people_200", "own_recombined")
    return [
        ("94.65 against 96.34 %", [room("dreams_perturbed"), room("awake_perturbed")]),
        (
            "-1.69 points, 95 % interval -2.07 to -1.30, p = 0.002",
            [found.difference, None, found.low, found.high, found.p_holm],
        ),
        ("from 91.81 %, in ten of ten seeds", [room("nothing")]),
        ("unperturbed dreams end at 92.44 %", [room("dreams_plain")]),
        ("95.14 % without any night", [room("awake_perturbed") - room("awake_perturbed", "gain")]),
        (
            "(-4.87 points, 95 % interval -6.08 to -3.67, p = 0.004)",
            [reached.difference, None, reached.low, reached.high, reached.p_holm],
        ),
        (
            "(-2.65 points, -4.73 to -0.56, p = 0.021)",
            [codes.difference, codes.low, codes.high, codes.p_holm],
        ),
        ("falls from 93 to 34 %", [snake("real_100", "recall"), snake("replace", "recall")]),
        ("with perturbed codes to 61 %", [snake("perturbed_codes", "recall")]),
        (
            "44.47 against 14.42 % (+30.06 points, 95 % interval 17.02 to 43.09, p = 0.031; chance is 10 %)",
            [
                spoken(*retold, "accuracy"),
                spoken("language-facts", "people_200", "text", "accuracy"),
                *(facts.difference, None, facts.low, facts.high, facts.p_holm, None),
            ],
        ),
        (
            "But 72.24 % of what it retells is true, and 60.50 % of the wording",
            [spoken(*retold, "true"), spoken(*retold, "stored")],
        ),
        ("without retelling end at 15.33 %", [spoken("language-facts", "people_200", "own_words", "accuracy")]),
        (
            "keeps 99.93 % of an old task by its own words beside the new one, 21.78 % without (+78.16 points, "
            "76.81 to 79.50, p = 0.031)",
            [
                *(spoken("language-room", "toy", arm, "kept") for arm in ("own_kl", "none")),
                *(kept.difference, kept.low, kept.high, kept.p_holm),
            ],
        ),
        (
            "human text is 82.3, with human text beside it 43.0 (+39.3, 95 % interval 34.7 to 43.9, p = 0.031;",
            [
                *(spoken("language-snake", "documentation", arm, "perplexity") / 100 for arm in ("replace", "beside")),
                *(alone.difference / 100, None, alone.low / 100, alone.high / 100, alone.p_holm),
            ],
        ),
        (
            "of 135 million weights fine-tuned hard on French novels (one run each), becomes worse on code and English "
            "texts by 0.12 to 0.30 bits per byte; with four texts of its own beside every batch it does not (-0.008 to "
            "-0.002)",
            [None, *lost(0), *lost(4)],
        ),
        (
            "loses 1.65 bits per byte of what it had learnt, nights on its own words 0.15, 2 000 stored texts beside "
            "every batch 0.07",
            [*map(forgotten, list(domains.ARMS)[:2]), None, None, forgotten(list(domains.ARMS)[3])],
        ),
        (f"of Split MNIST {by_day(ours):.1f} % are left", [by_day(ours)]),
        (f"A night recovers {percent(ours, 'sleep_gain'):.1f} points", [percent(ours, "sleep_gain")]),
        (
            f"ends at {percent(ours):.1f} %; with verbatim (unperturbed) dreams in nights of equal length at "
            f"{percent('nights, verbatim'):.1f} %, without sleep at {percent('no sleep'):.1f} %",
            [percent(ours), percent("nights, verbatim"), percent("no sleep")],
        ),
        (
            f"differ from these by {quick.difference:+.2f} points (95 % interval {quick.low:+.2f} to "
            f"{quick.high:+.2f}), on the digits by {small.difference:+.2f} ({small.low:+.2f} to {small.high:+.2f})",
            [quick.difference, 95, quick.low, quick.high, small.difference, small.low, small.high],
        ),
        ("90.82 % with the code of 2020", [official("brain-inspired-replay"), None]),
        ("91.87 % with that of 2022", [official("continual-learning"), None]),
        ("gives 97.34 % without stored data", [100 * reproduced("RanDumb, 5 000 features")]),
        (
            "ends at 98.51 % on Split MNIST, same seeds, and keeps 18.0 MB (unperturbed dreams: 97.18 %); with one "
            "decoder for all classes, whose bytes do not grow, at 98.34 % and 12.7 MB",
            [*record("split_mnist"), record("split_mnist", record_runs.CLEAN)[0], *record("split_mnist_constant")],
        ),
        (
            "On Split Fashion-MNIST the larger one ends at 85.43 % (unperturbed: 84.57 %)",
            [record("split_fmnist", arm)[0] for arm in (record_runs.OURS, record_runs.CLEAN)],
        ),
        (
            "units ends at 97.71 % with nights alone, and at 97.91 % where dreams are replayed by day too and nights "
            "change nothing; it keeps 42.3 MB",
            [record("permuted_mnist", record_runs.ALONE)[0], *record("permuted_mnist")],
        ),
        (
            "Split CIFAR-10 (JPEG) ends at 68.96 % and Split Fashion-MNIST at 90.76 %; a linear discriminant of the "
            "same statistics, without nights, at 69.43 % and 90.14 %",
            [None, *(of_patches(stream, arm) for arm in PATCHES for stream in patch_runs.STREAMS)],
        ),
        ("6.2 MB at the end", [megabytes("generator")]),
        ("frozen teacher (3.8 MB)", [megabytes("teacher")]),
        ("the network (1.9 MB)", [megabytes("network")]),
    ]


def reproduced(row: str) -> float:
    runs = [run for name, run in recorded("reproductions.json").items() if f"/ {row} /" in name]
    return statistics.mean(run["average_accuracy"] for run in runs)


def plain(text: str) -> str:
    return " ".join(text.replace("*", "").split())


@pytest.mark.parametrize("words", [words for words, _ in claims()])
def test_a_number_is_the_measured_one(words: str) -> None:
    assert words in plain(README)
    values = dict(claims())[words]
    # "ten of ten" and the like are words; what is written in digits is compared at its own precision
    written = re.findall(r"-?\d+(?:\.\d+)?", words)
    for number, value in zip(written, values, strict=True):
        if value is not None:
            digits = len(number.partition(".")[2])
            assert f"{value:.{digits}f}" == number, (number, value)


def test_no_other_number_is_claimed() -> None:
    rest = README
    for pattern in NOT_PROSE:
        rest = re.sub(pattern, " ", rest, flags=re.DOTALL | re.MULTILINE)
    rest = plain(rest)
    for words, _ in claims():
        rest = rest.replace(words, " ")
    for pattern in OTHER:
        rest = re.sub(pattern, " ", rest)
    assert re.findall(r"[^ ]* ?-?\d+\.\d+[^ ]*|\d+ %", rest) == []


def test_the_front_page_of_the_documentation_claims_nothing_else() -> None:
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    rest = plain(page.split("## Snake or empty room?")[1].split("\n## ")[0])
    found = [words for words, _ in claims() if words in rest]
    assert len(found) >= 6
    for words in found:
        rest = rest.replace(words, " ")
    assert re.findall(r"[^ ]* ?-?\d+\.\d+[^ ]*|\d+ %", rest) == []


def test_the_callback_promises_what_its_example_does() -> None:
    promised = re.findall(r"^with.*: +accuracy.*$", README, flags=re.MULTILINE)
    assert len(promised) == 2
    assert set(promised) <= {line.strip() for line in (ROOT / "examples" / "sleep_callback.py").read_text().split("\n")}


def test_in_every_seed_is_in_every_seed() -> None:
    def higher(name: str, data: str, arm: str, other: str, measure: str, seeds: int) -> bool:
        ours, theirs = (by_seed(name, data, each, measure) for each in (arm, other))
        return len(ours) == seeds and all(ours[seed] > theirs[seed] for seed in ours)

    assert higher("empty-room", "mnist_100", "dreams_perturbed", "nothing", "accuracy", 10)
    assert higher("empty-room", "mnist_100", "dreams_moved", "dreams_perturbed", "accuracy", 10)
    assert higher("snake", "mnist", "perturbed_codes", "replace", "recall", 3)
    assert higher("snake", "mnist", "replace", "perturbed_codes", "accuracy", 3)


def test_the_generator_of_the_room_keeps_more_bytes_than_its_images() -> None:
    assert ClassConditionalVAE((1, 28, 28), 10).nbytes > 8 * 100 * 28 * 28

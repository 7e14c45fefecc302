"""The page: whole in one file, true to the statistics, safe against names, and looked at in a real browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dreamer.compare import scores
from dreamer.compare.analysis import analyse
from dreamer.compare.page import write_page
from dreamer.compare.page_tables import cells_table
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.core.text import MINUS, percent, signed
from dreamer.jobs.runner import Missing
from dreamer.metrics.continual import average_seen, summarise
from dreamer.report.svg import Scale
from tests.helpers.made_up_runs import fake_results

ARMS = {"er": 0.80, "dreams": 0.95, "none": 0.50}
NASTY = '</script><script>document.title="run"</script><img src=x onerror=alert(1)>&"\''


def results(level: float, seed: int, sleep: bool = False, experiences: int = 5) -> dict[str, Any]:
    """What ``results.json`` holds of a run whose accuracies are about so high."""
    made = fake_results(experiences, seed=seed, sleep=sleep)
    noise = random.Random(f"{level} {seed}")
    for row in made["accuracy_matrix"]["rows"]:
        row["accuracy"] = [min(1.0, value * level + 0.02 * noise.random()) for value in row["accuracy"]]
    made["metrics"] = dict(summarise(made["accuracy_matrix"]["rows"]))
    made["cost"]["bytes"] |= {"memory": 0 if sleep else 160_000, "teacher": 0, "plasticity": 0}
    made["cost"]["bytes"]["generator"] = 357_932 if sleep else 0
    made["cost"]["seconds"]["wake"] += noise.random()
    made["config"] = {"memory": {"name": "reservoir", "capacity": 200}, "seed": seed}
    made["versions"] = {"python": "3.11.7", "torch": "2.15.0", "dreamer": None}
    return made


def compared(seeds: int = 3, arms: dict[str, float] = ARMS, streams: tuple[str, ...] = ("digits",), **more: Any):
    """A comparison of made-up runs; arms with dreams in their name sleep."""
    runs = [
        CompletedRun(arm, stream, seed, results(level, seed, sleep="dreams" in arm))
        for stream in streams
        for arm, level in arms.items()
        for seed in range(seeds)
    ]
    given = {"title": "a trial", "runs": tuple(runs), "missing": (), "reference": next(iter(arms)), **more}
    return Comparison(**given)


def page(comparison: Comparison, directory: Path) -> str:
    return write_page(comparison, analyse(comparison), directory).read_text(encoding="utf-8")


class Reader(HTMLParser):
    """All tags with their attributes, the visible text of table cells, and the blocks of numbers by name."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: dict[str, list[list[str]]] = {}
        self.numbers: dict[str, dict[str, Any]] = {}
        self.text = ""
        self._table = self._name = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        self._open.append(tag)
        if tag == "table":
            self._table = given.get("id") or ""
            self.cells[self._table] = []
        elif tag == "tr":
            self.cells[self._table].append([])
        elif tag in ("td", "th"):
            self.cells[self._table][-1].append("")
        self._name = given.get("data-name") or self._name

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            if data.lstrip().startswith("{"):
                self.numbers[self._name] = json.loads(data)
            return
        if "style" in self._open:
            return
        self.text += data
        if {"td", "th"} & set(self._open):
            self.cells[self._table][-1][-1] += data.strip() + " " * ("small" not in self._open)

    def column(self, name: str, title: str) -> list[Any]:
        table = self.numbers[name]
        return [row[table["header"].index(title)] for row in table["rows"]]


def test_the_page_needs_nothing_but_itself(tmp_path):
    text = page(compared(streams=("digits", "tiny")), tmp_path / "new")
    assert (tmp_path / "new" / "report.html").is_file()
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in text and "url(" not in text
    for tag, given in Reader(text).tags:
        assert tag not in ("iframe", "object", "embed", "base")
        for key in ("src", "href", "xlink:href", "action"):
            if given.get(key):
                beside = ("./results.csv", "./results.json", "./table.md", "./table.tex") if tag == "a" else ()
                assert given[key].startswith(("data:", "#", *beside)), (tag, given)
        assert not any(key.startswith("on") for key in given)


def test_only_the_script_of_the_page_may_run(tmp_path):
    text = page(compared(), tmp_path)
    script = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(script) == 1
    allowed = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in text and "default-src 'none'" in text


def test_the_same_comparison_gives_the_same_page(tmp_path):
    assert page(compared(), tmp_path / "a") == page(compared(), tmp_path / "b")


def test_the_table_holds_the_numbers_of_the_analysis(tmp_path):
    comparison = compared(seeds=8)
    analysis = analyse(comparison)
    read = Reader(page(comparison, tmp_path))
    rows = {row[0].split()[0]: row for row in read.cells["digits-1-table"][1:]}
    assert list(rows) == ["dreams", "er", "none"], "the most accurate first"
    for arm, row in rows.items():
        standing = analysis.of(arm, "digits")
        assert f"{percent(standing.accuracy.mean, 2)} ± {percent(standing.accuracy.std, 2)}" in row[2]
        assert f"{percent(standing.accuracy.low, 2)} to {percent(standing.accuracy.high, 2)}" in row[2]
        assert int(row[1]) == standing.accuracy.n == 8
        if standing.paired:
            assert row[3].startswith(signed(standing.paired.difference, 2))
            assert float(row[5]) == pytest.approx(standing.paired.p_holm, abs=5e-4)
            assert standing.paired.verdict in row[6]
        else:
            assert row[6].strip() == "reference"
        assert float(row[7]) == pytest.approx(standing.rank, abs=5e-3)
    table = "digits-1-table"
    assert read.column(table, "arm") == ["dreams", "er", "none"]
    for title, of in (
        ("accuracy_mean", lambda row: row.accuracy.mean),
        ("difference_low", lambda row: row.paired.low if row.paired else None),
        ("p", lambda row: row.paired.p if row.paired else None),
        ("steps", lambda row: row.costs.steps),
        ("bytes_kept", lambda row: row.costs.bytes_kept),
    ):
        assert read.column(table, title) == [of(analysis.of(arm, "digits")) for arm in rows], title


def test_costs_have_a_table_of_their_own_and_the_tables_are_linked(tmp_path):
    comparison = compared(seeds=1)
    for run in comparison.runs:
        run.results["cost"]["stores"] = "nothing" if run.arm == "dreams" else "samples"
    read = Reader(page(comparison, tmp_path))
    assert read.column("digits-1-spent", "Stores real samples") == ["nothing", "samples", "samples"]
    linked = [given["href"] for tag, given in read.tags if tag == "a" and str(given.get("href")).startswith("./")]
    assert linked == ["./table.tex", "./table.md", "./results.csv", "./results.json"]


def test_every_run_is_listed_with_what_it_was_measured_by(tmp_path):
    comparison = compared(seeds=1)
    plain = cells_table(comparison, tmp_path)
    assert not {"Stability gap", "Recency bias"} & {column.label for column in plain.columns}
    comparison.runs[1].results["metrics"] |= {"stability_gap": 0.25, "recency_bias": 0.125}
    table = cells_table(comparison, tmp_path)
    labels = [column.label for column in table.columns]
    for label, text, value in (("Stability gap", "25.00", 0.25), ("Recency bias", "12.50", 0.125)):
        place = labels.index(label)
        assert (table.rows[1][place].text, table.rows[1][place].value) == (text, value)
        assert table.rows[0][place].value is None and not table.columns[place].falls
    assert {len(row) for row in table.rows} == {len(labels)}


def test_figures_carry_the_numbers_that_they_show(tmp_path):
    comparison = compared()
    read = Reader(page(comparison, tmp_path))
    found = read.numbers["digits-1-accuracy"]
    assert {(arm, seed): value for arm, seed, value in found["rows"]} == {
        (run.arm, run.seed): run.average_accuracy for run in comparison.runs
    }
    run = comparison.of("dreams", "digits")[1]
    expected = [
        [row["after"], row["experience"], row["global_step"], average_seen(row["accuracy"], row["experience"])]
        for row in run.results["accuracy_matrix"]["rows"]
        if row["after"] != "birth"
    ]
    curves = [row[2:] for row in read.numbers["digits-1-learning-curves"]["rows"] if row[:2] == ["dreams", 1]]
    assert curves == expected
    base = comparison.of("er", "digits")
    for arm, seed, value in read.numbers["digits-1-differences"]["rows"]:
        own = comparison.of(arm, "digits")[seed].average_accuracy
        assert value == pytest.approx(own - base[seed].average_accuracy)
    for arm, seed, night, before, after in read.numbers["digits-1-nights"]["rows"]:
        rows = comparison.of(arm, "digits")[seed].results["accuracy_matrix"]["rows"]
        place = next(i for i, row in enumerate(rows) if row["night"] == night)
        assert before == average_seen(rows[place - 1]["accuracy"], rows[place]["experience"])
        assert after == average_seen(rows[place]["accuracy"], rows[place]["experience"])


def test_few_seeds_conclude_nothing_and_many_may(tmp_path):
    few, many = (Reader(page(compared(seeds=seeds), tmp_path)).text for seeds in (3, 9))
    assert "Nothing can be concluded about any arm against er" in few
    assert "Better than er" not in few and "Worse than er" not in few
    assert re.search(r"Better than er: dreams \(\+\d", many) and re.search(rf"Worse than er: none \({MINUS}", many)
    assert "no p below 2/2^3 = 0.25 is possible" in few


def test_alike_arms_are_not_distinguished(tmp_path):
    comparison = compared(seeds=8, arms={"er": 0.8, "twin": 0.8})
    text = Reader(page(comparison, tmp_path)).text
    assert "No difference to er was shown for twin." in text and "is that of er and twin" in text


def test_names_are_shown_and_never_run(tmp_path):
    arms = {NASTY: 0.8, "dreams" + NASTY: 0.9}
    comparison = compared(
        seeds=2,
        arms=arms,
        streams=(NASTY,),
        title=NASTY,
        missing=(Missing(NASTY, NASTY, 7, NASTY),),
        warnings=(NASTY,),
        command=NASTY,
    )
    for run in comparison.runs:
        run.results["config"][NASTY] = NASTY
        run.results["versions"][NASTY] = NASTY
        run.results["protocol"][NASTY] = NASTY
    text = page(comparison, tmp_path)
    read = Reader(text)
    assert [tag for tag, _ in read.tags].count("img") == 0
    assert not any("onerror" in given for _, given in read.tags)
    assert all(given.get("type") == "application/json" for tag, given in read.tags[:-1] if tag == "script" and given)
    assert sum(tag == "script" and not given for tag, given in read.tags) == 1
    assert NASTY in read.text and NASTY in json.dumps(read.numbers, ensure_ascii=False).replace('\\"', '"')


def test_missing_cells_are_named_with_their_reason(tmp_path):
    whole = compared()
    without = tuple(run for run in whole.runs if (run.arm, run.seed) != ("none", 1))
    gaps = (Missing("none", "digits", 1, "failed twice: out of memory"), Missing("bir", "digits", 0, "not run yet"))
    read = Reader(page(compared(runs=without, missing=gaps), tmp_path))
    assert [[cell.strip() for cell in row] for row in read.cells["missing-cells"][1:]] == [
        ["digits", "none", "1", "failed twice: out of memory"],
        ["digits", "bir", "0", "not run yet"],
    ]
    assert "missing-cells" not in Reader(page(whole, tmp_path)).cells
    assert dict(zip(read.column("digits-1-table", "arm"), read.column("digits-1-table", "n"), strict=True)) == {
        "dreams": 3,
        "er": 3,
        "none": 2,
        "bir": 0,
    }


@pytest.mark.parametrize(
    "comparison",
    [
        compared(seeds=1),
        compared(arms={"er": 0.8}),
        compared(seeds=1, arms={"er": 0.8}),
        compared(runs=(), missing=(Missing("er", "digits", 0, "not run yet"),)),
        compared(reference="not there"),
        compared(runs=tuple(CompletedRun(a, "one", 0, results(0.8, 0, experiences=1)) for a in ARMS)),
        compared(runs=tuple(CompletedRun(a, "long", 0, results(0.8, 0, "d" in a, experiences=40)) for a in ARMS)),
        compared(seeds=2, arms={f"arm {i}": 0.5 + i / 100 for i in range(20)}),
    ],
    ids=["one seed", "one arm", "one run", "no run", "no reference", "one experience", "many", "many arms"],
)
def test_every_comparison_has_its_page(tmp_path, comparison):
    read = Reader(page(comparison, tmp_path))
    assert "cells" in read.cells and len(read.cells["cells"]) == len(comparison.runs) + 1
    assert not re.search(r"\b(nan|inf|None|null)\b", read.text)


def test_results_that_say_little_are_shown_as_far_as_they_go(tmp_path):
    comparison = compared()
    poor = comparison.of("none", "digits")
    for run in poor.values():
        run.results["accuracy_matrix"]["rows"] = run.results["accuracy_matrix"]["rows"][:3]
        run.results["metrics"] = dict.fromkeys(run.results["metrics"])
        for part in ("hypnogram", "cost", "protocol", "config", "versions"):
            run.results.pop(part)
    for row in comparison.of("er", "digits")[0].results["accuracy_matrix"]["rows"]:
        row["accuracy"][1] = None
    read = Reader(page(comparison, tmp_path))
    assert not re.search(r"\b(nan|inf|None|null)\b", read.text)
    assert read.column("digits-1-table", "accuracy_mean")[-1] is None


def test_drawings_are_whole_and_speak(tmp_path):
    text = page(compared(streams=("digits", "tiny")), tmp_path)
    drawings = re.findall(r"<svg .*?</svg>", text, re.S)
    assert len(drawings) > 30
    space = "{http://www.w3.org/2000/svg}"
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        title, words = root.find(f"{space}title"), root.find(f"{space}desc")
        assert words.text, "a drawing has words for those who do not see it"
        assert root.get("aria-labelledby").split() == [title.get("id"), words.get("id")]
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    anchors = re.findall(r'href="#([^"]+)"', text)
    assert anchors and set(anchors) <= set(ids)


def test_an_interval_beyond_the_axis_says_so(tmp_path):
    comparison = compared(seeds=2)
    arm = comparison.of("none", "digits")
    arm[0].results["metrics"]["average_accuracy"], arm[1].results["metrics"]["average_accuracy"] = 0.2, 0.6
    figure = scores.accuracies(comparison, analyse(comparison), "digits", "k")
    assert figure.panels[0].markup("k").count('class="arrow"') == 2
    calm = compared(seeds=8)
    assert "arrow" not in scores.accuracies(calm, analyse(calm), "digits", "k").panels[0].markup("k")


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.01, 0.07), (1.0, 3.0), (7.0, 1e7), (0.5, 0.5001)])
def test_ticks_are_few_round_and_within(low, high, log):
    scale = Scale(low, high, 0.0, 100.0, log)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 6 and ticks == sorted(set(ticks))
    assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in ticks)
    assert (scale(low), scale(high)) == pytest.approx((0.0, 100.0))


def gallery(folder: Path, side: int, seed: int = 0) -> Path:
    """A run folder with pictures of noise, which no compression makes small."""
    image = pytest.importorskip("PIL.Image")
    (folder / "dreams").mkdir(parents=True)
    for night, shade in ((2, 0), (10, 255)):
        picture = image.frombytes("L", (side, side), random.Random(seed).randbytes(side * side))
        picture.paste(shade, (0, 0, side // 2, side))
        picture.save(folder / "dreams" / f"night_{night:02}.png")
    return folder


def test_dreams_of_the_last_night_travel_with_the_page(tmp_path):
    folder = gallery(tmp_path / "cells" / "digits" / "dre ams" / "seed0", 60)
    runs = tuple(
        CompletedRun(run.arm, run.stream, run.seed, run.results, folder if run.arm == "dreams" else None)
        for run in compared().runs
    )
    text = page(compared(runs=runs), tmp_path)
    pictures = re.findall(r'href="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == 1
    from PIL import Image

    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).convert("L").getpixel((1, 1)) == 255, "night 10, not 2"
    assert 'href="./cells/digits/dre%20ams/seed0/"' in text
    assert "Without a gallery: er, none." in text


def test_many_large_dreams_make_no_endless_page(tmp_path):
    arms = {f"dreams {i}": 0.8 for i in range(16)}
    folder = gallery(tmp_path / "run", 1400)
    broken = tmp_path / "broken"
    (broken / "dreams").mkdir(parents=True)
    (broken / "dreams" / "night_00.png").write_bytes(b"no picture")
    runs = tuple(
        CompletedRun(run.arm, run.stream, run.seed, run.results, broken if run.arm == "dreams 3" else folder)
        for run in compared(seeds=1, arms=arms).runs
    )
    text = page(compared(arms=arms, runs=runs), tmp_path / "out")
    assert len(text) < 10_000_000
    assert len(re.findall(r'href="data:image/', text)) == 15
    assert "Without a gallery: dreams 3." in text


def test_protocols_that_differ_are_shown_to_differ(tmp_path):
    comparison = compared()
    comparison.of("none", "digits")[1].results["protocol"]["active_outputs"] = "seen"
    comparison.of("none", "digits")[1].results["protocol"]["class_order"] = [[9, 8]]
    read = Reader(page(comparison, tmp_path))
    assert "none (1 of 9 runs)" in read.text
    assert any("9 8" in cell and "none" in cell for row in read.cells[""] for cell in row)

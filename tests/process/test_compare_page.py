"""The page of a comparison, looked at in a real browser."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dreamer.compare.analysis import analyse
from dreamer.compare.page import write_page
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.jobs.runner import Missing
from tests.compare.test_page import ARMS, Reader, compared, gallery


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A page with everything that a page may have."""
    directory = tmp_path_factory.mktemp("report")
    folder = gallery(directory / "run", 200)
    arms = ARMS | {"avalanche:GenerativeReplay with a name that goes on and on": 0.7, "<script>alert(1)</script>": 0.6}
    made = compared(seeds=3, arms=arms, streams=("digits", "a_stream_with_a_very_long_name_without_a_space"))
    runs = tuple(
        CompletedRun(run.arm, run.stream, run.seed, run.results, folder if run.arm == "dreams" else None)
        for run in made.runs
    )
    comparison = Comparison(
        "Dreams against verbatim replay",
        runs,
        (Missing("none", "digits", 3, "failed: out_of_memory_" * 12),),
        "er",
        ("dreams took 1.5 times the steps of er.",),
        "dreamer compare er dreams none --out " + "x" * 200,
    )
    return write_page(comparison, analyse(comparison), directory)


SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture
def opened(browser, report, request) -> Iterator[Any]:
    """The page at a width and in a colour scheme; it must print nothing on the console and request nothing."""
    size, scheme = getattr(request, "param", ("desktop", "light"))
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: said.append(f"error: {error}"))
    tab.on("request", lambda sent: sent.url.startswith(("file:", "data:", "blob:")) or said.append(sent.url))
    tab.on("dialog", lambda dialog: (said.append("a dialog"), dialog.dismiss()))
    tab.goto(report.as_uri())
    yield tab
    context.close()
    assert said == []


@pytest.mark.parametrize("opened", [(size, scheme) for size in SIZES for scheme in ("light", "dark")], indirect=True)
def test_the_page_fits_every_screen_and_scheme(opened):
    opened.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    wide = opened.evaluate(
        """[...document.querySelectorAll("main > *, header > *, figure, .panel svg, .table, details")]
        .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5)
        .map((each) => each.className || each.id)"""
    )
    assert wide == []
    ground, ink = opened.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
    )
    bright = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ground, ink)]
    dark = opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert abs(bright[0] - bright[1]) > 400 and (bright[0] < bright[1]) == dark


@pytest.mark.parametrize("opened", [("desktop", "light"), ("desktop", "dark")], indirect=True)
def test_words_stand_out_from_their_ground(opened):
    """WCAG's contrast of at least 4.5 for every colour of text on the two grounds."""
    light = """(() => {
      const style = getComputedStyle(document.documentElement);
      const level = (name) => {
        const value = parseInt(style.getPropertyValue(name).trim().slice(1), 16);
        const part = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
        return 0.2126 * part(value >> 16) + 0.7152 * part((value >> 8) & 255) + 0.0722 * part(value & 255);
      };
      const names = ["--ground", "--raised", "--ink", "--soft", "--accent", "--reference"];
      return Object.fromEntries(names.map((name) => [name, level(name)]));
    })()"""
    found = opened.evaluate(light)
    for ground in ("--ground", "--raised"):
        for ink in ("--ink", "--soft", "--accent", "--reference"):
            low, high = sorted((found[ground], found[ink]))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ground, ink)


def order(tab: Any, column: int) -> list[str]:
    return tab.locator("#digits-1-table tbody tr").evaluate_all(
        f"(rows) => rows.map((row) => row.cells[{column}].dataset.value)"
    )


def test_a_heading_sorts_by_mouse_and_by_key(opened):
    heads = opened.locator("#digits-1-table thead th")
    assert heads.nth(2).get_attribute("aria-sort") == "descending"
    accuracies = [float(value) for value in order(opened, 2)]
    assert accuracies == sorted(accuracies, reverse=True)
    heads.nth(2).locator("button").click()
    assert heads.nth(2).get_attribute("aria-sort") == "ascending"
    assert [float(value) for value in order(opened, 2)] == sorted(accuracies)
    heads.nth(2).locator("button").click()
    assert heads.nth(2).get_attribute("aria-sort") == "descending"
    assert [float(value) for value in order(opened, 2)] == accuracies
    heads.nth(0).locator("button").focus()
    opened.keyboard.press("Enter")
    assert [head.get_attribute("aria-sort") for head in heads.all()[:3]] == ["ascending", "none", "none"]
    assert order(opened, 0)[0] in (
        "<script>alert(1)</script>",
        "avalanche:GenerativeReplay with a name that goes on and on",
    )
    for _ in range(2):
        heads.nth(3).locator("button").click()
        assert order(opened, 3)[-1] == "", "what has no value stays last, whichever way"


def test_main_tables_need_no_scrolling_on_a_desktop(opened):
    """Names that go on and on are broken; what is folded may be wider than the page, and scrolls in its box."""
    hidden = opened.evaluate(
        """[...document.querySelectorAll("main > section > .table .scroll")]
        .map((box) => box.scrollWidth - box.clientWidth)"""
    )
    assert len(hidden) >= 4 and max(hidden) <= 0


def test_arms_can_be_left_out(opened):
    def shown(where: str) -> set[str]:
        found = opened.locator(f"{where}[data-arm]").evaluate_all(
            "(all) => all.filter((each) => each.getClientRects().length).map((each) => each.dataset.arm)"
        )
        return {arm for arm in found if arm in ARMS}

    tables, panels, drawn = "#digits-1-table tr", "#digits-1-matrices .panel", "#digits-1-accuracy polygon"
    opened.locator(".filter summary").click()
    opened.get_by_role("checkbox", name="none", exact=True).uncheck()
    for where in (tables, "#digits-1-spent tr", panels, drawn):
        assert shown(where) == {"er", "dreams"}, where
    _, drawing = saved(opened, "digits-1-accuracy", "svg")
    assert b">none<" not in drawing and b">dreams<" in drawing
    opened.get_by_role("button", name="Clear").click()
    assert shown(tables) == set()
    opened.get_by_role("button", name="All", exact=True).click()
    for where in (tables, panels, drawn):
        assert shown(where) == set(ARMS), where


def saved(tab: Any, home: str, kind: str) -> tuple[str, bytes]:
    with tab.expect_download() as waiting:
        tab.locator(f'[data-name="{home}"] button[data-save={kind}]').click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def same(text: str, value: Any) -> bool:
    """Whether a field of a CSV file says what JSON says."""
    if value is None or isinstance(value, (bool, str)):
        return text == {None: "", True: "true", False: "false"}.get(value, value)
    return float(text) == value


@pytest.mark.parametrize("opened", [("desktop", "light"), ("phone", "dark")], indirect=True)
def test_figures_and_numbers_can_be_saved(opened, report):
    written = Reader(report.read_text(encoding="utf-8")).numbers
    names = [f"digits-1-{name}" for name in ("accuracy", "costs", "matrices", "dreams")]
    for name in names:
        file, drawing = saved(opened, name, "svg")
        assert file == f"{name}.svg"
        text = drawing.decode()
        ElementTree.fromstring(text)
        assert "var(" not in text and "class=" not in text, "a saved drawing needs no style sheet"
        file, picture = saved(opened, name, "png")
        assert file == f"{name}.png" and picture.startswith(b"\x89PNG")
        colours = pytest.importorskip("PIL.Image").open(io.BytesIO(picture)).convert("RGB")
        assert min(colours.size) > 200 and colours.getpixel((3, 3)) == (255, 255, 255), "on white paper in every scheme"
        assert len(colours.resize((100, 100)).getcolors(10_000)) > 20
    for name in [*names, "digits-1-table"]:
        file, numbers = saved(opened, name, "csv")
        lines = list(csv.reader(io.StringIO(numbers.decode("utf-8-sig"))))
        assert file == f"{name}.csv" and lines[0] == written[name]["header"]
        assert len(lines) == len(written[name]["rows"]) + 1
        for line, row in zip(lines[1:], written[name]["rows"], strict=True):
            for text, value in zip(line, row, strict=True):
                assert same(text, value), (text, value)


def test_on_paper_everything_is_unfolded(opened):
    opened.emulate_media(media="print")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("details:not([open])").count() == 0
    assert not opened.locator(".tools").first.is_visible()
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.locator("details[open]").count() == 0

"""Every part has a page, and what the page says of it holds: headings, examples, cost, quoted numbers, links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer import config
from dreamer.config import registry
from dreamer.config.binding import ComponentSpec
from dreamer.runs.run_config import RunConfig, run_config
from tests.helpers.pages import CHECKOUT, Block, blocks
from tests.project import test_docs

ROOT = CHECKOUT / "docs" / "parts"
HEADINGS = ("Idea", "When to use it", "Example", "Cost", "Result")
BASE = "digits"
PARTS = [(family, name) for family in registry.FAMILIES for name in registry.names(family)]
QUOTED = re.compile(r"\d+(?:\.\d+)? ± \d+(?:\.\d+)?")

every_part = pytest.mark.parametrize(("family", "name"), PARTS, ids=lambda word: word)


def page_of(family: str, name: str) -> Path:
    path = ROOT / family / f"{name}.md"
    assert path.is_file(), f"{name} of the {family} has no page: write {path.relative_to(CHECKOUT)}"
    return path


def sections(page: Path) -> dict[str, str]:
    """The text under every heading, hashes included, in order; a hash within a fence is no heading."""
    found: dict[str, list[str]] = {}
    heading, fenced = "", False
    for line in page.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            heading = line
            assert heading not in found, f"{page.name} has {heading!r} twice"
        found.setdefault(heading, []).append(line)
    return {heading: "\n".join(lines[heading != "" :]).strip() for heading, lines in found.items()}


def examples(page: Path, language: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == language]


def laid_over(text: str) -> dict[str, Any]:
    """A fragment of a page over the embedded digits."""
    from omegaconf import OmegaConf

    fragment = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(fragment, dict), f"expected keys with values, got {text!r}"
    return config.read(BASE, fragment)


def targets(value: object) -> Iterator[object]:
    """What a component builds, and what its options build."""
    if isinstance(value, ComponentSpec):
        yield value.target
        value = value.options
    if isinstance(value, Mapping):
        value = list(value.values())
    for item in value if isinstance(value, list | tuple) else ():
        yield from targets(item)


def plan(drafted: RunConfig) -> None:
    """Build what was drafted and see whether it can be planned, as ``dreamer plan`` does."""
    stream = drafted.stream.build()
    with torch.random.fork_rng(devices=[]):
        drafted.build_module(stream).plan(stream)


def test_no_page_is_without_a_part() -> None:
    written = {path.relative_to(ROOT).with_suffix("").parts for path in ROOT.glob("*/*")}
    assert written <= set(PARTS), f"no such parts: {sorted(written - set(PARTS))}"


@every_part
def test_a_page_has_its_headings_in_order(family: str, name: str) -> None:
    found = sections(page_of(family, name))
    title = f"# {registry.resolve(family, name).__name__}"
    assert list(found) == [title, *(f"## {heading}" for heading in HEADINGS)]
    assert all(found.values()), "a section is empty"


@every_part
def test_a_configuration_takes_the_example(family: str, name: str) -> None:
    found = examples(page_of(family, name), "yaml")
    assert found, "expected a YAML fragment"
    for block in found:
        drafted = run_config(laid_over(block.text))
        assert registry.resolve(family, name) in targets(drafted.module), f"the fragment holds no {name}"
        plan(drafted)


@every_part
def test_the_python_of_a_page_runs(family: str, name: str) -> None:
    page = page_of(family, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in examples(page, "python"):
            # as many lines above as in the page, so that a traceback names the page's line
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(page), "exec"), {"__name__": "__main__"})


@every_part
def test_the_cost_says_whether_it_grows(family: str, name: str) -> None:
    cost = sections(page_of(family, name))["## Cost"]
    assert cost.count("Grows with the stream") == 1
    assert re.search(r"^Grows with the stream: (?:no\.$|yes: \S)", cost, flags=re.M)


@every_part
def test_numbers_are_those_that_were_measured(family: str, name: str) -> None:
    """A mean with its spread stands in a table that a script has written."""
    sources = [CHECKOUT / "README.md", CHECKOUT / "docs" / "reproductions.md"]
    measured = "".join(path.read_text(encoding="utf-8") for path in sources if path.exists())
    known = set(QUOTED.findall(measured))
    quoted = set(QUOTED.findall(sections(page_of(family, name))["## Result"]))
    assert quoted <= known, f"no table holds {sorted(quoted - known)}"


@every_part
def test_a_page_leads_somewhere(family: str, name: str) -> None:
    page = page_of(family, name)
    test_docs.test_links_lead_somewhere(page)
    test_docs.test_the_files_that_a_page_names_are_there(page)

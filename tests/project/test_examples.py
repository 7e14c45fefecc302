"""Every example opens with its command, and says what to expect."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = sorted((CHECKOUT / "examples").glob("*.py"))


def docstring(example: Path) -> str:
    return ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""


def expected(example: Path) -> list[str]:
    """The indented lines that follow the word "Expect"."""
    return re.findall(r"^ {4}(\S.*)$", docstring(example).partition("Expect")[2], flags=re.M)


def fits(line: str, said: str) -> bool:
    """Whether a printed line is the expected one, where ``> 0.8`` and ``< 0.8`` stand for a number above or below."""
    bounds = re.findall(r"([<>]) (\d[\d.]*)", line)
    found = re.fullmatch(r"(\d[\d.]*)".join(map(re.escape, re.split(r"[<>] \d[\d.]*", line))), said)
    return found is not None and all(
        float(number) > float(bound) if sign == ">" else float(number) < float(bound)
        for number, (sign, bound) in zip(found.groups(), bounds, strict=True)
    )


@pytest.mark.parametrize(
    ("line", "said", "right"),
    [
        ("as it is: True", "as it is: True", True),
        ("as it is: True", "as it is: False", False),
        ("accuracy > 0.8 (of 1)", "accuracy 0.81 (of 1)", True),
        ("accuracy > 0.8", "accuracy 0.79", False),
        ("accuracy < 0.25", "accuracy 0.2", True),
        ("accuracy < 0.25", "accuracy 0.3", False),
        ("accuracy < 0.25", "accuracy nan", False),
    ],
)
def test_what_was_said_is_held_against_what_was_expected(line: str, said: str, right: bool) -> None:
    assert fits(line, said) == right


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_opens_with_its_command(example: Path) -> None:
    assert re.search(rf"^ {{4}}python examples/{example.name}\b", docstring(example), flags=re.M)
    assert expected(example)


def test_there_is_one_for_everything_that_people_begin_with() -> None:
    assert {
        "plain_lightning",
        "sleep_callback",
        "avalanche_plugin",
        "own_images",
        "own_tensors",
        "new_generator",
        "new_perturbation",
        "compare_strategies",
        "wandb_run",
        "resume",
        "several_devices",
        "task_free",
        "fine_tune_language_model",
    } <= {example.stem for example in EXAMPLES}

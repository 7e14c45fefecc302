"""Every part refuses options of another kind, wherever they come from, in one sentence that names the option."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import pytest

from dreamer.config import registry
from dreamer.config.binding import parameters
from dreamer.core.arguments import checked

GIVEN: dict[str, Any] = {
    "sample_shape": (1, 8, 8),
    "num_classes": 4,
    "outputs": 4,
    "capacity": 10,
    "n": 5,
    "night_steps": 5,
}
WRONG: list[tuple[Any, list[Any]]] = [
    (bool, ["no", 2]),
    (float, [math.nan, math.inf, -math.inf, "0.5", True, object()]),
    (int, [1.5, True, "10", math.nan, math.inf, object()]),
    (str, [3, True, object()]),
]
LANGUAGE = {"decoder", "own_words", "causal_lm", "backbone"}
"""Parts that are made for other samples, or read files."""


def parts() -> list[tuple[str, str]]:
    return [
        (family, name)
        for family in registry.FAMILIES
        for name in registry.names(family)
        if name not in LANGUAGE and not inspect.isabstract(registry.resolve(family, name))
    ]


def alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) not in (Literal, None) and type(None) in get_args(hint) else (hint,)


def wrong(hint: Any) -> list[Any]:
    """Values that an option with an annotation cannot have; none where it is of no plain kind."""
    known = alternatives(hint)
    if any(get_origin(each) is Literal for each in known):
        return ["nonsense", 3, object()]
    return next((values for kind, values in WRONG if kind in known), [])


@pytest.mark.parametrize(("family", "name"), parts())
def test_an_option_of_another_kind_is_refused(family: str, name: str) -> None:
    part = registry.resolve(family, name)
    known = parameters(part)
    given = {key: GIVEN[key] for key, each in known.items() if each.default is inspect.Parameter.empty}
    part(**given)
    for key, parameter in known.items():
        for value in wrong(parameter.annotation):
            with pytest.raises(ValueError, match=key) as refused:
                part(**{**given, key: value})
            assert "\n" not in str(refused.value) and "got" in str(refused.value)


@checked
def call(
    count: int = 1,
    rate: float = 0.5,
    sure: bool = True,
    how: Literal["this", "that"] = "this",
    names: Sequence[str] = (),
    either: int | Sequence[int] | None = None,
) -> str:
    return f"{count} {rate}"


@pytest.mark.parametrize(
    "given",
    [
        {"count": 3},
        {"rate": 1},
        {"names": ("a", "b")},
        {"names": []},
        {"either": None},
        {"either": [1, 2]},
        {"either": 3},
        {"how": "that"},
    ],
)
def test_what_fits_is_let_pass(given: dict[str, Any]) -> None:
    assert call(**given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"count": 1.5}, "expected count to be a whole number, got 1.5"),
        ({"count": True}, "expected count to be a whole number, got True"),
        ({"rate": math.nan}, "expected rate to be a finite number, got nan"),
        ({"sure": "no"}, "expected sure to be True or False, got 'no'"),
        ({"how": "those"}, "expected how to be one of 'this', 'that', got 'those'"),
        ({"names": "abc"}, r"expected names to be a list \(each a text\), got 'abc'"),
        ({"names": [1]}, r"expected names to be a list \(each a text\), got \[1\]"),
        ({"either": 1.5}, r"expected either to be a whole number or a list \(each a whole number\) or None, got 1.5"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call(**given)


def test_a_missing_argument_is_pythons_to_name() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'counts'"):
        call(counts=3)

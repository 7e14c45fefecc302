"""Every schedule keeps the same promises."""

from __future__ import annotations

import inspect

import pytest

from dreamer import parts
from dreamer.hypnogram import Hypnogram, Stretch
from dreamer.planning import Schedule
from dreamer.schedules import Boundary, EveryNSteps

NAMES = parts.names("schedules")


def make(name: str) -> Schedule:
    """A schedule with its defaults, and with 3 for every number that it insists on."""
    part = parts.resolve("schedules", name)
    parameters = inspect.signature(part).parameters.values()
    return part(**{each.name: 3 for each in parameters if each.default is each.empty})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lengths", [(1,), (7, 7, 7), (1, 1, 1, 1), (2, 300, 5)])
def test_every_step_is_lived_once_and_every_stretch_has_one(name: str, lengths: tuple[int, ...]) -> None:
    lived = 0
    days = []
    for number, steps in enumerate(lengths):
        stretches = make(name).cut(steps, lived, last=number == len(lengths) - 1)
        assert sum(stretch.steps for stretch in stretches) == steps
        assert all(stretch.steps >= 1 for stretch in stretches)
        days.append(stretches)
        lived += steps
    assert Hypnogram.plan(days, [("nrem", 1)]).steps()["wake"] == sum(lengths)


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_can_be_made_twice(name: str) -> None:
    schedule = make(name)
    first = [schedule.cut(10, lived, last=False) for lived in (0, 10, 20)]
    assert first == [schedule.cut(10, lived, last=False) for lived in (0, 10, 20)]


def test_a_night_after_every_experience() -> None:
    assert Boundary().cut(9, lived=4, last=False) == [Stretch(9, True)]


def test_nights_every_few_steps_of_the_whole_life() -> None:
    assert EveryNSteps(4).cut(9, lived=2, last=False) == [Stretch(2, True), Stretch(4, True), Stretch(3, False)]
    assert EveryNSteps(4).cut(2, lived=2, last=True) == [Stretch(2, True)]
    assert EveryNSteps(4).cut(3, lived=0, last=True) == [Stretch(3, True)]
    assert EveryNSteps(4, at_end=False).cut(3, lived=0, last=True) == [Stretch(3, False)]
    with pytest.raises(ValueError, match="at least 1 wake step"):
        EveryNSteps(0)

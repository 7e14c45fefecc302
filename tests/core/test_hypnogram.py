"""A plan holds every stage in order; open nights come or go without leaving gaps."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from dreamer.core.hypnogram import Hypnogram, Stretch
from dreamer.core.types import Stage

NIGHT = [("nrem", 2), ("rem", 3)]


def open_plan(cycles: int = 1) -> Hypnogram:
    """Two experiences: nights 0 and 1 are open, 2 is certain, 3 is open, 4 certain; one stretch has none."""
    days = [
        [Stretch(5, None), Stretch(5, None), Stretch(5, True)],
        [Stretch(4, None), Stretch(4, False), Stretch(1, True)],
    ]
    return Hypnogram.plan(days, NIGHT, cycles)


def wake(plan: Hypnogram) -> list[Stage]:
    return [stage for stage in plan if stage.kind == "wake"]


def test_open_nights_are_planned_and_marked() -> None:
    plan = open_plan()
    assert plan.nights == 5
    assert {stage.night for stage in plan if stage.tentative} == {0, 1, 3}
    assert not any(stage.tentative for stage in wake(plan))
    assert plan.steps() == {"wake": 24, "nrem": 10, "rem": 15}
    assert plan.bounds() == (24 + 2 * 5, 24 + 5 * 5)


def test_wake_before_an_open_night_is_evaluated_at_the_end_of_its_experience_alone() -> None:
    assert [stage.evaluated for stage in wake(open_plan())] == [False, False, True, False, True, True]
    plan = Hypnogram.plan([[Stretch(3, None), Stretch(3, None)]] * 2, NIGHT)
    assert [stage.evaluated for stage in wake(plan)] == [False, True, False, True]
    sleepless = Hypnogram.plan([[Stretch(3, None), Stretch(3, None)]] * 2, [])
    assert sleepless.bounds() == (12, 12) and [stage.evaluated for stage in sleepless] == [False, True, False, True]


@pytest.mark.parametrize("cycles", [1, 2])
def test_a_granted_night_is_certain_and_evaluated_before(cycles: int) -> None:
    plan = open_plan(cycles)
    granted = plan.granted(1)
    assert len(granted) == len(plan) and granted.steps() == plan.steps()
    assert granted.bounds() == (34 + (cycles - 1) * 10 + cycles * 5, 24 + cycles * 25)
    assert {stage.night for stage in granted if stage.tentative} == {0, 3}
    assert [stage.evaluated for stage in wake(granted)] == [False, True, True, False, True, True]
    assert [stage.tentative for stage in plan if stage.night == 1] == [True, True] * cycles, "the old plan stays"


@pytest.mark.parametrize("cycles", [1, 2])
def test_what_lies_behind_a_dropped_night_moves_up(cycles: int) -> None:
    plan = open_plan(cycles)
    dropped = plan.dropped(1)
    assert [stage.index for stage in dropped] == [*range(len(plan) - 2 * cycles)]
    assert dropped.nights == 4 and {stage.night for stage in dropped if stage.tentative} == {0, 2}
    assert [stage.evaluated for stage in wake(dropped)] == [stage.evaluated for stage in wake(plan)]
    assert [(stage.experience, stage.first_step, stage.opens) for stage in wake(dropped)] == [
        (stage.experience, stage.first_step, stage.opens) for stage in wake(plan)
    ]
    assert [(stage.kind, stage.cycle, stage.index_in_night) for stage in dropped if stage.night == 1] == [
        (stage.kind, stage.cycle, stage.index_in_night) for stage in plan if stage.night == 2
    ]


def test_a_plan_whose_open_nights_are_dropped_is_the_plan_without_them() -> None:
    plan, other = open_plan(), open_plan()
    for night in (0, 0, 1):
        plan = plan.dropped(night)
    days = [[Stretch(5, False), Stretch(5, False), Stretch(5, True)], [Stretch(4, False), Stretch(4, False)]]
    certain = Hypnogram.plan([days[0], [*days[1], Stretch(1, True)]], NIGHT)
    assert plan.steps() == certain.steps() and plan.bounds() == (34, 34)
    for night in (3, 1, 0):
        other = other.dropped(night)
    assert other == plan, "in any order"
    assert [(stage.kind, stage.night, stage.steps) for stage in plan] == [
        (stage.kind, stage.night, stage.steps) for stage in certain
    ]


def decided(stages: list[Stage], night: int, grant: bool) -> list[Stage]:
    """A night granted or dropped, the plain way: every stage behind it is numbered again."""
    first = next(stage.index for stage in stages if stage.night == night)
    if grant:
        return [
            replace(
                stage, tentative=stage.tentative and stage.night != night, evaluated=stage.evaluated or i == first - 1
            )
            for i, stage in enumerate(stages)
        ]
    left = [stage for stage in stages if stage.night != night]
    return [replace(stage, index=i, night=stage.night - (stage.night > night)) for i, stage in enumerate(left)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("in_order", [True, False])
def test_nights_may_be_decided_in_any_order_and_looked_at_between(seed: int, in_order: bool) -> None:
    random = Random(seed)
    plan = Hypnogram.plan([[Stretch(2, random.choice([None, None, True])) for _ in range(12)]] * 3, NIGHT, cycles=2)
    expected = list(plan)
    while still := sorted({stage.night for stage in expected if stage.tentative}):
        night = still[0] if in_order else random.choice(still)
        grant = random.random() < 0.4
        plan = plan.granted(night) if grant else plan.dropped(night)
        expected = decided(expected, night, grant)
        assert len(plan) == len(expected)
        places = [random.randrange(-len(plan), len(plan)) for _ in range(5)]
        assert [plan[place] for place in places] == [expected[place] for place in places]
        if random.random() < 0.3:
            assert list(plan) == expected and plan[3:-2] == tuple(expected[3:-2])
    assert plan == Hypnogram(expected) and hash(plan) == hash(Hypnogram(expected))
    with pytest.raises(IndexError):
        plan[len(plan)]


@pytest.mark.parametrize("night", [-1, 2, 5])
def test_only_open_nights_are_granted_or_dropped(night: int) -> None:
    with pytest.raises(ValueError, match=f"still open, got {night}"):
        open_plan().dropped(night)
    with pytest.raises(ValueError, match=f"still open, got {night}"):
        open_plan().granted(night)


def test_records_are_plain_and_come_back() -> None:
    plan = open_plan(cycles=2).granted(0)
    assert Hypnogram.from_records(json.loads(json.dumps(plan.as_records()))) == plan


def test_a_record_from_before_there_were_open_nights_is_certain() -> None:
    plan = Hypnogram.plan([[Stretch(2, True)]], NIGHT)
    old = [{key: value for key, value in record.items() if key != "perhaps"} for record in plan.as_records()]
    assert Hypnogram.from_records(old) == plan


def test_the_sampled_plans_hold_sleep() -> None:
    sampled = open_plan().sampled(3)
    assert [(stage.kind, stage.steps, stage.night, stage.tentative) for stage in sampled] == [
        ("wake", 3, -1, False),
        ("nrem", 3, 0, False),
        ("rem", 3, 0, False),
    ]
    assert [stage.evaluated for stage in sampled] == [True, False, True]


def test_the_table_marks_open_nights_and_totals_as_bounds() -> None:
    lines = str(open_plan()).splitlines()
    assert len(lines) == 1 + len(open_plan()) + 1
    assert [line.split()[3] for line in lines[1:5]] == ["-", "0?", "0?", "-"]
    assert [line.split()[3] for line in lines[7:10]] == ["-", "2", "2"]
    assert lines[-1] == "steps: wake 24, nrem 4 to 10, rem 6 to 15"


def test_a_long_table_is_folded_where_nights_are_open_and_whole_where_they_are_not() -> None:
    long = Hypnogram.plan([[Stretch(5, None)] * 200], NIGHT)
    lines = str(long).splitlines()
    assert len(lines) == 1 + 40 + 1 + 1
    assert lines[31] == "  ...  560 stages not shown"
    assert lines[30].split()[0] == "29" and lines[32].split()[0] == "590" and lines[41].split()[0] == "599"
    assert lines[-1] == "steps: wake 1000, nrem 0 to 400, rem 0 to 600"
    certain = Hypnogram.plan([[Stretch(5, True)] * 200], NIGHT)
    assert len(str(certain).splitlines()) == 1 + 600 + 1


def test_plans_without_stages_steps_or_order_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one stage"):
        Hypnogram([])
    with pytest.raises(ValueError, match="expected stage 0 at position 0"):
        Hypnogram([Stage(1, "wake", 0, 5)])
    with pytest.raises(ValueError, match="at least one step"):
        Hypnogram([Stage(0, "wake", 0, 0)])
    with pytest.raises(ValueError, match="at least one wake stretch"):
        Hypnogram.plan([[]], NIGHT)
    with pytest.raises(ValueError, match="cycles=0"):
        Hypnogram.plan([[Stretch(1, True)]], NIGHT, cycles=0)

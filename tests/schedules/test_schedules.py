"""Every schedule keeps the same promises; those that watch the day, a few more."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from dreamer.config import registry
from dreamer.core.hypnogram import Hypnogram, Stretch
from dreamer.schedules import Boundary, Budget, Drift, EveryNSteps, Plateau, SleepPressure
from dreamer.schedules.base import Schedule

NAMES = registry.names("schedules")
NIGHT = [("nrem", 2), ("rem", 3)]
LENGTHS = (7, 130, 61, 2, 90)


def make(name: str, **options: Any) -> Schedule:
    """A schedule with its defaults, and with 3 for every number that it insists on."""
    part = registry.resolve("schedules", name)
    parameters = inspect.signature(part).parameters.values()
    return part(**{each.name: 3 for each in parameters if each.default is each.empty} | options)


def watches(name: str) -> bool:
    part = registry.resolve("schedules", name)
    return issubclass(part, Schedule) and part.data_driven


DATA_DRIVEN = [name for name in NAMES if watches(name)]
EAGER = {
    "drift": {"threshold": 0.5, "warmup": 2, "slack": 0.1},
    "plateau": {"patience": 1, "gain": 0.3},
    "sleep_pressure": {"capacity": 30.0},
}
"""Options with which a short noisy day brings some nights and drops others."""


def eager(name: str, **spacing: Any) -> Schedule:
    return make(name, **{"check_every": 5, "least": 10, "most": 45} | EAGER.get(name, {}) | spacing)


def days(schedule: Schedule, lengths: Sequence[int] = LENGTHS) -> list[list[Stretch]]:
    """The stretches of every experience."""
    return [
        schedule.cut(steps, sum(lengths[:number]), last=number == len(lengths) - 1)
        for number, steps in enumerate(lengths)
    ]


def noise(count: int, seed: int = 0) -> list[float]:
    """Losses: a level that jumps and falls, and noise."""
    steps = np.arange(count)
    level = 2 * np.exp(-(steps % 70) / 15)
    return (level + np.random.default_rng(seed).gamma(4, 0.05, count)).tolist()


def train(
    schedule: Schedule, plan: Hypnogram, losses: Iterator[float], start: int = 0
) -> Iterator[tuple[int, Hypnogram]]:
    """Complete a plan whose open nights the schedule decides; gives the next stage and the plan after each stage."""
    position = start
    while position < len(plan):
        stage = plan[position]
        position += 1
        if stage.kind == "wake":
            for _ in range(stage.steps):
                schedule.observe(next(losses), None)
            if position < len(plan) and plan[position].tentative:
                night = plan[position].night
                plan = plan.granted(night) if schedule.decide() else plan.dropped(night)
        elif plan.closes_night(stage):
            schedule.slept()
        yield position, plan


def completed_plan(schedule: Schedule, lengths: Sequence[int] = LENGTHS, seed: int = 0) -> Hypnogram:
    """The plan when every stage is completed."""
    *_, (_, plan) = train(schedule, Hypnogram.plan(days(schedule, lengths), NIGHT), iter(noise(sum(lengths), seed)))
    return plan


def night_places(plan: Hypnogram) -> list[int]:
    """Wake steps before each night."""
    places, awake = [], 0
    for stage in plan:
        awake += stage.steps * (stage.kind == "wake")
        if stage.kind != "wake" and plan.closes_night(stage):
            places.append(awake)
    return places


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lengths", [(1,), (7, 7, 7), (1, 1, 1, 1), (2, 300, 5), (25, 50)])
def test_every_step_is_planned_once_and_every_stretch_has_one(name: str, lengths: tuple[int, ...]) -> None:
    stretches = days(make(name), lengths)
    for steps, cut in zip(lengths, stretches, strict=True):
        assert sum(stretch.steps for stretch in cut) == steps
        assert all(stretch.steps >= 1 for stretch in cut)
    assert Hypnogram.plan(stretches, [("nrem", 1)]).steps()["wake"] == sum(lengths)


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_can_be_made_twice(name: str) -> None:
    schedule = make(name)
    first = [schedule.cut(10, completed, last=False) for completed in (0, 10, 20)]
    assert first == [schedule.cut(10, completed, last=False) for completed in (0, 10, 20)]
    assert first[2] == make(name).cut(10, 20, last=False), "a plan does not hang on what was cut before"


@pytest.mark.parametrize("name", NAMES)
def test_only_those_that_watch_leave_nights_open(name: str) -> None:
    nights = {stretch.sleep for cut in days(make(name)) for stretch in cut}
    assert (None in nights) == (name in DATA_DRIVEN)


def test_a_plain_schedule_needs_its_cut_alone() -> None:
    schedule = Boundary()
    schedule.observe(1.0, None)
    schedule.slept()
    schedule.load_state_dict(schedule.state_dict())
    assert not schedule.decide() and not schedule.data_driven and not schedule.wants_features
    assert schedule.rule() == "" and schedule.state_dict() == {}


# -------------------------------------------------------------------- what those that watch have in common


def test_there_are_schedules_that_watch() -> None:
    assert {"drift", "plateau", "sleep_pressure"} <= {*DATA_DRIVEN}


@pytest.mark.parametrize("name", DATA_DRIVEN)
def test_a_day_is_cut_where_the_schedule_looks_up(name: str) -> None:
    short = [Stretch(5, None), Stretch(5, None)]
    assert eager(name).cut(12, 40, last=False) == [*short, Stretch(2, None)]
    assert eager(name).cut(12, 40, last=True) == [*short, Stretch(2, True)]
    assert eager(name).cut(10, 40, last=True) == [Stretch(5, None), Stretch(5, True)]
    assert eager(name, at_end=False).cut(12, 40, last=True) == [*short, Stretch(2, None)]


@pytest.mark.parametrize("name", DATA_DRIVEN)
def test_the_rule_names_its_bounds(name: str) -> None:
    rule = eager(name, least=17, most=4321).rule()
    assert rule.startswith(f"{name}: sleeps ") and "\n" not in rule
    assert "at least 17 and at most 4321 wake steps apart, and at the very end" in rule
    assert eager(name, most=None, at_end=False).rule().endswith("at least 10 wake steps apart")


@pytest.mark.parametrize("name", DATA_DRIVEN)
def test_nights_keep_their_distance(name: str) -> None:
    planned = Hypnogram.plan(days(eager(name)), NIGHT)
    places = night_places(completed_plan(eager(name)))
    gaps = np.diff([0, *places])
    assert places[-1] == sum(LENGTHS) and (gaps[:-1] >= 10).all() and (gaps <= 45).all()
    assert 45 > gaps[:-1].min() and len(places) < planned.nights, "some nights came by themselves, others were dropped"


@pytest.mark.parametrize("name", DATA_DRIVEN)
def test_nothing_forces_a_night_where_there_is_no_limit(name: str) -> None:
    schedule = eager(name, most=None)
    for _ in range(500):
        schedule.observe(0.0, None)
        assert not schedule.decide()


@pytest.mark.parametrize("name", DATA_DRIVEN)
def test_numbering_stays_whole_when_nights_come_and_go(name: str) -> None:
    plan = completed_plan(eager(name))
    assert not any(stage.tentative for stage in plan)
    assert [stage.index for stage in plan] == [*range(len(plan))]
    nights = [stage.night for stage in plan if stage.night >= 0]
    assert nights == [night for night in range(plan.nights) for _ in NIGHT]
    assert plan.steps() == {"wake": sum(LENGTHS), "nrem": 2 * plan.nights, "rem": 3 * plan.nights}
    for experience, length in enumerate(LENGTHS):
        wake = [stage for stage in plan if stage.kind == "wake" and stage.experience == experience]
        ends = np.cumsum([stage.steps for stage in wake])
        assert [stage.first_step for stage in wake] == [0, *ends[:-1]] and ends[-1] == length
        assert [stage.opens for stage in wake] == [True] + [False] * (len(wake) - 1)


@pytest.mark.parametrize("name", DATA_DRIVEN)
@pytest.mark.parametrize("stop", [1, 9, 23])
def test_a_run_that_resumes_from_a_state_decides_the_same(name: str, stop: int) -> None:
    schedule = eager(name)
    whole = Hypnogram.plan(days(schedule), NIGHT)
    losses = iter(noise(sum(LENGTHS)))
    for _, (position, plan) in zip(range(stop), train(schedule, whole, losses), strict=False):
        left = position, plan
    position, plan = left
    schedule.observe(0.3, None)  # a run is killed within a stage, too
    state = json.loads(json.dumps(schedule.state_dict()))
    assert state == schedule.state_dict(), "plain numbers and lists"
    rest = list(losses)
    *_, (_, one) = train(schedule, plan, iter(rest), position)
    other = eager(name)
    other.load_state_dict(state)
    *_, (_, two) = train(other, plan, iter(rest), position)
    assert one == two and schedule.state_dict() == other.state_dict()


@pytest.mark.parametrize("name", DATA_DRIVEN)
def test_the_initial_state_begins_a_second_run(name: str) -> None:
    schedule = eager(name)
    initial = schedule.state_dict()
    first = completed_plan(schedule)
    schedule.load_state_dict(initial)
    assert completed_plan(schedule) == first


@pytest.mark.parametrize("name", DATA_DRIVEN)
def test_deciding_changes_nothing(name: str) -> None:
    schedule = eager(name)
    for loss in noise(60):
        schedule.observe(loss, None)
        before = schedule.state_dict()
        assert schedule.decide() == schedule.decide()
        assert schedule.state_dict() == before


@pytest.mark.parametrize("name", DATA_DRIVEN)
def test_spacings_that_cannot_be_kept_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="check_every of at least 1"):
        make(name, check_every=0)
    with pytest.raises(ValueError, match="least of at least 0"):
        make(name, least=-1)
    with pytest.raises(ValueError, match=r"most of at least least \+ check_every = 30 wake steps, got 29"):
        make(name, check_every=10, least=20, most=29)
    make(name, check_every=10, least=20, most=30)


# -------------------------------------------------------------------- the plain ones


def test_a_night_after_every_experience() -> None:
    assert Boundary().cut(9, completed=4, last=False) == [Stretch(9, True)]
    assert Boundary(first=False).cut(9, completed=4, last=False) == [Stretch(9, True)]
    assert Boundary(first=False).cut(9, completed=0, last=False) == [Stretch(9, False)]


def test_nights_every_few_steps_of_the_whole_run() -> None:
    assert EveryNSteps(4).cut(9, completed=2, last=False) == [Stretch(2, True), Stretch(4, True), Stretch(3, False)]
    assert EveryNSteps(4).cut(2, completed=2, last=True) == [Stretch(2, True)]
    assert EveryNSteps(4).cut(3, completed=0, last=True) == [Stretch(3, True)]
    assert EveryNSteps(4, at_end=False).cut(3, completed=0, last=True) == [Stretch(3, False)]
    with pytest.raises(ValueError, match="at least 1 wake step"):
        EveryNSteps(0)


def test_a_night_at_the_first_boundary_that_has_paid_for_it() -> None:
    # 100 wake steps pay 25: 25, 50, 75 (a night of 60), 100, 125 (120 for two), 150, 175, 200 (180 for three)
    cuts = days(Budget(60, ratio=0.25), [100] * 8)
    assert [cut[0].sleep for cut in cuts] == [False, False, True, False, True, False, False, True]
    assert all(cut == [Stretch(100, cut[0].sleep)] for cut in cuts)


def test_a_night_when_it_is_paid_for_wherever_the_boundaries_lie() -> None:
    # a night of 10 is earned by 40 wake steps; looked at every 15, they come at 45, 90, 120, 165 ...
    cuts = days(Budget(10, ratio=0.25, every=15), [50, 90, 40])
    assert cuts == [
        [Stretch(45, True), Stretch(5, False)],
        [Stretch(40, True), Stretch(30, True), Stretch(20, False)],
        [Stretch(25, True), Stretch(15, False)],
    ]


def test_the_end_may_be_slept_upon_without_pay() -> None:
    assert Budget(60).cut(10, 0, last=True) == [Stretch(10, False)]
    assert Budget(60, at_end=True).cut(10, 0, last=True) == [Stretch(10, True)]
    assert Budget(60, at_end=True).cut(10, 0, last=False) == [Stretch(10, False)]
    assert Budget(10, every=15, at_end=True).cut(40, 0, last=True) == [Stretch(30, True), Stretch(10, True)]


@pytest.mark.parametrize("every", [None, 1, 7, 1000])
@pytest.mark.parametrize("ratio", [0.1, 0.29, 1.0, 30.0])
def test_sleep_never_costs_more_than_its_ratio(every: int | None, ratio: float) -> None:
    plan = Hypnogram.plan(days(Budget(29, ratio, every), [100] * 9), [("nrem", 29)])
    wake = asleep = 0
    for stage in plan:
        wake += stage.steps * (stage.kind == "wake")
        asleep += stage.steps * (stage.kind != "wake")
        assert asleep <= ratio * wake + 1e-9
    if every == 1 and ratio <= 1:
        assert plan.nights == round(ratio * 900) // 29, "nothing is lost where every step is an opportunity"


def test_budgets_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="night_steps of at least 1"):
        Budget(0)
    with pytest.raises(ValueError, match="ratio above 0"):
        Budget(5, ratio=0.0)
    with pytest.raises(ValueError, match="every of at least 1"):
        Budget(5, every=0)


# -------------------------------------------------------------------- drift


def page_hinkley(trace: np.ndarray, slack: float, warmup: int) -> np.ndarray:
    """The statistic m_t - min m of a trace in standard deviations of what came before, from the definition."""
    steps = [0.0]
    for t in range(warmup, len(trace)):
        past = trace[:t]
        steps.append(min((trace[t] - past.mean()) / past.std(ddof=1), 3.0) - slack)
    walk = np.cumsum(steps)
    return np.concatenate([np.zeros(warmup - 1), walk - np.minimum.accumulate(walk)])


def found(schedule: Schedule, trace: Sequence[float]) -> int | None:
    """The first step after which the schedule wants a night."""
    for step, loss in enumerate(trace):
        schedule.observe(float(loss), None)
        if schedule.decide():
            return step
    return None


def watch(**options: Any) -> Drift:
    """A drift that may sleep at any time."""
    return Drift(**{"check_every": 1, "least": 0, "most": None} | options)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_drift_is_found_where_page_and_hinkley_find_it(seed: int, scale: float) -> None:
    trace = scale * (1 + 0.3 * np.random.default_rng(seed).standard_normal(300))
    trace[200:] += scale * 0.5
    statistic = page_hinkley(trace, slack=0.25, warmup=20)
    for threshold in (2.0, 5.0, 9.0):
        first = int(np.argmax(statistic > threshold))
        assert found(watch(threshold=threshold, slack=0.25, warmup=20), trace) == first


def test_drift_finds_a_jump_and_no_steady_noise() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        steady = 1 + 0.3 * rng.standard_normal(1000)
        assert found(watch(), steady) is None
        jump = steady.copy()
        jump[500:] += 0.6
        assert 502 <= found(watch(), jump) <= 520


def test_learning_is_no_drift_but_the_next_experience_is() -> None:
    rng = np.random.default_rng(1)
    falling = 2.3 * np.exp(-np.arange(400) / 60) + rng.gamma(4, 0.02, 400)
    assert found(watch(), falling) is None
    assert 400 < found(watch(), [*falling, *falling]) < 410


def test_one_odd_batch_is_no_drift() -> None:
    trace = 1 + 0.1 * np.random.default_rng(2).standard_normal(400)
    trace[200] = 100.0
    assert found(watch(), trace) is None


def test_drift_is_remembered_until_a_night_may_come() -> None:
    schedule = Drift(check_every=10, least=300, most=None)
    trace = 1 + 0.1 * np.random.default_rng(3).standard_normal(400)
    trace[100:130] += 2.0
    assert found(schedule, trace) == 299
    schedule.slept()
    assert found(schedule, [1.0] * 400) is None, "a night makes it forget"


def features(seed: int = 0, steps: int = 300, shift: int = 200) -> Iterator[torch.Tensor]:
    """Noise around a place that moves slowly, and jumps once."""
    rng = torch.Generator().manual_seed(seed)
    place, way, jump = (torch.rand(16, generator=rng) for _ in range(3))
    for step in range(steps):
        yield place + 0.002 * step * way + (step >= shift) * jump + 0.05 * torch.randn(16, generator=rng)


def test_drift_of_the_features_is_found() -> None:
    def first(schedule: Drift, shift: int) -> int | None:
        for step, seen in enumerate(features(shift=shift)):
            schedule.observe(0.0, seen)
            if schedule.decide():
                return step
        return None

    assert watch(watch="features").wants_features and not watch().wants_features
    assert 200 < first(watch(watch="features"), shift=200) < 215
    assert first(watch(watch="features"), shift=999) is None
    with pytest.raises(ValueError, match="drift watches features, but got none"):
        watch(watch="features").observe(0.0, None)


def test_features_are_kept_in_the_state() -> None:
    one, two = watch(watch="features"), watch(watch="features")
    seen = list(features())
    for each in seen[:150]:
        one.observe(0.0, each)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for each in seen[150:]:
        one.observe(0.0, each)
        two.observe(0.0, each)
        assert one.state_dict() == two.state_dict()
    assert one.decide()


def test_drifts_that_make_no_sense_are_refused() -> None:
    for wrong in ({"threshold": 0.0}, {"slack": -0.1}, {"warmup": 1}):
        with pytest.raises(ValueError, match=f"expected {next(iter(wrong))} "):
            Drift(**wrong)


# -------------------------------------------------------------------- plateau


def test_a_plateau_is_found_where_the_loss_has_stopped_falling() -> None:
    # means of ten steps: 2.0, 1.5, 1.0, 0.5, 0.5, 0.5 ...: the third flat check is that of steps 60 to 69
    trace = np.repeat([2.0, 1.5, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5], 10)
    noise = np.random.default_rng(0).uniform(-0.01, 0.01, len(trace))
    assert found(Plateau(patience=3, check_every=10, least=0, most=None), trace + noise) == 69
    assert found(Plateau(patience=3, check_every=10, least=0, most=None), 1e-4 * (trace + noise)) == 69


def test_a_slow_fall_is_no_plateau() -> None:
    # 2 % of the highest loss a check: at 5 % every third makes a new level
    slow = np.repeat(np.linspace(1.0, 0.02, 50), 10)
    assert found(Plateau(patience=3, check_every=10, least=0, most=None), slow) is None
    assert found(Plateau(patience=2, check_every=10, least=0, most=None), slow) is not None


def test_where_nothing_was_learnt_there_is_nothing_to_sleep_on() -> None:
    schedule = Plateau(patience=3, check_every=10, least=0, most=None)
    assert found(schedule, [1.0] * 200) is None
    schedule = Plateau(patience=3, check_every=10, least=0, most=None)
    day = [2.0] * 10 + [0.5] * 40
    assert found(schedule, day) == 49
    schedule.slept()
    assert found(schedule, [0.5] * 200) is None, "the day was slept upon already"
    assert found(schedule, day) == 49, "a new day was learnt"


def test_a_rise_is_waited_for() -> None:
    schedule = Plateau(patience=3, check_every=10, least=0, most=None)
    assert found(schedule, [2.0] * 10 + [0.5] * 29 + [4.0]) is None
    assert found(schedule, [4.0] * 10 + [0.5] * 60) == 49


def test_plateaus_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="patience of at least 1"):
        Plateau(patience=0)
    with pytest.raises(ValueError, match=r"gain in \(0, 1\)"):
        Plateau(gain=1.0)


# -------------------------------------------------------------------- sleep pressure


def test_pressure_follows_its_closed_form() -> None:
    schedule = SleepPressure(threshold=0.67, left=0.25, capacity=30.0, check_every=1, least=0, most=None)
    losses = np.random.default_rng(0).gamma(2, 0.3, 400)
    start, total = 0.0, 0.0
    nights = 0
    for loss in losses:
        schedule.observe(float(loss), None)
        total += loss
        expected = 1 - (1 - start) * math.exp(-total / 30.0)
        assert schedule.pressure == pytest.approx(expected)
        assert schedule.decide() == (expected >= 0.67)
        if schedule.decide():
            schedule.slept()
            start, total, nights = 0.25 * expected, 0.0, nights + 1
            assert schedule.pressure == pytest.approx(start)
    assert nights > 5


def test_what_is_learnt_adds_no_pressure() -> None:
    schedule = SleepPressure(check_every=1, least=0, most=None)
    assert found(schedule, [0.0] * 1000) is None and schedule.pressure == 0
    assert found(schedule, [-5.0] * 10) is None and schedule.pressure == 0


def test_the_default_capacity_is_what_it_says() -> None:
    schedule = SleepPressure(check_every=1, least=0, most=None)
    found(schedule, [0.5] * 2000)
    schedule.slept()
    assert 500 < found(schedule, [0.5] * 2000) < 600


def test_pressures_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold in \(0, 1\)"):
        SleepPressure(threshold=1.0)
    with pytest.raises(ValueError, match=r"left in \[0, 1\)"):
        SleepPressure(left=1.0)
    with pytest.raises(ValueError, match="capacity above 0"):
        SleepPressure(capacity=0.0)

"""NREM and REM have the same options, written once, each with its own defaults."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

from dreamer.config.binding import ConfigError, bind
from dreamer.perturbations import Noise
from dreamer.stages import NREM, REM, Wake
from dreamer.stages.base import Sleep
from tests.helpers.tiny_runs import tiny_module, tiny_stream


def test_the_signatures_show_all_options_with_their_own_defaults() -> None:
    base, nrem, rem = (inspect.signature(stage).parameters for stage in (Sleep, NREM, REM))
    assert list(nrem) == list(rem) == list(base)
    assert {name for name in nrem if nrem[name].default != rem[name].default} == {"perturbations"}
    assert nrem["perturbations"].default == () and rem["perturbations"].default is None


def test_options_are_given_by_position_or_by_name() -> None:
    stage = REM(5, 7, "memory", [Noise()], strength=[1, 0.5], anneal=0.1)
    assert (stage.steps, stage.batch_size, stage.anneal) == (5, 7, 0.1)
    assert stage.replayer.source == "memory" and stage.replayer.strength == (1.0, 0.5)
    assert [type(part) for part in stage.replayer.perturbations] == [Noise]


def test_nights_are_as_long_as_their_experience_says() -> None:
    plan = tiny_module(tiny_stream(), night=[NREM([2, 5], 8), REM(3, 8)]).plan(tiny_stream())
    lengths = [(stage.experience, stage.steps) for stage in plan if stage.kind == "nrem"]
    assert len(lengths) > 2
    assert lengths == [(experience, 2 if experience == 0 else 5) for experience, _ in lengths]
    assert bind(REM, {"steps": [1, 2]}, "night.0").build().steps == (1, 2)


@pytest.mark.parametrize("steps", [0, [], [3, 0], "3", 2.5, [2.5], None])
def test_steps_are_whole_numbers_above_0(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"expected steps (of at least 1|to be (such as 100|a whole number)).*, got"):
        NREM(steps)


@pytest.mark.parametrize("back", [-0.1, 1.1, float("nan")])
def test_weights_go_back_to_dawn_by_a_fraction(back: float) -> None:
    with pytest.raises(ValueError, match=r"expected from_dawn (in \[0, 1\]|to be a finite number), got"):
        NREM(from_dawn=back)
    with pytest.raises(ValueError, match="expected from_scratch or from_dawn, got both"):
        NREM(from_dawn=0.5, from_scratch=True)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_learning_rate_is_scaled_by_something_above_0(scale: float) -> None:
    says = "expected lr_scale to be a finite number" if not math.isfinite(scale) else "expected (an )?lr_scale above 0"
    with pytest.raises(ValueError, match=says):
        NREM(lr_scale=scale)
    with pytest.raises(ValueError, match="lr_scale"):
        Wake(lr_scale=[1.0, scale])


def test_a_warm_up_is_a_number_of_steps() -> None:
    for stage in (Wake, REM):
        with pytest.raises(ValueError, match="expected warmup of at least 0 steps, got -1"):
            stage(warmup=-1)
        with pytest.raises(ValueError, match=r"expected warmup to be a whole number, got 0\.5"):
            stage(warmup=0.5)


def test_a_configuration_is_checked_against_them() -> None:
    stage = bind(NREM, {"steps": 3, "teacher": "dusk", "perturbations": None}, "night.0").build()
    assert stage.steps == 3 and stage.replayer.teacher == "dusk"
    assert stage.replayer.perturbations == (), "null takes a value back"
    with pytest.raises(ConfigError, match=r"night.0.teacher: expected one of dawn, dusk, both, average, got 'noon'"):
        bind(NREM, {"teacher": "noon"}, "night.0")
    with pytest.raises(ConfigError, match=r"night.0.kind: unknown key of NREM"):
        bind(NREM, {"kind": "rem"}, "night.0")

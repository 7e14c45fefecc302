"""NREM and REM have the same options, written once, each with its own defaults."""

from __future__ import annotations

import inspect
import math

import pytest

from dreamer.config.binding import ConfigError, bind
from dreamer.perturbations import Noise
from dreamer.stages import NREM, REM, Wake
from dreamer.stages.base import Sleep


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


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_learning_rate_is_scaled_by_something_above_0(scale: float) -> None:
    says = "expected lr_scale to be a finite number" if not math.isfinite(scale) else "expected (an )?lr_scale above 0"
    with pytest.raises(ValueError, match=says):
        NREM(lr_scale=scale)
    with pytest.raises(ValueError, match="lr_scale"):
        Wake(lr_scale=[1.0, scale])


def test_a_configuration_is_checked_against_them() -> None:
    stage = bind(NREM, {"steps": 3, "teacher": "dusk", "perturbations": None}, "night.0").build()
    assert stage.steps == 3 and stage.replayer.teacher == "dusk"
    assert stage.replayer.perturbations == (), "null takes a value back"
    with pytest.raises(ConfigError, match=r"night.0.teacher: expected one of dawn, dusk, both, average, got 'noon'"):
        bind(NREM, {"teacher": "noon"}, "night.0")
    with pytest.raises(ConfigError, match=r"night.0.kind: unknown key of NREM"):
        bind(NREM, {"kind": "rem"}, "night.0")

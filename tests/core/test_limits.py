"""Arguments of another kind are refused where they are given, in a sentence, from Python as on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dreamer import NREM, REM, SleepCallback, WakeSleepModule
from dreamer.memory import ClassBalanced
from dreamer.networks import MLP
from dreamer.perturbations import Affine, Noise

NETWORK = MLP((4,), 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SleepCallback(memory=200), "expected memory to be a Memory or None, got 200"),
        (
            lambda: SleepCallback(stages=NREM(10)),
            r"expected stages to be a list \(each an NREM or an REM\) or None, got an NREM",
        ),
        (lambda: SleepCallback(stages=["nrem"]), r"expected stages to be a list .*, got \[\'nrem\'\]"),
        (
            lambda: SleepCallback(schedule="epoch"),
            "expected schedule to be a Schedule or a whole number or None, got 'epoch'",
        ),
        (lambda: SleepCallback(generator="vae"), r"expected generator to be a Generator.*, got 'vae'"),
        (
            lambda: REM(perturbations=["affine"]),
            r"expected perturbations to be a list \(each a Perturbation\) or None, got \['affine'\]",
        ),
        (lambda: REM(perturbations=Affine()), "expected perturbations to be a list .*, got <dreamer"),
        (
            lambda: NREM(objectives="distillation"),
            r"expected objectives to be a list \(each an Objective\) or None, got 'distillation'",
        ),
        (lambda: NREM(steps="100"), r"expected steps to be a whole number or a list .*, got '100'"),
        (lambda: NREM(2.5), r"expected steps to be a whole number or a list .*, got 2.5"),
        (lambda: Noise(std="0.1"), "expected std to be a number, got '0.1'"),
        (lambda: WakeSleepModule(NETWORK, memory=200), "expected memory to be a Memory or None, got 200"),
        (lambda: WakeSleepModule(NETWORK, wake=3), "expected wake to be a Wake or None, got 3"),
        (lambda: WakeSleepModule(NETWORK, night=NREM(3), memory=ClassBalanced(2)), "expected night to be a list"),
        (lambda: WakeSleepModule(NETWORK, schedule=2), "expected schedule to be a Schedule or None, got 2"),
        (lambda: WakeSleepModule("mlp"), "expected network to be a Module, got 'mlp'"),
    ],
)
def test_what_is_no_such_part_is_refused_where_it_is_given(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)

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
        (lambda: SleepCallback(memory=200), r"expected memory to be such as ClassBalanced\(200\), got 200"),
        (lambda: SleepCallback(stages=NREM(10)), r"expected stages to be a list such as \[NREM\(100\)\], got NREM"),
        (lambda: SleepCallback(stages=["nrem"]), "night stage 0: expected NREM or REM, got str"),
        (lambda: SleepCallback(schedule="epoch"), r"expected schedule to be such as 1, or Drift\(\), got 'epoch'"),
        (lambda: SleepCallback(generator="vae"), "expected generator to be such as ClassConditionalVAE.*, got 'vae'"),
        (
            lambda: REM(perturbations=["affine"]),
            r"rem: perturbations to be a list such as \[Affine\(\)\], got 'affine'",
        ),
        (lambda: REM(perturbations=Affine()), "rem: perturbations to be a list such as .*, got <dreamer"),
        (lambda: NREM(objectives="distillation"), "nrem: objectives to be a list such as .*, got 'distillation'"),
        (lambda: NREM(steps="100"), "nrem: steps to be such as 100, got '100'"),
        (lambda: NREM(2.5), "nrem: steps to be such as 100, got 2.5"),
        (lambda: Noise(std="0.1"), "expected std to be a number, got '0.1'"),
        (lambda: WakeSleepModule(NETWORK, memory=200), "expected memory to be such as ClassBalanced.*, got 200"),
        (lambda: WakeSleepModule(NETWORK, wake=3), "expected wake to be such as Wake.*, got 3"),
        (lambda: WakeSleepModule(NETWORK, night=NREM(3), memory=ClassBalanced(2)), "expected night to be a list"),
        (lambda: WakeSleepModule(NETWORK, schedule=2), r"expected schedule to be such as Boundary\(\), got 2"),
        (lambda: WakeSleepModule("mlp"), r"expected network to be such as MLP.*, got 'mlp'"),
    ],
)
def test_what_is_no_such_part_is_refused_where_it_is_given(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)

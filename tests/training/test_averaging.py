"""Callbacks of Lightning that average weights, beside a run and beside nights in a script of one's own."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from torch import nn

from dreamer import SleepCallback
from dreamer.schedules import Drift
from dreamer.stages import NREM, Wake
from tests.callbacks.test_sleep import fit, make_module, nights
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")

SWA = functools.partial(StochasticWeightAveraging, 1e-2, swa_epoch_start=2)
EMA = functools.partial(EMAWeightAveraging, decay=0.999)
PARTS = {
    "wake": Wake(epochs=8, batch_size=9),
    "night": [NREM(2, 8)],
    "generator": None,
    "optimizer": functools.partial(torch.optim.Adam, lr=0.05),
}


def own_score(module: Any) -> list[float]:
    """The accuracy on each experience of the weights that a run has left."""
    module.eval()
    scores = []
    with torch.no_grad():
        for experience in tiny_stream().experiences:
            right = module(experience.test.x).argmax(dim=1) == experience.test.y
            scores.append(float(right.double().mean()))
    return scores


@pytest.mark.parametrize("make", [SWA, EMA, WeightAveraging])
def test_results_describe_the_weights_that_one_has(make: Any) -> None:
    module = tiny_module(tiny_stream(), **PARTS)
    train(module, tiny_stream(), callbacks=[make()])
    *_, before, last = module.results()["accuracy_matrix"]["rows"]
    assert last["accuracy"] == pytest.approx(own_score(module))
    # what was trained, and what is averaged, differ here
    assert before["accuracy"] != last["accuracy"]
    assert before["global_step"] == last["global_step"]


def test_nothing_is_evaluated_twice_without_an_average() -> None:
    module = tiny_module(tiny_stream(), **PARTS)
    train(module, tiny_stream())
    # the untrained network, and each experience before and after its night
    assert len(module.results()["accuracy_matrix"]["rows"]) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (EMA, {"generator": "kept"}, "EMAWeightAveraging .* ClassConditionalVAE keeps more of them"),
        (SWA, {"schedule": Drift()}, "counts the epochs beforehand, but Drift decides"),
    ],
)
def test_what_cannot_be_averaged_is_refused_at_the_start(make: Any, changes: dict[str, Any], message: str) -> None:
    parts = {key: value for key, value in (PARTS | changes).items() if value != "kept"}
    with pytest.raises(ValueError, match=message):
        train(tiny_module(tiny_stream(), **parts), tiny_stream(), callbacks=[make()])


def test_stochastic_weight_averaging_needs_an_epoch_that_a_plan_has_not() -> None:
    module = tiny_module(tiny_stream(), **PARTS)
    module.network.insert(2, nn.BatchNorm1d(16))
    with pytest.raises(ValueError, match="another epoch for the statistics of batch norm, but the plan has only"):
        train(module, tiny_stream(), callbacks=[SWA()])


@pytest.mark.parametrize("make", [SWA, EMA, WeightAveraging])
def test_nights_of_a_script_are_averaged_with_its_days(make: Any) -> None:
    module, average = make_module(pl), make()
    fit(pl, SleepCallback([NREM(3)], schedule=1), module, callbacks=[average])
    assert nights(module) == [(2, 3)] * 3
    kept = getattr(average._average_model, "module", average._average_model)
    assert all(map(torch.equal, module.parameters(), kept.parameters()))

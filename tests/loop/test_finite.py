"""A loss or a weight that is no finite number ends a run, which says where."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import dreamer
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.core.errors import Diverged
from dreamer.core.types import Stage
from dreamer.loop.finite import FiniteWatch
from dreamer.objectives import CrossEntropy
from dreamer.stages import Wake
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

STAGE = Stage(3, "nrem", 1, 9)


class Poisoned(CrossEntropy):
    """Cross-entropy that is NaN at one of its calls."""

    def __init__(self, at: int):
        super().__init__()
        self.left = at

    def __call__(self, *args, **kwargs):
        self.left -= 1
        loss = super().__call__(*args, **kwargs)
        return loss * math.nan if self.left < 0 else loss


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite")])
def test_the_first_loss_that_is_not_finite_is_named(value: float, word: str) -> None:
    watch = FiniteWatch()
    for step, loss in enumerate([1.0, 2.0, value, 3.0, math.nan]):
        watch.add(step, torch.tensor(loss))
    with pytest.raises(Diverged, match=rf"the loss is {word} at step 2 of stage 3 \(nrem, experience 1\)") as raised:
        watch.look(STAGE, 5, [])
    assert raised.value.where == {"what": "loss", "experience": 1, "stage": 3, "kind": "nrem", "step": 2}
    watch.look(STAGE, 5, [])


def test_a_weight_that_is_not_finite_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    watch = FiniteWatch()
    watch.look(STAGE, 5, [network])
    network[1].bias.data[1] = math.inf
    with pytest.raises(Diverged, match=r"the weight 1\.bias is not finite at step 5"):
        watch.look(STAGE, 5, [network])


def test_a_look_is_due_after_so_many_losses() -> None:
    watch = FiniteWatch(every=2)
    watch.add(0, torch.tensor(1.0))
    watch.add(1, None)
    assert not watch.due
    watch.add(2, torch.tensor(1.0))
    assert watch.due


@pytest.mark.parametrize("at", [0, 1, 7, 11])
def test_a_run_stops_where_its_loss_is_not_finite_and_saves_nothing_of_it(at: int, tmp_path: Path) -> None:
    stream = tiny_stream()
    module = tiny_module(stream, wake=Wake(epochs=2, batch_size=9, objectives=[Poisoned(at)]), generator=None, night=())
    checkpoint = RunCheckpoint(tmp_path, every_n_steps=1)
    with pytest.raises(Diverged) as raised:
        train(module, stream, callbacks=[checkpoint])
    wake = module.hypnogram[raised.value.where["stage"]]
    assert sum(stage.steps for stage in module.hypnogram[: wake.index]) + raised.value.where["step"] == at
    if at:
        saved = torch.load(checkpoint.path, weights_only=True)
        assert all(value.isfinite().all() for value in saved["state_dict"].values())
    else:
        assert not checkpoint.path.exists()


def test_the_results_of_a_run_that_diverged_say_so(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="a lower learning rate"):
        dreamer.run("digits", "fine_tune", "optimizer.lr=1e30", "wake.steps=20", out=str(tmp_path / "run"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert not results["complete"] and results["diverged"]["experience"] == 0
    assert [row["after"] for row in results["accuracy_matrix"]["rows"]] == ["birth"]

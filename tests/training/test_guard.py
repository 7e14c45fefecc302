"""A night that made the held-out score worse is undone; one that did not is left alone."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from dreamer.plasticity import MovingAverage
from dreamer.stages import NREM, Wake
from dreamer.streams import arithmetic
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

STREAM = tiny_stream()


def module(**changes: Any) -> WakeSleepModule:
    """Short days, and nights that wreck what was learnt."""
    parts: dict[str, Any] = {
        "wake": Wake(epochs=6, batch_size=9),
        "night": [NREM(3, 8, lr_scale=100.0)],
        "plasticity": [MovingAverage(rate=0.5)],
        "optimizer": functools.partial(torch.optim.Adam, lr=0.02),
    }
    return tiny_module(STREAM, **(parts | changes))


class Evenings(pl.Callback):
    """The learner and its average at the end of every stage."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_epoch_start(self, trainer: Any, run: Any) -> None:
        self.seen.append(
            torch.cat([p.detach().flatten().clone() for p in (*run.network.parameters(), *run.plasticity.parameters())])
        )


def test_a_harmful_night_is_undone_and_its_row_is_that_of_the_evening() -> None:
    run, evenings = module(roll_back=0.0), Evenings()
    train(run, STREAM, callbacks=[evenings])
    rows = run.results()["accuracy_matrix"]["rows"]
    undone = [number for number, row in enumerate(rows) if row.get("rolled_back")]
    assert len(undone) >= 2 and all(rows[number]["after"] == "night" for number in undone)
    for number in undone:
        evening, night = rows[number - 1], rows[number]
        assert night["accuracy"] == evening["accuracy"] and night["validation"] == evening["validation"]
    # a stage for each row but the first; what comes behind a night that was undone begins as that night did
    for night in (number - 1 for number in undone if number < len(rows) - 1):
        assert torch.equal(evenings.seen[night], evenings.seen[night + 1])


def test_by_default_nothing_is_undone_and_a_gentle_night_never() -> None:
    plain = module()
    train(plain, STREAM)
    assert not any("rolled_back" in row for row in plain.ledger.rows)
    gentle = module(night=[NREM(3, 8, lr_scale=1e-6)], roll_back=0.0)
    train(gentle, STREAM)
    assert not any("rolled_back" in row for row in gentle.ledger.rows)
    patient = module(roll_back=1.0)
    train(patient, STREAM)
    assert not any("rolled_back" in row for row in patient.ledger.rows)


def test_a_lower_score_is_better_where_the_problem_says_so() -> None:
    from dreamer.generators import OwnWords
    from dreamer.networks import Decoder
    from dreamer.objectives import SoftTargets
    from dreamer.problems import Language

    stream = arithmetic(tasks=("reverse", "sort"), samples=60, test=10, validation=0.2)
    torch.manual_seed(0)
    run = WakeSleepModule(
        Decoder(stream.sample_shape, stream.num_classes, width=16, layers=1, heads=2),
        wake=Wake(steps=10, batch_size=9),
        night=[NREM(3, 8, lr_scale=300.0, objectives=(SoftTargets(),))],
        generator=OwnWords(stream.sample_shape, stream.num_groups, tokens=stream.tokens),
        problem=Language(tokens=stream.tokens),
        roll_back=0.0,
    )
    train(run, stream)
    assert [row["rolled_back"] for row in run.ledger.rows if row["after"] == "night"] == [True, True]


@pytest.mark.parametrize("step", [12, 13, 14, 15, 16])
def test_resumed_in_such_a_night_and_behind_it_it_ends_bit_equal(step: int, tmp_path: Path) -> None:
    saves = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    whole, resumed = module(roll_back=0.0), module(roll_back=0.0)
    train(whole, STREAM, callbacks=[saves])
    again = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=0)
    train(resumed, STREAM, str(tmp_path / f"step={step}.ckpt"), callbacks=[again])
    assert resumed.ledger.rows == whole.ledger.rows
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="expected roll_back of at least 0, or none, got -1"):
        module(roll_back=-1)
    stream = tiny_stream(validation=0.0)
    with pytest.raises(ValueError, match="roll_back judges nights by held-out data, but tiny has none"):
        train(tiny_module(stream, roll_back=0.0), stream)

"""A run of a language model that is killed for real while it writes, and language models on two devices."""

from __future__ import annotations

import functools
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from dreamer.callbacks import OwnText, SleepCallback
from dreamer.generators import OwnWords
from dreamer.networks import Decoder
from dreamer.perturbations import Temperature
from dreamer.problems import Language
from dreamer.stages import NREM, REM, Wake
from dreamer.streams import arithmetic
from dreamer.streams.base import Stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_llama import language_module, llama, loader, tokeniser
from tests.helpers.tiny_runs import quiet_trainer
from tests.process.test_devices import same_weights, together, trained
from tests.process.test_kill import VICTIM, command, python, results, run_whole, weights

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")

SHORT = [
    "arithmetic",
    "stream.tasks=[reverse,sort,add]",
    "stream.samples=320",
    "stream.test=64",
    "stream.validation=0.1",
    *("network.width=16", "network.layers=1", "network.heads=2"),
    *("wake.epochs=1", "wake.batch_size=32", "wake.replay=8"),
    *("night.0.steps=6", "night.0.batch_size=16", "night.1.steps=6", "night.1.batch_size=16"),
]
# dies at the n-th token that anybody writes: by day, in the middle of a night, and in that of the last one
WRITER = """
from dreamer.networks import Decoder
extend, written = Decoder.extend, [0]
def dying(self, tokens, cache):
    written[0] += 1
    if written[0] > int(place.removeprefix("writing ")):
        die()
    return extend(self, tokens, cache)
if place.startswith("writing"):
    Decoder.extend = dying
alive = runs.prepare("""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_whole(tmp_path_factory, *SHORT)


@pytest.mark.parametrize("place", ["wake", "rem", "nrem", "between", "evaluation", "writing 20", "writing 100"])
def test_a_run_that_is_killed_while_it_writes_continues_bit_equal(
    place: str, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    killed = python("-c", VICTIM.replace("alive = runs.prepare(", WRITER), place, str(folder), *SHORT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = command("--resume", str(folder))
    assert resumed.returncode == 0, resumed.stderr
    ours, theirs = results(folder), results(undisturbed)
    assert ours["complete"] and ours["accuracy_matrix"] == theirs["accuracy_matrix"]
    mine, other = weights(folder), weights(undisturbed)
    assert mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in other)
    nights = sorted((undisturbed / "dreams").glob("*.txt"))
    assert nights and all((folder / "dreams" / night.name).read_text() == night.read_text() for night in nights)


# -------------------------------------------------------------------- two devices


def writing(stream: Stream) -> WakeSleepModule:
    """Own words by day and at night."""
    torch.manual_seed(0)
    return WakeSleepModule(
        Decoder(stream.sample_shape, stream.num_classes, width=16, layers=1, heads=2),
        wake=Wake(steps=4, batch_size=9, replay=8),
        night=[NREM(3, 8), REM(3, 8, source="generator", perturbations=(Temperature(0.8, 1.5),))],
        generator=OwnWords(stream.sample_shape, stream.num_groups, tokens=stream.tokens),
        problem=Language(tokens=stream.tokens),
    )


def test_a_run_on_two_devices_ends_with_the_same_weights_on_both() -> None:
    stream = functools.partial(arithmetic, tasks=("reverse", "sort", "add"), samples=60, test=20, validation=0.1)
    reports = together(2, trained, stream, writing)
    assert all(report["complete"] for report in reports) and same_weights(reports)
    assert [report["steps"] for report in reports] == [30, 30]  # three days of 4, three nights of 6
    assert reports[0]["rows"] == reports[1]["rows"]


def harmful(stream: Stream) -> WakeSleepModule:
    """A night that shatters the learner, and is undone."""
    torch.manual_seed(0)
    return WakeSleepModule(
        Decoder(stream.sample_shape, stream.num_classes, width=16, layers=1, heads=2),
        wake=Wake(steps=4, batch_size=9),
        night=[NREM(3, 8, lr_scale=1e4)],
        generator=OwnWords(stream.sample_shape, stream.num_groups, tokens=stream.tokens),
        problem=Language(tokens=stream.tokens),
        roll_back=0.0,
    )


def test_a_night_that_did_harm_is_undone_on_both_devices() -> None:
    stream = functools.partial(arithmetic, tasks=("reverse", "sort"), samples=60, test=20, validation=0.1)
    reports = together(2, trained, stream, harmful)
    assert same_weights(reports) and reports[0]["rows"] == reports[1]["rows"]
    nights = [row for row in reports[0]["rows"] if row["after"] == "night"]
    assert len(nights) == 2 and all(row["rolled_back"] for row in nights)


def own_text_fit(ranks: int, replay: int) -> dict[str, Any]:
    module = language_module(pl, llama(lora=True), lr=0.01)
    callback = SleepCallback(generator=OwnText(tokeniser(), length=12, opening=3, replay=replay))
    trainer = quiet_trainer(callbacks=[callback], max_epochs=2, devices=ranks, strategy="ddp")
    trainer.fit(module, loader())
    return {"weights": dict(module.state_dict()), "steps": trainer.global_step}


@pytest.mark.parametrize(("replay", "steps"), [(0, 12), (2, 6)], ids=["nights", "by day"])
def test_a_script_on_two_devices_ends_with_the_same_weights_on_both(replay: int, steps: int) -> None:
    pytest.importorskip("peft")
    reports = together(2, own_text_fit, replay)
    assert same_weights(reports) and [report["steps"] for report in reports] == [steps, steps]
    begun = {name: weight for name, weight in language_module(pl, llama(lora=True)).state_dict().items()}
    assert any(not torch.equal(weight, begun[name]) for name, weight in reports[0]["weights"].items())

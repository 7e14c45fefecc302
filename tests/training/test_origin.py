"""A run in a script is the same run when it is resumed, and begins with parts of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from dreamer.generators import ClassConditionalVAE
from dreamer.memory import ClassBalanced, Reservoir
from dreamer.objectives import CrossEntropy, Distillation
from dreamer.schedules import EveryNSteps
from dreamer.stages import NREM, Wake
from dreamer.streams.base import Stream, TensorSamples, make_stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the first steps of a tiny run."""
    folder = tmp_path_factory.mktemp("stopped")
    saves = ModelCheckpoint(folder, every_n_train_steps=1, save_last=True, save_top_k=0)
    train(tiny_module(tiny_stream()), tiny_stream(), callbacks=[saves], max_steps=3)
    return folder / "last.ckpt"


def changed_stream(change: Callable[[TensorSamples], TensorSamples]) -> Stream:
    return make_stream(
        "tiny", [(change(each.train), each.test) for each in tiny_stream(validation=0.0).experiences], validation=0.25
    )


STREAMS: dict[str, Callable[[], Stream]] = {
    "other pictures": lambda: changed_stream(lambda samples: TensorSamples(1 - samples.x, samples.y)),
    "a deleted sample": lambda: changed_stream(lambda samples: TensorSamples(samples.x[:-1], samples.y[:-1])),
    "labels that were shifted": lambda: changed_stream(lambda samples: TensorSamples(samples.x, samples.y.flip(0))),
}
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "parts.wake.replay_objectives: ": ("wake", {"replay_objectives": [CrossEntropy(), Distillation()]}),
    "parts.memory.store": ("memory", {"capacity": 10, "store": "float16"}),
    "parts.memory.name": ("reservoir", {"capacity": 10}),
    "parts.generator.beta": ("generator", {"beta": 0.5}),
    "optimizer.0.lr: 0.001 there, 0.5 now": ("optimizer", {"lr": 0.5}),
    "parts.night.0.objectives: ": ("night", {"objectives": [CrossEntropy(2.0)]}),
}


def with_part(name: str, options: dict[str, Any], stream: Stream) -> WakeSleepModule:
    if name == "optimizer":
        return tiny_module(stream, optimizer=lambda groups: torch.optim.Adam(groups, **options))
    if name == "generator":
        made = ClassConditionalVAE(stream.sample_shape, stream.num_classes, 3, (8,), components=2, **options)
        return tiny_module(stream, generator=made)
    if name == "night":
        own = tiny_module(stream).night
        return tiny_module(stream, night=[NREM(2, 8, steps_per_dream=2, **options), own[1]])
    if name == "wake":
        return tiny_module(stream, wake=Wake(epochs=2, batch_size=9, replay=8, **options))
    kind = {"memory": ClassBalanced, "reservoir": Reservoir}[name]
    return tiny_module(stream, memory=kind(**options))


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_another_stream_is_refused(stream: Callable[[], Stream], checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"belongs to another run \(stream\.experience_0"):
        train(tiny_module(stream()), stream(), str(checkpoint))


@pytest.mark.parametrize(("where", "change"), PARTS.items(), ids=PARTS)
def test_other_parts_are_refused_and_accepted_where_somebody_knows_better(
    where: str, change: tuple[str, dict[str, Any]], checkpoint: Path
) -> None:
    stream = tiny_stream()
    with pytest.raises(ValueError, match=rf"belongs to another run \(.*{where}"):
        train(with_part(*change, stream), stream, str(checkpoint))
    if change[0] in ("wake", "optimizer", "night"):
        module = with_part(*change, stream)
        module.accept_changes = True
        saves = ModelCheckpoint(checkpoint.parent, every_n_train_steps=1, save_top_k=0)
        train(module, stream, str(checkpoint), max_steps=4, callbacks=[saves])


def test_a_module_that_has_been_trained_begins_no_second_record() -> None:
    stream = tiny_stream()
    module = tiny_module(stream, memory=None, night=(), generator=None, wake=Wake(epochs=1))
    train(module, stream)
    rows = len(module.results()["accuracy_matrix"]["rows"])
    with pytest.raises(ValueError, match=r"trained already.*expected a new module, or ckpt_path"):
        train(module, stream)
    assert rows == 4


@pytest.mark.parametrize("part", ["memory", "generator"])
def test_what_another_run_has_left_in_a_part_is_refused(part: str) -> None:
    stream = tiny_stream()
    first = tiny_module(stream)
    train(first, stream, max_steps=20)
    second = tiny_module(stream, **{part: getattr(first, part)})
    with pytest.raises(ValueError, match=f"{part}: .* another run: expected"):
        train(second, stream)


def test_a_schedule_that_was_changed_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="another run"):
        train(tiny_module(tiny_stream(), schedule=EveryNSteps(2)), tiny_stream(), str(checkpoint))

"""Batches of one sample, which batch norm cannot train on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dreamer.generators import ClassConditionalVAE
from dreamer.loop.batches import RankInfo, real_batches, seen_batches, steps_per_pass
from dreamer.memory import ClassBalanced
from dreamer.stages import NREM, Wake
from dreamer.streams import online
from dreamer.streams.base import Stream, TensorSamples, make_stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import train


def stream_of(*counts: int) -> Stream:
    rng = torch.Generator().manual_seed(0)

    def samples(count: int, first: int) -> TensorSamples:
        return TensorSamples(torch.rand(count, 4, generator=rng), first + torch.arange(count) % 2)

    return make_stream("few", [(samples(n, 2 * i), samples(4, 2 * i)) for i, n in enumerate(counts)], validation=0.0)


def normed(stream: Stream) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, stream.num_classes))


def module_for(stream: Stream, network: nn.Module | None = None, **changes: Any) -> WakeSleepModule:
    parts: dict[str, Any] = {"wake": Wake(epochs=2, batch_size=8), "night": [NREM(2, 8)], "memory": ClassBalanced(40)}
    return WakeSleepModule(normed(stream) if network is None else network, **(parts | changes))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 18])
def test_the_last_sample_joins_the_batch_before(count: int) -> None:
    stream = stream_of(count)
    samples, module = stream.experiences[0].train, module_for(stream)
    info = RankInfo(0, torch.device("cpu"), fold=True)
    stage = module.plan(stream)[0]
    sizes = [len(batch.y) for batch in real_batches(stage, 8, samples, info, 0)]
    assert stage.steps == len(sizes) == 2 * steps_per_pass(count, 8, info)
    assert sum(sizes) == 2 * count
    assert min(sizes) > 1 or count == 1
    assert sum(len(batch.y) for batch in seen_batches(stage, 8, samples, info)) == count


def test_networks_without_batch_norm_train_as_before() -> None:
    stream = stream_of(17)
    plain = nn.Linear(4, 2)
    assert module_for(stream, plain).plan(stream)[0].steps == 6
    assert module_for(stream).plan(stream)[0].steps == 4


@pytest.mark.parametrize("replay", [0, 4])
def test_a_run_trains_on_every_sample(replay: int) -> None:
    stream = stream_of(17, 9, 1)
    module = module_for(stream, wake=Wake(epochs=2, batch_size=8, replay=replay))
    train(module, stream)
    assert module.results()["complete"]
    assert module.ledger.samples["wake"] == 2 * (17 + 9 + 1)
    assert module.memory is not None and len(module.memory) == 27


def test_a_single_sample_leaves_the_running_statistics_alone() -> None:
    stream = stream_of(1)
    module = module_for(stream, night=[])
    norm, before = module.network[1], module.network[3].weight.clone()  # type: ignore[index]
    train(module, stream)
    assert torch.equal(norm.running_mean, torch.zeros(8)) and norm.training
    assert not torch.equal(module.network[3].weight, before)  # type: ignore[index]


def test_a_stream_in_pieces_of_which_the_last_is_single() -> None:
    stream = online(stream_of(27, 14), 13)
    assert [len(each.train) for each in stream.experiences] == [13, 13, 1, 13, 1]
    generator = ClassConditionalVAE((4,), 4, 2, (8,), components=1)
    module = module_for(stream, wake=Wake(batch_size=5), generator=generator, memory=None, night=[NREM(1, 4)])
    train(module, stream)
    assert module.ledger.samples["wake"] == 41

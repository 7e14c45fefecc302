"""The benches run and count; how fast things are is theirs to print, not a test's to assert."""

from __future__ import annotations

import pytest
import torch

from dreamer import bench
from dreamer.networks import MLP
from tests.lives import live


def test_the_wake_bench_pairs_its_rounds() -> None:
    rounds = bench.wake(rounds=2, steps=12)
    assert len(rounds) == 2 and all(pair.bare > 0 and pair.ours > 0 for pair in rounds)
    assert bench.Round(bare=200.0, ours=150.0).ratio == 0.75


def test_both_loops_do_the_same_arithmetic() -> None:
    """Same data, same order, same start: the wake stage ends with the weights of the bare loop."""
    from dreamer.module import WakeSleepModule
    from dreamer.randomness import Purpose, randoms
    from dreamer.stages import Wake

    stream = bench._large_digits()
    samples = stream.experiences[0].train
    network, optimizer = bench._learner(stream)
    order = torch.randperm(len(samples), generator=randoms(0, Purpose.ORDER, 0, 0))
    for index in order.split(bench._BATCH):
        optimizer.zero_grad()
        batch = next(iter(samples.batches([index])))
        torch.nn.functional.cross_entropy(network(batch.x), batch.y).backward()
        optimizer.step()
    ours, _ = bench._learner(stream)
    live(WakeSleepModule(ours, Wake(epochs=1, batch_size=bench._BATCH)), stream)
    assert isinstance(ours, MLP)
    for one, two in zip(network.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_stream_bench_covers_every_stage_and_experience() -> None:
    measured = bench.stream(experiences=3, rounds=1)
    assert sorted(measured) == sorted(
        f"{recipe} {kind}" for recipe in ("generator", "memory") for kind in ("wake", "nrem", "rem")
    )
    assert all(len(rounds) == 1 and len(rounds[0]) == 3 and min(rounds[0]) > 0 for rounds in measured.values())
    assert bench.late_over_early([[9.0, 1.0, 2.0], [9.0, 1.0, 3.0], [9.0, 1.0, 4.0]]) == pytest.approx(3.0)

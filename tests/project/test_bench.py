"""The benches run and count; how fast things are is theirs to print, not a test's to assert."""

from __future__ import annotations

import pytest
import torch

from benchmarks import bench
from dreamer.config.binding import ConfigError
from dreamer.networks import MLP
from tests.helpers.tiny_runs import train


def test_the_wake_bench_pairs_its_rounds() -> None:
    rounds = bench.wake(rounds=2, steps=12)
    assert len(rounds) == 2 and all(pair.bare > 0 and pair.ours > 0 for pair in rounds)
    assert bench.Round(bare=200.0, ours=150.0).ratio == 0.75


def test_both_loops_do_the_same_arithmetic() -> None:
    """Same data, same order, same start: the wake stage ends with the weights of the bare loop."""
    from dreamer.core.randomness import Purpose, randoms
    from dreamer.stages import Wake
    from dreamer.training.module import WakeSleepModule

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
    train(WakeSleepModule(ours, Wake(epochs=1, batch_size=bench._BATCH)), stream)
    assert isinstance(ours, MLP)
    for one, two in zip(network.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.slow
def test_the_stream_bench_covers_every_stage_and_experience() -> None:
    courses = list(bench.stream(["memories", "dreams", "joint"], experiences=8, steps=2, rounds=1))
    courses += bench.stream(["randumb"], ["network.features=20"], experiences=8, steps=2, rounds=1)
    assert [course.recipe for course in courses] == ["memories", "dreams", "joint", "randumb"]
    memories, dreams, joint, _ = courses
    assert set(memories.seconds) == set(dreams.seconds) == {"wake", "nrem", "rem"} and set(joint.seconds) == {"wake"}
    for course in courses:
        assert len(course.nbytes) == 8
        assert all(len(rounds) == 1 and len(rounds[0]) == 8 for rounds in course.seconds.values())
    assert [course.grows for course in courses] == ["", "generator", "joint data", ""]
    grown = {after - before for before, after in zip(dreams.nbytes[:-1], dreams.nbytes[1:], strict=True)}
    assert len(grown) == 1 and min(grown) > 0, "a generator that grows by experience grows by the same each time"


def test_a_course_compares_the_fifth_experience_with_the_last() -> None:
    rounds = [[9.0, 9.0, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0, 6.0, 2.0, 7.0, 5.0, 1.0]] * 2
    course = bench.Cost("er", {"wake": rounds}, [], "")
    assert course.early("wake") == 2.0 and course.late("wake") == 5.0


def test_a_recipe_that_is_not_there_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(ConfigError, match="did you mean 'derpp'"):
        bench.stream(["er", "derp"])
    with pytest.raises(ValueError, match="at least 8 experiences"):
        bench.stream(["er"], experiences=3)

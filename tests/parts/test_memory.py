"""Every memory keeps the same promises."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from dreamer import parts
from dreamer.memory import ClassBalanced, Memory, Reservoir

NAMES = parts.names("memory")


def make(name: str, capacity: int, **options: object) -> Memory:
    return parts.resolve("memory", name)(capacity, **options)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def offer(memory: Memory, count: int, classes: int = 4, seed: int = 0, batch: int = 7) -> None:
    generator = rng(seed)
    for start in range(0, count, batch):
        y = torch.arange(start, min(start + batch, count)) % classes
        memory.add(torch.arange(start, start + len(y)).float()[:, None] / 1000, y, generator)


def test_the_family_is_found() -> None:
    assert {"reservoir", "class_balanced"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_draws_what_was_offered(name: str) -> None:
    memory = make(name, 10)
    offer(memory, 50)
    assert len(memory) == 10 and memory.offered == 50
    x, y = memory.draw(6, rng())
    assert x.shape == (6, 1) and x.dtype == torch.float32 and y.dtype == torch.int64
    assert torch.equal((x[:, 0] * 1000).round().long() % 4, y)
    assert len(x.unique()) == 6, "no repetition while there are enough"
    assert len(memory.draw(25, rng()).y) == 25


@pytest.mark.parametrize("name", NAMES)
def test_the_same_randoms_give_the_same_memory(name: str) -> None:
    one, two, other = make(name, 10), make(name, 10), make(name, 10)
    offer(one, 80, seed=1)
    offer(two, 80, seed=1)
    offer(other, 80, seed=2)
    assert torch.equal(one.state_dict()["x"], two.state_dict()["x"])
    assert not torch.equal(one.state_dict()["x"], other.state_dict()["x"])
    assert torch.equal(one.draw(5, rng(3)).x, two.draw(5, rng(3)).x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("store", ["float32", "uint8"])
def test_goes_on_from_its_state_as_if_nothing_had_happened(name: str, store: str) -> None:
    whole, first, second = (make(name, 9, store=store) for _ in range(3))
    offer(whole, 60, seed=1)
    offer(first, 60, seed=1)
    second.load_state_dict(first.state_dict())
    offer(whole, 60, seed=2)
    offer(second, 60, seed=2)
    ours, theirs = second.state_dict(), whole.state_dict()
    assert torch.equal(ours.pop("x"), theirs.pop("x")) and torch.equal(ours.pop("y"), theirs.pop("y"))
    assert ours == theirs


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_as_promised(name: str) -> None:
    memory = make(name, 10)
    assert memory.nbytes == 0
    offer(memory, 4)
    assert memory.nbytes == 4 * (4 + 8)
    offer(memory, 50)
    assert memory.nbytes == memory.planned_bytes((1,)) == 10 * (4 + 8)
    small = make(name, 10, store="uint8")
    offer(small, 50)
    assert small.nbytes == small.planned_bytes((1,)) == 10 * (1 + 8)


@pytest.mark.parametrize("name", NAMES)
def test_eight_bits_lose_nothing_of_eight_bit_pixels(name: str) -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    memory = make(name, 256, store="uint8")
    memory.add(pixels[:, None] / 255, torch.zeros(256, dtype=torch.int64), rng())
    held = memory.draw(256, rng()).x.flatten().sort().values
    assert torch.equal(held, pixels.float() / 255)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_is_a_copy(name: str) -> None:
    memory = make(name, 5)
    offer(memory, 20)
    before = memory.state_dict()["x"]
    memory.draw(5, rng()).x.fill_(-1)
    assert torch.equal(before, memory.state_dict()["x"])


@pytest.mark.parametrize("name", NAMES)
def test_misuse_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match="at least 1 sample"):
        make(name, 0)
    with pytest.raises(RuntimeError, match="empty"):
        make(name, 3).draw(1, rng())
    full = make(name, 5)
    offer(full, 20)
    with pytest.raises(ValueError, match="at most 3"):
        make(name, 3).load_state_dict(full.state_dict())


def test_a_reservoir_is_a_uniform_sample() -> None:
    # each of 40 samples stays with probability 10 / 40; over 600 reservoirs the count is binomial with sd 10.6
    counts: Counter[int] = Counter()
    for seed in range(600):
        memory = Reservoir(10)
        offer(memory, 40, seed=seed)
        counts.update((memory.state_dict()["x"][:, 0] * 1000).round().long().tolist())
    assert sum(counts.values()) == 6000
    assert all(abs(counts[sample] - 150) < 5 * 10.6 for sample in range(40)), counts


def test_classes_stay_balanced_when_they_come_one_after_the_other() -> None:
    memory = ClassBalanced(30)
    generator = rng()
    for label, count in enumerate([200, 10, 100, 4, 300, 50]):
        memory.add(torch.full((count, 1), float(label)), torch.full((count,), label), generator)
    held = Counter(memory.state_dict()["y"].tolist())
    assert held[3] == 4, "a rare class keeps all it has"
    others = [held[label] for label in (0, 1, 2, 4, 5)]
    assert sum(held.values()) == 30 and max(others) - min(others) <= 1, held

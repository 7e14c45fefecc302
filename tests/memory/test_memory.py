"""Every memory keeps the same promises."""

from __future__ import annotations

import copy
import inspect
import io
from collections import Counter
from collections.abc import ItemsView, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from dreamer.config import registry
from dreamer.core.types import Batch
from dreamer.memory import (
    Buffer,
    ClassBalanced,
    ClassStatistics,
    Greedy,
    Herding,
    LatentCodes,
    Memory,
    Reservoir,
    Ring,
)
from dreamer.memory.base import below
from dreamer.memory.latent_codes import drift
from dreamer.networks import MLP
from dreamer.networks.base import Frozen
from dreamer.training.distributed import restore

NAMES = registry.names("memory")
BUFFERS = [name for name in NAMES if issubclass(registry.resolve("memory", name), Buffer)]
BALANCED = ["class_balanced", "class_statistics", "greedy", "herding", "latent_codes", "ring"]
WITHOUT_CHANCE = {"ring", "herding", "class_statistics"}
CLASSES = 4
DAYS = ((0, 1), (2, 3))
FEATURES = 6
OPTIONS: dict[str, list[dict[str, object]]] = {
    "latent_codes": [{"store": "float16"}, {"logits": True}, {"refresh": False}],
    "class_statistics": [{"covariance": "shared"}, {"covariance": "diagonal"}, {"space": "samples"}],
}
BUFFER_OPTIONS: list[dict[str, object]] = [{"store": "float16"}, {"store": "uint8"}, {"logits": True}]
KINDS = [(name, options) for name in NAMES for options in ({}, *OPTIONS.get(name, BUFFER_OPTIONS))]


def make(name: str, capacity: int = 10, num_classes: int = CLASSES, **options: object) -> Any:
    part = registry.resolve("memory", name)
    options = {"capacity": capacity, "num_classes": num_classes} | options
    return part(**{key: value for key, value in options.items() if key in inspect.signature(part).parameters})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(seed: int = 0, shape: Sequence[int] = (2,)) -> MLP:
    torch.manual_seed(seed)
    return MLP(shape, CLASSES, hidden=(FEATURES,)).eval()


def samples(count: int, classes: Sequence[int] = range(CLASSES), start: int = 0) -> Batch:
    """Samples that say who they are: their number / 1000, and their label / 10."""
    number = torch.arange(start, start + count)
    y = torch.tensor(list(classes))[number % len(classes)]
    return Batch(torch.stack([number / 1000, y / 10], dim=1), y)


def batches(samples: Batch, size: int = 7) -> Iterator[Batch]:
    """To be read once."""
    return (taken(samples, index) for index in torch.arange(len(samples.y)).split(size))


def taken(samples: Batch, index: Any) -> Batch:
    """Some of the samples."""
    return Batch(*(None if column is None else column[index] for column in samples))


def together(days: Sequence[Batch]) -> Batch:
    return Batch(torch.cat([day.x for day in days]), torch.cat([day.y for day in days]))


def offer(memory: Memory, offered: Batch, generator: torch.Generator, network: nn.Module | None = None) -> None:
    for x, y, group, _ in batches(offered):
        memory.add(x, y, generator, None if network is None else network(x).detach(), group)


def train(memory: Memory, days: Sequence[Sequence[int]] = DAYS, each: int = 60, seed: int = 0, first: int = 0) -> None:
    """Whole days: offered awake, closed at dusk with a learner that changes from day to day."""
    generator = rng(seed)
    for experience, classes in enumerate(days, first):
        offered = samples(each, classes, start=experience * each)
        network = learner(experience)
        offer(memory, offered, generator, network)
        dawn = Frozen(learner(experience - 1)) if memory.needs_dawn and experience else None
        memory.end_experience(batches(offered), network, dawn, experience, generator)


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return one == two


def tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list):
        for value in state.values() if isinstance(state, dict) else state:
            yield from tensors(value)


def shape_of(memory: Memory) -> tuple[int, ...]:
    return (FEATURES,) if memory.is_features else (2,)


# -------------------------------------------------------------------------------- what all promise


def test_the_family_is_found() -> None:
    expected = {"reservoir", "class_balanced", "ring", "greedy", "herding", "latent_codes", "class_statistics"}
    assert expected <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_contract(name: str) -> None:
    memory = make(name)
    assert isinstance(memory, Memory) and len(memory) == 0
    train(memory)
    assert len(memory) > 0
    for count in (1, 6, 25):
        dream = memory.draw(count, rng())
        assert dream.x.shape == (count, *shape_of(memory)) and dream.x.dtype == torch.float32
        assert dream.y.shape == (count,) and dream.y.dtype == torch.int64
        assert dream.x.device == dream.y.device == torch.device("cpu")
        assert dream.x.isfinite().all() and not dream.x.requires_grad
        assert set(dream.y.tolist()) <= set(range(CLASSES))
        assert dream.is_features == memory.is_features
        assert dream.p is None and dream.teacher is None and dream.logits is None and dream.clean is None


@pytest.mark.parametrize("name", BUFFERS)
def test_a_buffer_draws_what_was_offered(name: str) -> None:
    memory = make(name)
    train(memory)
    assert memory.offered == 120 and len(memory) == memory.capacity
    x, y = memory.draw(len(memory), rng())[:2]
    assert len(x.unique(dim=0)) == len(memory), "no repetition while there are enough"
    if not memory.is_features:
        offered = torch.cat([samples(60, classes, 60 * day).x for day, classes in enumerate(DAYS)])
        assert torch.equal((10 * x[:, 1]).round().long(), y)
        assert torch.isin((1000 * x[:, 0]).round(), (1000 * offered[:, 0]).round()).all()


@pytest.mark.parametrize("name", BALANCED)
def test_no_class_is_forgotten(name: str) -> None:
    memory = make(name, 8)
    train(memory)
    assert memory.draw(8, rng()).y.bincount().tolist() == [2] * CLASSES


@pytest.mark.parametrize("name", NAMES)
def test_the_same_randoms_give_the_same_memory(name: str) -> None:
    one, two, other = make(name), make(name), make(name)
    for memory, seed in ((one, 1), (two, 1), (other, 2)):
        train(memory, seed=seed)
    assert same(one.state_dict(), two.state_dict())
    assert same(one.state_dict(), other.state_dict()) == (name in WITHOUT_CHANCE)
    assert torch.equal(one.draw(5, rng(3)).x, two.draw(5, rng(3)).x)
    assert not torch.equal(one.draw(5, rng(3)).x, one.draw(5, rng(4)).x)


@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_goes_on_from_its_state_as_if_nothing_had_happened(name: str, options: dict[str, object]) -> None:
    whole, first, second = (make(name, 9, **options) for _ in range(3))
    train(whole)
    train(first)
    kept = io.BytesIO()
    torch.save(first.state_dict(), kept)
    kept.seek(0)
    second.load_state_dict(torch.load(kept, weights_only=True))
    assert len(second) == len(first) and second.nbytes == first.nbytes
    for memory in (whole, second):
        train(memory, ((1, 2), (0, 3)), seed=2, first=2)
    assert same(second.state_dict(), whole.state_dict())
    assert torch.equal(second.draw(5, rng(1)).x, whole.draw(5, rng(1)).x)


@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_bytes_are_as_promised(name: str, options: dict[str, object]) -> None:
    memory = make(name, **options)
    assert memory.nbytes == 0
    train(memory, DAYS[:1], each=4)
    assert 0 < memory.nbytes < memory.planned_bytes(shape_of(memory), CLASSES)
    train(memory)
    assert memory.nbytes == memory.planned_bytes(shape_of(memory), CLASSES)
    assert memory.nbytes <= sum(t.numel() * t.element_size() for t in tensors(memory.state_dict()))


@pytest.mark.parametrize("name", BUFFERS)
def test_eight_bits_lose_nothing_of_eight_bit_pixels(name: str) -> None:
    pixels = Batch(torch.arange(256, dtype=torch.uint8)[:, None] / 255, torch.zeros(256, dtype=torch.int64))
    if make(name).is_features:
        with pytest.raises(ValueError, match="float16"):
            make(name, store="uint8")
        return
    memory = make(name, 256, num_classes=1, store="uint8")
    offer(memory, pixels, rng())
    memory.end_experience(batches(pixels), learner(shape=(1,)), None, 0, rng())
    held = memory.draw(256, rng()).x.flatten().sort().values
    assert torch.equal(held, pixels.x.flatten())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_comes_or_goes_is_aliased(name: str) -> None:
    memory = make(name, 5)
    offered = samples(20)
    x = offered.x.clone()
    offer(memory, offered, rng())
    memory.end_experience(batches(offered), learner(), None, 0, rng())
    assert torch.equal(offered.x, x)
    before = copy.deepcopy(memory.state_dict())
    offered.x.fill_(-1)
    memory.draw(5, rng()).x.fill_(-1)
    for value in tensors(memory.state_dict()):
        value.fill_(7)
    assert same(before, memory.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_everything_held_moves(name: str) -> None:
    memory = make(name)
    train(memory)
    memory.to("meta")
    assert all(value.is_meta for value in tensors(memory.state_dict()))


@pytest.mark.parametrize("name", NAMES)
def test_misuse_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(RuntimeError, match="empty"):
        make(name, 4).draw(1, rng())
    memory = make(name)
    if memory.is_features:
        with pytest.raises(ValueError, match=r"features\(x\)"):
            memory.end_experience(batches(samples(8)), nn.Linear(2, CLASSES), None, 0, rng())
    else:
        memory.end_experience(batches(samples(8)), nn.Linear(2, CLASSES), None, 0, rng())


@pytest.mark.parametrize("name", BUFFERS)
def test_a_buffer_knows_its_bounds(name: str) -> None:
    with pytest.raises(ValueError, match="at least 1 sample"):
        make(name, 0)
    with pytest.raises(ValueError, match="float32"):
        make(name, store="int3")
    full = make(name, 8)
    train(full)
    with pytest.raises(ValueError, match="at most 4"):
        make(name, 4).load_state_dict(full.state_dict())


@pytest.mark.parametrize("name", BUFFERS)
def test_logits_are_kept_where_requested(name: str) -> None:
    memory = make(name, logits=True)
    assert memory.logits and not make(name).logits
    offered, network = samples(40), learner()
    offer(memory, offered, rng(), network)
    memory.end_experience(batches(offered), network, None, 0, rng())
    dream = memory.draw(8, rng())
    output = network.classify(dream.x) if memory.is_features else network(dream.x)
    assert dream.logits is not None and not dream.logits.requires_grad
    torch.testing.assert_close(dream.logits, output.detach())
    if len(awake := make(name, logits=False)) == 0:
        offer(awake, offered, rng())
    if len(awake):
        with pytest.raises(ValueError, match="logits"):
            offer(make(name, logits=True), offered, rng())


@pytest.mark.parametrize("name", NAMES)
def test_who_keeps_logits_while_awake_is_offered_every_pass(name: str) -> None:
    takes_it = "every_pass" in inspect.signature(registry.resolve("memory", name)).parameters
    assert takes_it or name not in {"reservoir", "class_balanced", "ring"}
    assert not make(name).every_pass and make(name, logits=True).every_pass == takes_it
    if takes_it:
        assert make(name, every_pass=True).every_pass and not make(name, logits=True, every_pass=False).every_pass


@pytest.mark.parametrize("name", NAMES)
def test_what_a_dusk_wrote_is_replaced_by_the_next_one_of_the_same_experience(name: str) -> None:
    day, later = samples(40, (2, 3), start=60), samples(80, (2, 3), start=60)
    once, twice = make(name), make(name)
    for memory in (once, twice):
        train(memory, DAYS[:1])
        memory.draw(1, rng())
    twice.end_experience(batches(day), learner(5), learner(0), 1, rng())
    for memory in (once, twice):
        memory.end_experience(batches(later), learner(6), learner(0), 1, rng())
    assert len(once) == len(twice) and once.nbytes == twice.nbytes
    if isinstance(once, LatentCodes):
        new = once.written == 1
        assert torch.equal(once.written, twice.written)
        assert torch.equal(once.held["x"][: len(once)][new], twice.held["x"][: len(once)][new])
    else:
        assert same(once.state_dict(), twice.state_dict())


# -------------------------------------------------------------------------------- several processes


def offer_days_together(
    memories: Sequence[Any], days: Sequence[Sequence[int]] = DAYS, first: int = 0, each: int = 60
) -> None:
    """Days as in :func:`train`, each memory with its own part of the samples."""
    order = torch.randperm(each, generator=rng(1))
    for experience, labels in enumerate(days, first):
        offered = samples(each, labels, start=experience * each)
        network = learner(experience)
        for memory in memories:
            own = taken(offered, order[memory.rank :: memory.ranks])
            generator = rng(10 * experience + memory.rank)
            offer(memory, own, generator, network)
            dawn = Frozen(learner(experience - 1)) if memory.needs_dawn and experience else None
            memory.end_experience(batches(own), network, dawn, experience, generator)


def distributed(name: str, ranks: int, capacity: int = 10, **options: object) -> list[Any]:
    memories = [make(name, capacity, **options) for _ in range(ranks)]
    for rank, memory in enumerate(memories):
        memory.distribute(rank, ranks)
    return memories


def rows(memories: Sequence[Any]) -> list[list[float]]:
    """All that is held, as sorted rows of numbers."""
    found: list[list[float]] = []
    for held in (memory.state_dict()["held"] for memory in memories):
        columns = [column.double().reshape(len(column), -1) for column in held.values()]
        found += torch.cat(columns, dim=1).tolist() if columns else []
    return sorted(found)


def held_once(memories: Sequence[Any], options: dict[str, object]) -> bool:
    # in 255 steps some of these samples look alike
    return options.get("store") == "uint8" or len(np.unique(rows(memories), axis=0)) == sum(map(len, memories))


def of_each_class(memory: Any) -> list[int]:
    return memory.state_dict()["held"]["y"].bincount(minlength=CLASSES).tolist()


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_several_keep_together_what_is_planned(name: str, options: dict[str, object], ranks: int) -> None:
    memories = distributed(name, ranks, **options)
    offer_days_together(memories)
    assert all(len(memory) for memory in memories)
    planned = {memory.planned_bytes(shape_of(memory), CLASSES) for memory in memories}
    assert planned == {sum(memory.nbytes for memory in memories)}
    if name in BUFFERS:
        assert sum(len(memory) for memory in memories) == memories[0].total
        assert sum(memory.offered for memory in memories) == 120
        assert held_once(memories, options)


@pytest.mark.parametrize(("before", "now"), [(2, 1), (1, 2), (2, 3), (3, 2)])
@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_what_several_held_is_dealt_out_to_others(name: str, options: dict[str, object], before: int, now: int) -> None:
    old, new = distributed(name, before, **options), distributed(name, now, **options)
    offer_days_together(old)
    states = [memory.state_dict() for memory in old]
    untouched = copy.deepcopy(states)
    for memory in new:
        restore(memory, states)
    assert same(states, untouched)
    if name in BUFFERS:
        assert rows(new) == rows(old), "nothing is lost, and nothing held twice"
        assert max(map(len, new)) - min(map(len, new)) <= 1
        counts = torch.tensor([of_each_class(memory) for memory in new])
        assert (counts.max(dim=0).values - counts.min(dim=0).values).max() <= 1, "each class lies evenly on all"
        assert sum(memory.offered for memory in new) == 120
    offer_days_together(new, ((0, 1), (2, 3)), first=2)
    planned = new[0].planned_bytes(shape_of(new[0]), CLASSES)
    if name not in BUFFERS:
        # classes that come back take twice as much while they are there
        assert sum(memory.nbytes for memory in new) <= 2 * planned
        return
    assert planned * (1 - now / 10) <= sum(memory.nbytes for memory in new) <= planned
    assert held_once(new, options)


@pytest.mark.parametrize("name", NAMES)
def test_on_as_many_as_before_each_goes_on_with_its_own(name: str) -> None:
    old, new = distributed(name, 2), distributed(name, 2)
    offer_days_together(old)
    states = [memory.state_dict() for memory in old]
    for memory in new:
        restore(memory, states)
    for memories in (old, new):
        offer_days_together(memories, ((1, 2), (0, 3)), first=2)
    assert same([memory.state_dict() for memory in old], [memory.state_dict() for memory in new])


@pytest.mark.parametrize("name", NAMES)
def test_a_memory_of_one_process_can_be_distributed_but_not_a_part(name: str) -> None:
    alone, several = make(name), [make(name) for _ in range(3)]
    train(alone)
    for rank, memory in enumerate(several):
        train(memory)
        memory.distribute(rank, 3)
        memory.distribute(rank, 3)
    if name in BUFFERS:
        assert rows(several) == rows([alone])
        with pytest.raises(ValueError, match="on each of 11 devices"):
            make(name).distribute(0, 11)
    else:
        assert sum(bank["count"].sum() for memory in several for bank in memory.banks) == 120
    with pytest.raises(ValueError, match="part of one of 3"):
        several[0].distribute(0, 1)


def test_counters_are_divided_like_the_rows() -> None:
    old, new = distributed("class_balanced", 2), distributed("class_balanced", 3)
    offer_days_together(old)
    states = [memory.state_dict() for memory in old]
    dealt = [memory.dealt(states) for memory in new]
    for label in range(CLASSES):
        before, now = ([dict(row[:2] for row in state["classes"])[label] for state in part] for part in (states, dealt))
        assert sum(before) == sum(now) == 30 and max(now) - min(now) <= 1
    assert all(offered >= len(slots) for state in dealt for _, offered, slots in state["classes"])


def numbers(state: dict[str, Any]) -> list[int]:
    """Which samples are held."""
    found: list[int] = (state["held"]["x"][:, 0] * 1000).round().long().tolist()
    return found


def test_rings_and_lists_are_dealt_from_the_top() -> None:
    ring = Ring(12)
    offer(ring, samples(100), rng())
    for half in distributed("ring", 2, 12):
        state = half.dealt([ring.state_dict()])
        for _, slots in state["classes"]:
            ages = [numbers(state)[slot] for slot in slots]
            assert ages == sorted(ages) and len(ages) in (1, 2)
    lists = Herding(12)
    lists.end_experience(batches(samples(60, (0, 1))), learner(), None, 0, rng())
    best = numbers(lists.state_dict())
    halves = [numbers(half.dealt([lists.state_dict()])) for half in distributed("herding", 2, 12)]
    assert halves == [best[0:6:2] + best[6:12:2], best[1:6:2] + best[7:12:2]]


@pytest.mark.parametrize("form", ["full", "diagonal", "shared"])
def test_statistics_of_several_are_merged_to_those_of_one(form: Any) -> None:
    offered = clouds(0, [40, 25, 60])
    whole = ClassStatistics(form, space="samples")
    whole.end_experience(batches(offered), learner(), None, 0, rng())
    halves = [ClassStatistics(form, space="samples") for _ in range(2)]
    for rank, half in enumerate(halves):
        half.distribute(rank, 2)
        half.end_experience(batches(Batch(offered.x[rank::2], offered.y[rank::2])), learner(), None, 0, rng())
    again = ClassStatistics(form, space="samples")
    restore(again, [half.state_dict() for half in halves])
    for label in range(3):
        expected = covariance_of(whole, label)
        np.testing.assert_allclose(covariance_of(again, label), expected, rtol=1e-3, atol=1e-4 * expected.max())
    torch.testing.assert_close(whole.banks[0]["mean"], again.banks[0]["mean"])
    assert again.banks[0]["count"].tolist() == [40, 25, 60]


# -------------------------------------------------------------------------------- reservoir, class_balanced


def test_a_reservoir_is_a_uniform_sample() -> None:
    # each of 40 samples stays with probability 10 / 40; over 600 reservoirs the count is binomial with sd 10.6
    counts: Counter[int] = Counter()
    for seed in range(600):
        memory = Reservoir(10)
        offer(memory, samples(40), rng(seed))
        counts.update((memory.state_dict()["held"]["x"][:, 0] * 1000).round().long().tolist())
    assert sum(counts.values()) == 6000
    assert all(abs(counts[sample] - 150) < 5 * 10.6 for sample in range(40)), counts


def test_a_reservoir_counts_every_offer_of_every_pass() -> None:
    # three passes over 40 samples are 120 offers of equal chance: over 600 reservoirs each pass has a third of the rows
    # (sd 36.5), and each sample as many as any other (sd 11.9)
    passes: Counter[int] = Counter()
    counts: Counter[int] = Counter()
    for seed in range(600):
        memory, generator = Reservoir(10, logits=True), rng(seed)
        for number in range(3):
            offered = samples(40)
            memory.add(offered.x, offered.y, generator, torch.full((40, CLASSES), float(number)))
        assert memory.offered == 120
        held = memory.state_dict()["held"]
        passes.update(held["logits"][:, 0].long().tolist())
        counts.update((held["x"][:, 0] * 1000).round().long().tolist())
    assert sum(passes.values()) == 6000
    assert all(abs(passes[number] - 2000) < 5 * 36.5 for number in range(3)), passes
    assert all(abs(counts[sample] - 150) < 5 * 11.9 for sample in range(40)), counts


def one_after_the_other(memory: Memory, counts: Sequence[int]) -> Counter[int]:
    """How many of each class are held when classes come one after the other."""
    generator = rng()
    for label, count in enumerate(counts):
        memory.add(torch.full((count, 1), float(label)), torch.full((count,), label), generator)
    return Counter(memory.state_dict()["held"]["y"].tolist())


@pytest.mark.parametrize("part", [ClassBalanced, Greedy, Ring])
def test_classes_stay_balanced_when_they_come_one_after_the_other(part: type[Buffer]) -> None:
    held = one_after_the_other(part(30), [200, 10, 100, 4, 300, 50])
    assert held[3] == 4, "a rare class keeps all it has"
    others = [held[label] for label in (0, 1, 2, 4, 5)]
    assert sum(held.values()) == 30 and max(others) - min(others) <= 1, held


def test_a_balanced_memory_looks_through_its_classes_only_after_one_made_room(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(dict[int, list[int]]):
        looked = 0

        def items(self) -> ItemsView[int, list[int]]:
            Watched.looked += 1
            return super().items()

    memory = ClassBalanced(30)
    one_after_the_other(memory, [20] * 10)
    monkeypatch.setattr(memory, "_slots", Watched(memory._slots))
    y = torch.arange(500) % 10
    memory.add(y[:, None].float(), y, rng())
    assert Watched.looked <= 1, "all classes have their part: nothing is moved"
    held = one_after_the_other(memory, [0] * 10 + [100])
    assert held[10] == 3 and Watched.looked <= 1 + held[10]


# -------------------------------------------------------------------------------- greedy


def test_greedy_keeps_the_first_samples_while_there_is_room() -> None:
    memory = Greedy(8)
    offer(memory, samples(100), rng())
    assert sorted((memory.state_dict()["held"]["x"][:, 0] * 1000).round().tolist()) == list(range(8))


def test_greedy_follows_the_published_algorithm() -> None:
    """Algorithm 1 of GDumb, sample by sample, on counts: random choices do not change those when ties are forced."""
    y = torch.randint(5, (400,), generator=rng(1)).tolist()
    memory, counts = Greedy(20), dict[int, int]()
    for label in y:
        room = 20 / len(counts) if counts else 0
        if label not in counts or counts[label] < room:
            if sum(counts.values()) >= 20:
                held = Counter(memory.state_dict()["held"]["y"].tolist())
                largest = max(held.values())
                before = dict(held)
                memory.add(torch.zeros(1, 1), torch.tensor([label]), rng())
                after = Counter(memory.state_dict()["held"]["y"].tolist())
                loser = next(other for other in before if after[other] < before[other])
                assert before[loser] == largest
                counts[loser] -= 1
            else:
                memory.add(torch.zeros(1, 1), torch.tensor([label]), rng())
            counts[label] = counts.get(label, 0) + 1
        else:
            memory.add(torch.zeros(1, 1), torch.tensor([label]), rng())
        assert Counter(memory.state_dict()["held"]["y"].tolist()) == Counter(counts)
    assert set(counts.values()) == {4}


# -------------------------------------------------------------------------------- ring


@pytest.mark.parametrize("num_classes", [CLASSES, None])
def test_a_ring_holds_the_latest_of_every_class(num_classes: int | None) -> None:
    memory = Ring(12, num_classes=num_classes)
    offer(memory, samples(100), rng())
    assert sorted((memory.state_dict()["held"]["x"][:, 0] * 1000).round().tolist()) == list(range(88, 100))


def test_a_ring_has_its_final_size_from_the_first_class_on() -> None:
    memory = Ring(14, num_classes=CLASSES)
    assert memory.capacity == 12
    offer(memory, samples(50, (1,)), rng())
    assert len(memory) == 3
    first = memory.state_dict()["held"]["x"]
    offer(memory, samples(50, (2, 3)), rng())
    assert torch.equal(memory.state_dict()["held"]["x"][:3], first), "old classes do not change"
    with pytest.raises(ValueError, match="each of 4 classes"):
        Ring(3, num_classes=4)


def test_a_ring_that_shrinks_gives_up_its_oldest() -> None:
    memory = Ring(12)
    offer(memory, samples(50, (0,)), rng())
    offer(memory, samples(20, (1,), start=50), rng())
    assert sorted((memory.state_dict()["held"]["x"][:, 0] * 1000).round().tolist()) == [*range(44, 50), *range(64, 70)]


def test_a_ring_that_has_seen_more_classes_than_fit_keeps_some() -> None:
    assert sum(one_after_the_other(Ring(3), [5, 5, 5, 5, 5]).values()) == 3


# -------------------------------------------------------------------------------- herding


def brute_force(features: np.ndarray, count: int) -> list[int]:
    """Algorithm 4 of iCaRL as it is written."""
    mean, chosen = features.mean(axis=0), list[int]()
    for k in range(1, count + 1):
        free = [index for index in range(len(features)) if index not in chosen]
        distance = [np.linalg.norm(mean - (features[index] + features[chosen].sum(axis=0)) / k) for index in free]
        chosen.append(free[int(np.argmin(distance))])
    return chosen


@pytest.mark.parametrize("featured", [True, False])
def test_herding_chooses_as_its_paper_says(featured: bool) -> None:
    torch.manual_seed(3)
    network: nn.Module = MLP((5,), 3, hidden=(8,)) if featured else nn.Sequential(nn.Linear(5, 16), nn.Tanh())
    x, y = torch.randn(60, 5, generator=rng(4)), torch.arange(60) % 3
    memory = Herding(21)
    memory.end_experience(batches(Batch(x, y)), network, None, 0, rng())
    with torch.no_grad():
        view = (network.features(x) if featured else network(x)).numpy().astype(np.float64)
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    expected = []
    for label in range(3):
        members = np.flatnonzero(y.numpy() == label)
        expected += members[brute_force(view[members], 7)].tolist()
    assert torch.equal(memory.state_dict()["held"]["x"], x[expected])
    assert torch.equal(memory.state_dict()["held"]["y"], y[expected])


def test_herding_cuts_old_lists_at_their_end() -> None:
    memory = Herding(12)
    held = []
    for day, classes in enumerate([(0, 1), (2,), (3, 4)]):
        memory.end_experience(batches(samples(60, classes)), learner(), None, day, rng())
        state = memory.state_dict()["held"]
        held.append({label: state["x"][state["y"] == label] for label in state["y"].unique().tolist()})
    assert [len(held[0][label]) for label in (0, 1)] == [6, 6]
    assert [len(held[1][label]) for label in (0, 1, 2)] == [4, 4, 4]
    assert [len(held[2][label]) for label in range(5)] == [3, 3, 2, 2, 2], "rounded so that all of it is used"
    for label in (0, 1):
        assert torch.equal(held[1][label], held[0][label][:4]) and torch.equal(held[2][label], held[0][label][:3])


@pytest.mark.parametrize("part", [Herding, LatentCodes])
def test_a_class_that_comes_back_divides_its_part_over_its_days(part: type[Buffer]) -> None:
    memory = part(12)
    for day in range(3):
        memory.end_experience(batches(samples(60, (0, 1), start=60 * day)), learner(), learner(), day, rng())
    assert memory.state_dict()["lists"] == [[label, day, 2] for day in range(3) for label in (0, 1)]


# -------------------------------------------------------------------------------- latent_codes


class Shifted(nn.Module):
    """Features that are linear in the samples, moved by a constant."""

    direction = torch.tensor([1.0, -2.0, 0.5, 3.0])

    def __init__(self, by: float):
        super().__init__()
        self.by = by

    def features(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.square()], dim=1) + self.by * self.direction

    def classify(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))


@pytest.mark.parametrize("dusks", [1, 2, 3])
def test_codes_follow_a_translation_exactly(dusks: int) -> None:
    """Even where nights cut the day, and the learner has moved further at every dusk."""
    memory = LatentCodes(40)
    memory.end_experience(batches(samples(60, (0, 1))), Shifted(0.0), None, 0, rng())
    before = memory.state_dict()["held"]["x"]
    new = samples(90, (2, 3), start=60)
    for dusk in range(1, dusks + 1):
        offered = Batch(new.x[: 30 * dusk], new.y[: 30 * dusk])
        memory.end_experience(batches(offered), Shifted(0.7 * dusk), Shifted(0.0), 1, rng(dusk))
    after = memory.state_dict()["held"]["x"]
    moved = 0.7 * dusks * Shifted.direction
    torch.testing.assert_close(after[:20], torch.cat([before[:10], before[20:30]]) + moved)
    assert memory.written.tolist() == [0] * 20 + [1] * 20
    features = Shifted(0.7 * dusks).features(new.x[: 30 * dusks])
    assert all((features == code).all(dim=1).any() for code in after[20:]), "the day's own are written anew"


def test_codes_that_are_not_refreshed_stay_and_need_no_dawn() -> None:
    memory = LatentCodes(8, refresh=False)
    assert LatentCodes(8).needs_dawn and not memory.needs_dawn
    memory.end_experience(batches(samples(40, (0,))), Shifted(0.0), None, 0, rng())
    before = memory.state_dict()["held"]["x"]
    memory.end_experience(batches(samples(40, (1,))), Shifted(1.0), Shifted(0.0), 1, rng())
    assert torch.equal(memory.state_dict()["held"]["x"][:4], before[:4])


def test_drift_is_the_gaussian_mean_of_what_moved_around() -> None:
    generator = np.random.default_rng(0)
    codes, before, moved = (generator.normal(size=(n, 3)) for n in (4, 30, 30))
    width = 0.4 * np.sqrt(((before - before.mean(axis=0)) ** 2).sum(axis=1).mean())
    expected = []
    for code in codes:
        weight = np.exp(-((before - code) ** 2).sum(axis=1) / (2 * width**2))
        expected.append((weight[:, None] * moved).sum(axis=0) / weight.sum())
    found = drift(*(torch.from_numpy(value) for value in (codes, before, before + moved)), sigma=0.4)
    np.testing.assert_allclose(found.numpy(), np.stack(expected), rtol=1e-9)


def test_a_day_that_is_not_recognised_moves_nothing() -> None:
    memory = LatentCodes(8)
    memory.end_experience(batches(samples(40, (0,))), Shifted(0.0), None, 0, rng())
    memory.end_experience(batches(samples(40, (1,))), Shifted(0.0), Shifted(0.0), 1, rng())
    before = memory.state_dict()["held"]["x"][:4]
    memory.end_experience(batches(samples(40, (1,), start=500)), Shifted(1.0), Shifted(0.0), 1, rng())
    assert torch.equal(memory.state_dict()["held"]["x"][:4], before)


def test_drift_far_from_everything_is_that_of_the_nearest() -> None:
    before, moved = torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [7.0]])
    assert drift(torch.tensor([[1e4]]), before, before + moved, sigma=0.1).item() == pytest.approx(7.0)


def test_codes_are_balanced_and_their_age_is_known() -> None:
    memory = LatentCodes(30)
    train(memory, ((0, 1), (2,), (3,)))
    assert sorted(Counter(memory.state_dict()["held"]["y"].tolist()).values()) == [7, 7, 8, 8]
    assert memory.written.tolist() == [0] * 16 + [1] * 7 + [2] * 7
    again = LatentCodes(30)
    again.load_state_dict(memory.state_dict())
    assert torch.equal(again.written, memory.written)
    with pytest.raises(ValueError, match="sigma larger than 0"):
        LatentCodes(8, sigma=0.0)


# -------------------------------------------------------------------------------- class_statistics


def clouds(seed: int, counts: Sequence[int]) -> Batch:
    """Correlated clouds, one per class, of shape (2, 2) and far from 0."""
    random = rng(seed)
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    shape = torch.randn(len(counts), 4, 4, generator=random, dtype=torch.float64)
    x = torch.einsum("bij,bj->bi", shape[y], torch.randn(len(y), 4, generator=random, dtype=torch.float64))
    order = torch.randperm(len(y), generator=random)
    return Batch((x + 1000 + 10 * y[:, None]).view(-1, 2, 2)[order], y[order])


def covariance_of(memory: ClassStatistics, label: int) -> np.ndarray:
    bank = next(bank for bank in memory.banks if label in bank["label"])
    place = bank["label"].tolist().index(label) if memory.covariance != "shared" else 0
    factor = bank["factor"][place].double().numpy()
    return np.diag(factor**2) if memory.covariance == "diagonal" else factor @ factor.T


@pytest.mark.parametrize("form", ["full", "diagonal", "shared"])
def test_statistics_are_those_of_numpy_and_sklearn(form: Any) -> None:
    offered = clouds(0, [40, 25, 60])
    memory = ClassStatistics(form, space="samples")
    memory.end_experience(batches(offered), learner(), None, 0, rng())
    flat, y = offered.x.flatten(1).numpy(), offered.y.numpy()
    pooled = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(flat, y).covariance_
    for label in range(3):
        own = flat[y == label]
        expected = {
            "full": np.cov(own.T),
            "diagonal": np.diag(own.var(axis=0, ddof=1)),
            # sklearn divides by the number of samples
            "shared": pooled * len(y) / (len(y) - 3),
        }[form]
        np.testing.assert_allclose(covariance_of(memory, label), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(memory.banks[0]["mean"][label].numpy(), own.mean(axis=0), rtol=1e-6)
    assert memory.banks[0]["count"].tolist() == [40, 25, 60]


@pytest.mark.parametrize("form", ["full", "diagonal", "shared"])
def test_a_class_that_comes_back_is_measured_over_all_its_days(form: Any) -> None:
    """A third experience without it closes the second: what is then held is what one day would have given."""
    days = [clouds(seed, [30, 20, 25]) for seed in range(2)]
    other = Batch(torch.randn(50, 2, 2, generator=rng(9)), torch.full((50,), 7))
    whole, cut = ClassStatistics(form, space="samples"), ClassStatistics(form, space="samples")
    joined = together(days)
    for number, day in enumerate([*days, other]):
        cut.end_experience(batches(day), learner(), None, number, rng())
        planned = cut.planned_bytes((2, 2), 3 + (number == 2))
        assert (cut.nbytes > planned) == (number == 1), "only while the class is back it is held twice"
    for number, day in enumerate([joined, other]):
        whole.end_experience(batches(day), learner(), None, number, rng())
    for label in range(3):
        expected = covariance_of(whole, label)
        np.testing.assert_allclose(covariance_of(cut, label), expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert whole.banks[0]["count"].tolist() == cut.banks[0]["count"].tolist()
    torch.testing.assert_close(whole.banks[0]["mean"], cut.banks[0]["mean"])


@pytest.mark.parametrize("form", ["full", "diagonal", "shared"])
@pytest.mark.parametrize("shrinkage", [0.0, 0.5])
def test_draws_have_the_moments_that_were_measured(form: Any, shrinkage: float) -> None:
    memory = ClassStatistics(form, space="samples", shrinkage=shrinkage)
    offered = clouds(0, [40, 25, 60])
    days = [Batch(offered.x[offered.y == label], offered.y[offered.y == label]) for label in range(3)]
    memory.end_experience(batches(together(days[:2])), learner(), None, 0, rng())
    memory.end_experience(batches(days[2]), learner(), None, 1, rng())
    dream = memory.draw(60_000, rng(1))
    assert dream.x.shape == (60_000, 2, 2) and not dream.is_features
    assert dream.y.bincount().tolist() == [20_000] * 3
    flat = dream.x.flatten(1).double().numpy()
    whole = ClassStatistics(form, space="samples")
    whole.end_experience(batches(offered), learner(), None, 0, rng())
    for label in range(3):
        own = flat[dream.y.numpy() == label]
        measured = covariance_of(whole, label)
        expected = (1 - shrinkage) * measured + shrinkage * np.trace(measured) / 4 * np.eye(4)
        np.testing.assert_allclose(np.cov(own.T), expected, atol=0.06 * measured.max())
        scale = np.sqrt(measured.max() / len(own))
        np.testing.assert_allclose(own.mean(axis=0), whole.banks[0]["mean"][label].numpy(), atol=5 * scale)


def test_statistics_of_features_are_entered_behind_them() -> None:
    memory, network = ClassStatistics(), learner()
    offered = samples(200)
    memory.end_experience(batches(offered), network, None, 0, rng())
    assert memory.is_features and memory.draw(3, rng()).is_features
    with torch.no_grad():
        own = network.features(offered.x[offered.y == 2])
    torch.testing.assert_close(memory.banks[0]["mean"][2], own.mean(dim=0))


def test_one_sample_of_a_class_is_its_mean() -> None:
    memory = ClassStatistics(space="samples", shrinkage=0.1)
    offered = samples(4)
    memory.end_experience(batches(offered), learner(), None, 0, rng())
    dream = memory.draw(8, rng())
    torch.testing.assert_close(dream.x, offered.x[dream.y])


def test_statistics_refuse_what_they_are_not() -> None:
    with pytest.raises(ValueError, match=r"shrinkage in \[0, 1\]"):
        ClassStatistics(shrinkage=1.5)
    full = ClassStatistics()
    train(full)
    with pytest.raises(ValueError, match="diagonal"):
        ClassStatistics("diagonal").load_state_dict(full.state_dict())


def test_a_random_number_is_that_of_torch():
    ours, theirs = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    bounds = [1, 2, 7, 500, 2**31, 2**40]
    assert [below(bound, ours) for bound in bounds] == [
        int(torch.randint(bound, (), generator=theirs)) for bound in bounds
    ]
    assert torch.equal(ours.get_state(), theirs.get_state())

"""Streams that blur, repeat, come in pieces, or pass by."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from dreamer import config, metrics
from dreamer.config.binding import ConfigError
from dreamer.memory import ClassBalanced
from dreamer.report.pictures import draw_hypnogram, draw_matrix
from dreamer.report.table import experience_rows
from dreamer.runs.run_config import run_config
from dreamer.stages import NREM, Wake
from dreamer.streams import Stream, blurred, from_iterable, online, repeated
from dreamer.streams.base import JoinedSamples, TensorSamples, joined, make_stream
from dreamer.streams.passing import PassingSamples
from dreamer.streams.registry import resolve_change
from tests.helpers.stream_contract import everything, rows, same
from tests.helpers.tiny_runs import tiny_module, tiny_stream
from tests.helpers.tiny_runs import train as train_module

STREAM = tiny_stream(experiences=4, per_class=20)


def training(stream: Stream) -> Counter[bytes]:
    """How often every training sample comes in the whole stream."""
    return Counter(x.numpy().tobytes() for each in stream.experiences for x in everything(each.train)[0])


def moved(stream: Stream) -> list[list[int]]:
    """How many samples of each experience of the stream come in which experience."""
    own = [rows(experience.train) for experience in STREAM.experiences]
    so_far = [rows(experience.train) for experience in stream.experiences]
    return [[len(mine & there) for there in so_far] for mine in own]


CHANGES: dict[str, Any] = {
    "blurred": lambda stream: blurred(stream, 0.3),
    "drifting": lambda stream: blurred(online(stream, 6), 0.9, "gaussian", 4),
    "repeated": lambda stream: repeated(stream, 0.5, extra=2),
    "online": lambda stream: online(stream, 7),
    "all": lambda stream: online(blurred(repeated(stream, 0.5), 0.2), 7),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_sample_comes_once_and_evaluation_is_as_before(change: Any):
    before, after = STREAM, change(STREAM)
    assert training(after) == training(before) and set(training(after).values()) == {1}
    assert [each.index for each in after.experiences] == list(range(len(after)))
    for experience, origin in zip(after.experiences, after.origins, strict=True):
        assert tuple(experience.classes) == tuple(experience.train.y.unique().tolist())
        assert experience.test is before.experiences[origin].test
        assert experience.validation is before.experiences[origin].validation
        assert isinstance(experience.train, TensorSamples), "a batch stays one index_select"
    assert set(after.origins) == set(range(len(before)))


@pytest.mark.parametrize("name", ["blurred", "repeated", "online"])
def test_the_seed_decides(name: str):
    change, options = resolve_change(name), {"size": 7} if name == "online" else {}
    one, again, other = (change(STREAM, seed=seed, **options) for seed in (0, 0, 1))
    assert same(one, again) and not same(one, other)


def test_samples_leak_to_their_neighbours():
    found = moved(blurred(STREAM, 0.3, seed=3))
    for own, line in enumerate(found):
        left = sum(line) - line[own]
        assert left == round(0.3 * sum(line))
        assert all(count == 0 for there, count in enumerate(line) if abs(there - own) > 1)
    assert same(blurred(STREAM, 0.0), STREAM)


def test_further_leaks_are_rarer():
    many = TensorSamples(torch.arange(4000.0).unsqueeze(1), torch.arange(4000) // 1000)
    parts = [(many.subset(torch.arange(1000 * i, 1000 * (i + 1))), many) for i in range(4)]
    wide = blurred(make_stream("many", parts, validation=0), 0.6, "gaussian", 1.5)
    from_first = [int((everything(each.train)[1] == 0).sum()) for each in wide.experiences]
    assert from_first[0] == 400 and from_first[1] > 1.3 * from_first[2] > 1.3 * from_first[3] > 0
    straight = blurred(make_stream("many", parts, validation=0), 0.6, "linear", 2)
    from_first = [int((everything(each.train)[1] == 0).sum()) for each in straight.experiences]
    # of weights 2 and 1
    assert from_first[3] == 0 and from_first[1] == pytest.approx(400, abs=50)


def test_classes_come_back_only_after_they_were_first_seen():
    stream = repeated(STREAM, 0.6, extra=3, seed=2)
    assert len(stream) == 7 and stream.origins == (0, 1, 2, 3, 3, 3, 3)
    so_far: set[int] = set()
    returned = 0
    for index, experience in enumerate(stream.experiences):
        new = set(experience.classes) - so_far
        assert new == (set(STREAM.experiences[index].classes) if index < 4 else set())
        returned += len(set(experience.classes) & so_far)
        so_far |= new
    assert returned > 5
    counts = [int((everything(each.train)[1] == 0).sum()) for each in stream.experiences]
    assert max(counts) - min(count for count in counts if count) <= 1, "a class is dealt out evenly"
    assert same(repeated(STREAM, 0.0), STREAM)


def test_pieces_have_their_size():
    stream = online(STREAM, 7)
    assert [len(each.train) for each in stream.experiences] == [7, 7, 7, 7, 2] * 4
    assert stream.origins == tuple(i for i in range(4) for _ in range(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: blurred(STREAM, 1.0), r"blurred: expected a fraction of samples that leave in \[0, 1\), got 1.0"),
        (lambda: blurred(tiny_stream(1)), r"blurred: expected a reach .* in two or more experiences, got 1.0 in 1"),
        (lambda: repeated(STREAM, 1.5), r"repeated: expected a chance again in \[0, 1\]"),
        (lambda: repeated(blurred(STREAM, 0.3)), "repeated: expected experiences with classes of their own"),
        (lambda: repeated(STREAM, 0.0, extra=1), "experience 4 is left without training samples"),
        (lambda: online(STREAM, 0), "online: expected pieces of at least 1 sample, got 0"),
        (lambda: online(from_iterable([], STREAM.experiences[0].test, experiences=1, size=1)), "read as it is run"),
    ],
)
def test_impossible_changes_are_one_sentence(change: Any, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        change()
    assert "\n" not in str(caught.value)


def test_joined_tensors_are_one_tensor():
    part = STREAM.experiences[0].train
    assert isinstance(joined([part, part]), TensorSamples) and joined([part]) is part
    bytes_ = TensorSamples(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), scale=1 / 255)
    mixed = joined([part, bytes_])
    assert isinstance(mixed, JoinedSamples) and len(mixed) == len(part) + 2


# --- what is measured ----------------------------------------------------------------------------------------------


def row(after: str, experience: int, *accuracy: float | None, night: int = -1) -> Any:
    return {"after": after, "experience": experience, "night": night, "stage": experience, "global_step": 0,
            "accuracy": list(accuracy), "validation": None}  # fmt: skip


def test_an_experience_in_pieces_counts_once():
    """Three pieces of one experience, one of another: by hand."""
    found = [
        row("birth", -1, 0.1, 0.1, 0.1, 0.5),
        row("wake", 0, 0.4, 0.4, 0.4, 0.5),
        row("wake", 1, 0.6, 0.6, 0.6, 0.5),
        row("wake", 2, 0.9, 0.9, 0.9, 0.3),
        row("wake", 3, 0.5, 0.5, 0.5, 0.8),
    ]
    numbers = metrics.summarise(found, (0, 0, 0, 1))
    assert numbers["average_accuracy"] == pytest.approx((0.5 + 0.8) / 2)
    assert numbers["forgetting"] == pytest.approx(0.9 - 0.5)
    assert numbers["forward_transfer"] == pytest.approx(0.3 - 0.5)
    seen = [
        metrics.average_seen(each["accuracy"], each["experience"]) for each in metrics.whole_rows(found, (0, 0, 0, 1))
    ]
    assert seen == [None, 0.4, 0.6, 0.9, pytest.approx(0.65)]
    assert metrics.whole_rows(found, None) == found == metrics.whole_rows(found, (0, 1, 2, 3))


def test_a_run_in_pieces_has_the_numbers_of_its_experiences(tmp_path: Path):
    stream = online(tiny_stream(), 5)
    module = tiny_module(stream, generator=None, memory=ClassBalanced(12), night=[NREM(2, 8)])
    trainer = train_module(module, stream)
    results = {**module.results(), "name": "pieces"}
    last = results["accuracy_matrix"]["rows"][-1]["accuracy"]
    assert len(last) == len(stream) == 12 and results["protocol"]["origins"] == list(stream.origins)
    assert results["metrics"]["average_accuracy"] == pytest.approx(sum(last[::4]) / 3)
    held = results["accuracy_matrix"]["rows"][-1]["validation"]
    assert float(trainer.callback_metrics["val/accuracy"]) == pytest.approx(sum(held[::4]) / 3)
    assert draw_hypnogram(results, tmp_path / "h.png").is_file() and draw_matrix(results, tmp_path / "m.png").is_file()
    assert [line[0] for line in experience_rows(results)] == ["0", "1", "2"]
    assert "origins" not in tiny_results()["protocol"]


def tiny_results() -> dict[str, Any]:
    stream = tiny_stream(2)
    module = tiny_module(stream, generator=None, night=[], wake=Wake(steps=1))
    train_module(module, stream)
    return module.results()


def test_classes_seen_include_leaks_and_returns():
    """``seen`` outputs are those of classes that were trained on, wherever they belong."""
    seen: list[set[int]] = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            context = pl_module.sleeper.context
            seen.append(set(context.active[0].nonzero().flatten().tolist()))

    for stream in (blurred(STREAM, 0.3), repeated(STREAM, 0.6)):
        seen.clear()
        module = tiny_module(
            stream, generator=None, memory=ClassBalanced(12), active_outputs="seen", night=[NREM(2, 8)]
        )
        train_module(module, stream, callbacks=[Watch()])
        expected = [set().union(*stream.class_order[: index + 1]) for index in range(len(stream))]
        assert seen[::2] == expected == seen[1::2]


# --- by configuration ----------------------------------------------------------------------------------------------


def test_changes_follow_each_other_in_a_configuration():
    plain = config.read(
        "digits", "stream.then=[{name: repeated, again: 0.5}, {name: online, size: 200}, blurred]", seed=3
    )
    stream = run_config(plain).stream.build()
    from dreamer.streams import digits

    assert stream.name == "digits repeated online blurred"
    assert same(stream, blurred(online(repeated(digits(seed=3), 0.5, seed=3), 200, seed=3), seed=3))
    own = run_config(config.read("digits", {"stream": {"then": ["dreamer.streams.online.online"]}})).stream.build()
    assert own.name == "digits online"


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("online", r"stream.then: expected a list .* got 'online'"),
        (["onlin"], r"stream.then.0.name: there is no change of a stream 'onlin'; did you mean 'online'\?"),
        ([{"name": "online", "sise": 3}], r"stream.then.0.sise: unknown key of online; did you mean 'size'\?"),
        ([{"name": "online", "size": "many"}], r"stream.then.0.size: expected a whole number, got 'many'"),
        ([{"name": "online", "stream": 3}], "stream.then.0.stream: cannot be configured"),
        ([3], "stream.then.0: expected the name of a change of the stream"),
    ],
)
def test_wrong_changes_name_their_key(then: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        run_config(config.read("digits", {"stream": {"then": then}}))


# --- streams that pass by ------------------------------------------------------------------------------------------


class Endless(IterableDataset):
    """Batches of 5 without end, two classes for 30 samples each in turn; counts what was read."""

    def __init__(self) -> None:
        self.given = 0
        self.references: list[weakref.ref] = []

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = torch.Generator().manual_seed(0)
        self.given = 0
        while True:
            pair = self.given // 30 % 3
            y = torch.randint(2 * pair, 2 * pair + 2, (5,), generator=rng)
            x = 0.3 * torch.rand(5, 1, 4, 4, generator=rng)
            x.flatten(1)[torch.arange(5), y] = 1.0
            self.given += 5
            self.references.append(weakref.ref(x))
            yield x, y


def test_set() -> TensorSamples:
    return joined([experience.test for experience in tiny_stream().experiences])  # type: ignore[return-value]


test_set.__test__ = False


def passing(batches: Any, experiences: int = 6, size: int = 16) -> Stream:
    return from_iterable(batches, test_set(), experiences=experiences, size=size)


def passing_module(stream: Stream, **changes: Any) -> Any:
    parts = {"generator": None, "memory": ClassBalanced(12), "night": [NREM(3, 8)]}
    return tiny_module(stream, **(parts | changes))


def test_an_endless_stream_is_read_as_training_proceeds():
    data = Endless()
    stream = passing(data)
    module = passing_module(stream, wake=Wake(steps=40, batch_size=8, replay=8))
    module.plan(stream)
    assert data.given == 0 and stream.class_order == ((),) * 6, "planning reads nothing"
    held, read = [], []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            gc.collect()
            read.append(data.given)
            held.append(5 * sum(ref() is not None for ref in data.references))

    # what other tests left is not looked through
    gc.freeze()
    train_module(module, stream, callbacks=[Watch()])
    gc.unfreeze()
    # experience n ends with sample 16 (n + 1): as many batches as that takes, and nothing ahead
    assert read[::2] == [-(-16 * (n + 1) // 5) * 5 for n in range(6)]
    assert max(held) <= 5, "samples are kept as the experience alone"
    assert stream.class_order[0] == (0, 1) and stream.class_order[1] == (0, 1, 2, 3)
    assert module.results()["metrics"]["average_accuracy"] > 1 / 6
    assert module.results()["metrics"]["forgetting"] is None, "there is one evaluation"


@pytest.mark.parametrize("steps", [1, 9, 16, 21])
def test_a_run_on_a_passing_stream_resumes_from_a_checkpoint(steps: int, tmp_path: Path):
    def fresh() -> tuple[Any, Stream]:
        stream = passing(DataLoader(Endless(), batch_size=None))
        return passing_module(stream, active_outputs="seen"), stream

    (whole, a), (killed, b), (resumed, c) = fresh(), fresh(), fresh()
    train_module(whole, a)
    train_module(killed, b, max_steps=steps).save_checkpoint(tmp_path / "run.ckpt")
    train_module(resumed, c, ckpt_path=str(tmp_path / "run.ckpt"))
    assert resumed.ledger.rows == whole.ledger.rows
    assert all(torch.equal(x, y) for x, y in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_the_same_stream_serves_another_run_but_an_iterator_one_only():
    stream = passing(Endless())
    for _ in range(2):
        train_module(passing_module(stream), stream)
    once = passing(iter(Endless()))
    train_module(passing_module(once), once)
    with pytest.raises(ValueError, match="experience 0 has passed, and an iterator cannot begin anew"):
        train_module(passing_module(once), once)


def test_tests_of_their_own_make_a_matrix():
    tests = [experience.test for experience in tiny_stream().experiences]
    stream = from_iterable(Endless(), tests, experiences=3, size=30, num_classes=6)
    module = passing_module(stream)
    train_module(module, stream)
    assert stream.class_order == ((0, 1), (2, 3), (4, 5))
    results = module.results()
    rows = {row["experience"]: row["accuracy"] for row in results["accuracy_matrix"]["rows"]}
    lost = [rows[i][i] - rows[2][i] for i in range(2)]
    assert results["metrics"]["forgetting"] == pytest.approx(sum(lost) / 2)


def test_samples_that_pass_are_samples():
    stream = passing(Endless())
    train = stream.experiences[1].train
    assert isinstance(train, PassingSamples) and len(train) == 16 and train.sample_shape == (1, 4, 4)
    x, y = everything(train)
    assert len(x) == 16 and torch.equal(y, train.y)
    some = torch.tensor([3, 5])
    assert torch.equal(everything(train.subset(some))[0], x[some])
    assert torch.equal(train.with_labels(y + 1).y, y + 1) and train.to("cpu").y.tolist() == y.tolist()


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (
            [(torch.zeros(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64))] * 5,
            "the iterable ended after 20, in experience 1",
        ),
        ([torch.zeros(4, 1, 4, 4)], r"expected batches of a tensor of samples of shape \(1, 4, 4\), .*, got Tensor"),
        ([(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))], r"got \[\(4, 3\), \(4,\)\]"),
        ([(torch.zeros(4, 1, 4, 4), torch.zeros(4))], "one with an integer label for each"),
        ([(torch.zeros(4, 1, 4, 4), torch.full((4,), 6))], "expected labels from 0 to 5, got 6 to 6: say num_classes"),
    ],
)
def test_what_an_iterable_must_give_is_one_sentence(batches: list[Any], message: str):
    stream = passing(batches)
    with pytest.raises(ValueError, match=message):
        for experience in stream.experiences:
            everything(experience.train)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"active_outputs": "task"}, "or are not known before they begin"),
        ({"wake": Wake(data="joint")}, "data='joint' keeps all data, but iterable is read only once"),
        ({"wake": Wake(data="cumulative")}, "data='cumulative' keeps all data"),
    ],
)
def test_what_needs_the_whole_stream_is_refused(changes: dict[str, Any], message: str):
    stream = passing(Endless())
    with pytest.raises(ValueError, match=message):
        passing_module(stream, **changes).plan(stream)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "at least one experience of one sample, got 6 of 0"),
        ({"test": []}, "one for each of 6 experiences, got 0"),
    ],
)
def test_impossible_iterables_are_one_sentence(change: dict[str, Any], message: str):
    options = {"test": test_set(), "size": 4, **change}
    with pytest.raises(ValueError, match=message):
        from_iterable(Endless(), options["test"], experiences=6, size=options["size"])

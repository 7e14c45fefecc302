"""Rules for dealing a data set's classes out to experiences, shared by all streams that are split by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from dreamer.core.arguments import checked, checked_but
from dreamer.core.randomness import Purpose, randoms
from dreamer.streams.base import Samples, Scenario, Stream, are_labels, make_stream


@checked
def split_by_class(
    train: Samples, test: Samples, experiences: int, order: Sequence[int]
) -> list[tuple[tuple[int, ...], Samples, Samples]]:
    """Deal the classes out to experiences, as evenly as possible.

    Args:
        train, test: samples of all classes.
        experiences: how many experiences, from 1 to the number of classes.
        order: the classes in the order in which they are dealt out.

    Returns:
        For each experience its sorted classes, training samples and test samples.

    Raises:
        ValueError: when there are fewer classes than experiences.
    """
    dealt = torch.tensor(list(order), dtype=torch.int64)
    if not 1 <= experiences <= len(dealt):
        raise ValueError(f"expected between 1 and {len(dealt)} experiences for {len(dealt)} classes, got {experiences}")
    pieces = []
    for chosen in dealt.tensor_split(experiences):
        pieces.append((tuple(sorted(chosen.tolist())), _of_classes(train, chosen), _of_classes(test, chosen)))
    return pieces


def _of_classes(samples: Samples, classes: Tensor) -> Samples:
    return samples.subset(torch.isin(samples.y, classes.to(samples.y.device)).nonzero().flatten())


def deal_order(classes: Sequence[int], seed: int, shuffle: bool, class_order: Sequence[int] | None) -> list[int]:
    """The classes in the order in which they are dealt out.

    Args:
        class_order: the order itself, every occurring label once; overrides the other two.

    Raises:
        ValueError: when ``class_order`` is not a rearrangement of the occurring labels.
    """
    present = sorted(classes)
    if class_order is not None:
        if sorted(class_order) != present:
            raise ValueError(f"expected class_order to name each class of {present} once, got {list(class_order)}")
        return [int(label) for label in class_order]
    if not shuffle:
        return present
    return [present[i] for i in torch.randperm(len(present), generator=randoms(seed, Purpose.ORDER)).tolist()]


@checked_but("name", "train", "test")
def split_stream(
    name: str,
    train: Samples | None = None,
    test: Samples | None = None,
    *,
    experiences: int = 0,
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    class_names: Sequence[str] = (),
) -> Stream:
    """A stream whose experiences share no class of the data set.

    Args:
        name: how the stream is called in tables.
        train: samples of all classes, to learn from.
        test: samples of all classes, to be evaluated on.
        experiences: how many; the classes are dealt out as evenly as possible.
        seed: decides the order of the classes.
        shuffle: False keeps the order 0, 1, 2 ...
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class`` and ``task`` keep the data set's labels; ``domain`` relabels every class with its position
            within its experience, in the order in which it was dealt.
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out.
        class_names: one per label.

    Raises:
        ValueError: when an option is impossible for these classes.
    """
    if not (isinstance(name, str) and isinstance(train, Samples) and isinstance(test, Samples)):
        given = next((each for each in (name, train, test) if not isinstance(each, str | Samples)), None)
        raise ValueError(
            "expected split_stream(name, train, test, experiences=...) with samples as materialise(dataset) gives "
            f"them, got {'too little' if given is None else type(given).__name__}"
        )
    check_scenario(scenario)
    order = deal_order(train.y.unique().tolist(), seed, shuffle, class_order)
    dealt = split_by_class(train, test, experiences, order)
    pairs = [(learnt, tested) for _, learnt, tested in dealt]
    if scenario == "domain":
        tables = [{label: i for i, label in enumerate(sorted(own, key=order.index))} for own, _, _ in dealt]
        pairs = [(_relabel(a, table), _relabel(b, table)) for (a, b), table in zip(pairs, tables, strict=True)]
        return make_stream(name, pairs, validation=validation, split_seed=split_seed, scenario=scenario)
    k = max(len(class_names), max(order) + 1)
    names = tuple(class_names) if len(class_names) == k else ()
    return make_stream(
        name, pairs, validation=validation, split_seed=split_seed, scenario=scenario, num_classes=k, class_names=names
    )


def chain_stream(
    name: str,
    pairs: Sequence[tuple[Samples, Samples]],
    tasks: Sequence[int],
    *,
    scenario: Scenario | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
    num_classes: int | None = None,
    class_names: Sequence[str] = (),
    origins: Sequence[int | None] | None = None,
) -> Stream:
    """A stream out of (train, test) pairs that are experiences already.

    Args:
        tasks: the task of each experience, from 0; matters in the scenario ``task`` alone.
        scenario: None means ``domain`` where every experience brings the same classes, else ``class``. In ``task``,
            labels that several tasks share are moved apart.

    Raises:
        ValueError: when an experience has nothing to learn from or to be evaluated on, or sample shapes differ.
    """
    scenario = natural_scenario([train.y for train, _ in pairs]) if scenario is None else scenario
    check_scenario(scenario)
    if scenario == "task" and overlap([train.y for train, _ in pairs], tasks):
        pairs, num_classes = separate(pairs, tasks), None
    for index, (_, test) in enumerate(pairs):
        if not len(test):
            raise ValueError(f"stream {name!r}: experience {index} has no test samples of its classes")
    return make_stream(
        name,
        pairs,
        validation=validation,
        split_seed=split_seed,
        scenario=scenario,
        num_classes=num_classes,
        class_names=class_names,
        origins=origins,
    )


def of_the_same_classes(whole: Samples, train: Samples) -> Samples:
    """The samples whose labels occur in the training data; all of them are the very same object."""
    chosen = torch.isin(whole.y, train.y.unique())
    # one set of samples can serve many experiences
    return whole if chosen.all() else whole.subset(chosen.nonzero().flatten())


def check_scenario(scenario: str) -> None:
    """Refuse a scenario that does not exist with a ``ValueError`` that names the three that do."""
    if scenario not in get_args(Scenario):
        raise ValueError(f"expected the scenario to be one of {', '.join(get_args(Scenario))}, got {scenario!r}")


def natural_scenario(labels: Sequence[Tensor]) -> Scenario:
    """``domain`` when every experience brings the same classes, or targets are no labels; else ``class``."""
    if not all(are_labels(y) for y in labels):
        return "domain"
    sets = [frozenset(y.unique().tolist()) for y in labels]
    return "domain" if len(sets) > 1 and len(set(sets)) == 1 else "class"


def overlap(labels: Sequence[Tensor], tasks: Sequence[int]) -> bool:
    """Whether any label occurs in two tasks."""
    owners: dict[int, int] = {}
    return any(
        owners.setdefault(label, task) != task
        for y, task in zip(labels, tasks, strict=True)
        for label in y.unique().tolist()
    )


def separate(pairs: Sequence[tuple[Samples, Samples]], tasks: Sequence[int]) -> list[tuple[Samples, Samples]]:
    """Give the classes of different tasks different labels.

    Args:
        tasks: the task of each experience, from 0; its labels are moved up by task times the number of labels.
    """
    k = max(int(part.y.max()) for pair in pairs for part in pair if len(part)) + 1
    return [
        (train.with_labels(train.y + task * k), test.with_labels(test.y + task * k))
        for (train, test), task in zip(pairs, tasks, strict=True)
    ]


def _relabel(samples: Samples, table: dict[int, int]) -> Samples:
    return samples.with_labels(torch.tensor([table[label] for label in samples.y.tolist()], dtype=torch.int64))

"""What a stream is: experiences one after the other, each with data to learn from and data to be evaluated on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.tokens import IGNORED, Tokens
from dreamer.core.types import Batch
from dreamer.streams.finite import refuse_not_finite

_PLAIN = {torch.float64: torch.float32, torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}
Scenario = Literal["class", "domain", "task"]
Groups = Literal["class", "domain"]
Targets = Literal["labels", "numbers", "tokens"]


class DataNotFound(FileNotFoundError):
    """A data set is absent and cannot be had: one sentence says what is missing, where it was sought, what to do."""


@runtime_checkable
class Samples(Protocol):
    """Samples with targets that can be read in any order.

    Attributes:
        y: (N,) int64 labels, floating targets, (N,) or (N, K), or (N, T) int64 next tokens; on the CPU or on the
            training device.
    """

    y: Tensor

    def __len__(self) -> int: ...

    @property
    def sample_shape(self) -> tuple[int, ...]: ...

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        """Read one batch per (B,) int64 index tensor, lazily and in order."""
        ...

    def subset(self, index: Tensor) -> Samples:
        """The samples at the (M,) int64 positions."""
        ...

    def with_labels(self, y: Tensor) -> Samples:
        """The same samples under other (N,) integer labels."""
        ...

    def to(self, device: torch.device | str) -> Samples:
        """The same samples on a device, if they can be moved there."""
        ...


class TensorSamples:
    """Samples held as contiguous tensors: a batch is one ``index_select``.

    Args:
        x: (N, *S) samples of any dtype; float64 becomes float32, the type of a network's weights.
        y: (N,) integer labels; targets that are floating numbers, (N,) or (N, K); or (N, T) next tokens.
        scale: factor by which samples are multiplied (as float32) when read: ``1 / 255`` for pixels stored as uint8;
            None leaves them as they are.
        group: (N,) int64, the domain of each sample; None where labels are the groups that balance a replay.

    Raises:
        ValueError: when x and y differ in length.

    >>> samples = TensorSamples(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 1, 0]))
    >>> len(samples), samples.sample_shape, samples.subset(torch.tensor([1, 2])).y
    (4, (1, 8, 8), tensor([1, 1]))
    """

    def __init__(self, x: Tensor, y: Tensor, scale: float | None = None, group: Tensor | None = None):
        if len(x) != len(y):
            raise ValueError(f"expected as many labels as samples, got {len(x)} samples and {len(y)} labels")
        self.x = single(x).contiguous()
        self.y = targets(y).contiguous()
        self.scale = scale
        self.group = group

    def __len__(self) -> int:
        return len(self.y)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as stored."""
        return self.x.numel() * self.x.element_size()

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        for index in indices:
            index = index.to(self.y.device)
            x = self.x.index_select(0, index)
            yield Batch(
                x if self.scale is None else x.to(torch.float32).mul_(self.scale),
                self.y.index_select(0, index),
                None if self.group is None else self.group.index_select(0, index),
            )

    def subset(self, index: Tensor) -> TensorSamples:
        group = None if self.group is None else self.group[index]
        return TensorSamples(self.x[index], self.y[index], self.scale, group)

    def with_labels(self, y: Tensor) -> TensorSamples:
        return TensorSamples(self.x, y.to(self.y.device), self.scale, self.group)

    def in_domain(self, number: int) -> TensorSamples:
        """The same samples, all of one domain."""
        group = torch.full((len(self),), number, dtype=torch.int64, device=self.y.device)
        return TensorSamples(self.x, self.y, self.scale, group)

    def to(self, device: torch.device | str) -> TensorSamples:
        if self.x.device == torch.device(device):
            return self
        group = None if self.group is None else self.group.to(device)
        return TensorSamples(self.x.to(device), self.y.to(device), self.scale, group)


def single(x: Tensor) -> Tensor:
    """The tensor in a type that torch computes with: float32 for float64, a signed one for 16 bits and more."""
    return x.to(_PLAIN.get(x.dtype, x.dtype))


def targets(y: Tensor) -> Tensor:
    """Targets as they are kept: labels in int64, numbers in float32; one number a sample is (N,)."""
    if not y.is_floating_point():
        return y.to(torch.int64)
    return single(y).squeeze(1) if y.ndim == 2 and y.shape[1] == 1 else single(y)


def are_labels(y: Tensor) -> bool:
    """Whether targets are labels of classes, one a sample."""
    return y.ndim == 1 and not y.is_floating_point()


class JoinedSamples:
    """Several sets of samples read as one; none of them is copied.

    Args:
        parts: the sets, in order, at least one, of one sample shape.
    """

    def __init__(self, parts: Sequence[Samples]):
        self.parts = tuple(parts)
        self.y = torch.cat([part.y for part in self.parts])
        sizes = torch.tensor([len(part) for part in self.parts])
        self._ends = sizes.cumsum(0)
        self._starts = self._ends - sizes

    def __len__(self) -> int:
        return len(self.y)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.parts[0].sample_shape

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        for index in indices:
            index = index.cpu()
            owner = torch.bucketize(index, self._ends, right=True)
            read, places = [], []
            for number in owner.unique().tolist():
                own = (owner == number).nonzero().flatten()
                read.append(next(iter(self.parts[number].batches([index[own] - self._starts[number]]))))
                places.append(own)
            back = torch.cat(places).argsort().to(read[0].y.device)
            x, y = torch.cat([part.x for part in read]), torch.cat([part.y for part in read])
            group = [part.group for part in read if part.group is not None]
            yield Batch(x[back], y[back], torch.cat(group)[back] if len(group) == len(read) else None)

    def subset(self, index: Tensor) -> JoinedSamples:
        index = index.cpu()
        owner = torch.bucketize(index, self._ends, right=True)
        numbers = owner.unique().tolist()
        if (owner[1:] < owner[:-1]).any():
            raise ValueError("expected ascending sets: a subset of joined samples keeps their order")
        chosen = [self.parts[n].subset(index[owner == n] - self._starts[n]) for n in numbers]
        return JoinedSamples(chosen or [self.parts[0].subset(index)])

    def with_labels(self, y: Tensor) -> JoinedSamples:
        pieces = y.split([len(part) for part in self.parts])
        return JoinedSamples([part.with_labels(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def to(self, device: torch.device | str) -> JoinedSamples:
        return JoinedSamples([part.to(device) for part in self.parts])


def joined(parts: Sequence[Samples]) -> Samples:
    """Several sets of samples as one: a single tensor where all of them are tensors, else read part by part."""
    if len(parts) == 1:
        return parts[0]
    held = [part for part in parts if isinstance(part, TensorSamples)]
    kinds = {(part.scale, part.x.dtype, part.x.device, part.group is None) for part in held}
    if len(held) < len(parts) or len(kinds) != 1:
        return JoinedSamples(parts)
    x, y = torch.cat([part.x for part in held]), torch.cat([part.y for part in held])
    group = [part.group for part in held if part.group is not None]
    return TensorSamples(x, y, held[0].scale, torch.cat(group) if group else None)


@dataclass(frozen=True)
class Experience:
    """One experience of a stream.

    Attributes:
        index: position in the stream, from 0.
        classes: sorted groups that occur in ``train``: labels, or the numbers of domains.
        train: what is learnt from.
        test: what the accuracy matrix is measured on; never feeds anything.
        validation: held-out part of the training data (plateau, early stopping, tuning); None when it is switched off.
        origin: number of the experience that this one is a piece of; pieces of one experience share its test and
            held-out data, which are evaluated, and count, once. None: it is whole.
    """

    index: int
    classes: Sequence[int]
    train: Samples
    test: Samples
    validation: Samples | None = None
    origin: int | None = None


@dataclass(frozen=True)
class Stream:
    """Experiences one after the other, never again.

    Attributes:
        name: how it is called in tables.
        experiences: in their order.
        num_classes: K, the outputs that a learner of the whole stream needs: classes, numbers of a target, or tokens of
            the vocabulary.
        sample_shape: *S.
        scenario: ``class`` (new classes come), ``domain`` (the same question in new looks) or ``task`` (the experience
            is known at test time, so only its own classes are active).
        class_names: names of the groups, for pictures.
        passing: True where an experience is read when it begins, and is gone when the next one does.
        groups: what balances a replay: the ``class`` of a sample, which is its target; or its ``domain``, where targets
            are no labels.
        tokens: the vocabulary of a stream of text; None of any other.
    """

    name: str
    experiences: tuple[Experience, ...]
    num_classes: int
    sample_shape: tuple[int, ...]
    scenario: Scenario = "class"
    class_names: tuple[str, ...] = ()
    passing: bool = False
    groups: Groups = "class"
    tokens: Tokens | None = None

    def __len__(self) -> int:
        return len(self.experiences)

    @property
    def targets(self) -> Targets:
        """What a target is: one of the ``labels`` of classes, ``numbers``, or the next ``tokens`` of a text."""
        return "labels" if self.groups == "class" else "numbers" if self.tokens is None else "tokens"

    @property
    def num_groups(self) -> int:
        """G: the K classes, or the domains."""
        if self.groups == "class":
            return self.num_classes
        return 1 + max(number for each in self.experiences for number in each.classes)

    @property
    def class_order(self) -> tuple[tuple[int, ...], ...]:
        """The classes, or the domains, of each experience, in their order.

        Of a passing stream those that have come so far: none of an experience that is still to come.
        """
        return tuple(tuple(getattr(each.classes, "so_far", each.classes)) for each in self.experiences)

    @property
    def origins(self) -> tuple[int, ...]:
        """For each experience the number of its column in the accuracy matrix, from 0.

        Pieces of one experience have one in common (see :attr:`Experience.origin`).
        """
        numbers: dict[tuple[bool, int], int] = {}
        keys = [(each.origin is None, each.index if each.origin is None else each.origin) for each in self.experiences]
        return tuple(numbers.setdefault(key, len(numbers)) for key in keys)

    @property
    def in_pieces(self) -> bool:
        """True when several experiences are pieces of one."""
        return len(set(self.origins)) < len(self)

    @property
    def disjoint(self) -> bool:
        """True when every class occurs in one experience alone."""
        labels = [label for classes in self.class_order for label in classes]
        return not self.passing and len(labels) == len(set(labels))

    def with_training(self, trains: Sequence[Samples | None], name: str) -> Stream:
        """The stream with other training samples, evaluated as before.

        Args:
            trains: of each experience; any beyond the last one are pieces of it.

        Raises:
            ValueError: when an experience is left without samples.
        """
        experiences, origins = [], self.origins
        for index, train in enumerate(trains):
            if train is None or not len(train):
                raise ValueError(f"stream {name!r}: experience {index} is left without training samples")
            like = self.experiences[min(index, len(self) - 1)]
            origin = origins[like.index] if len(trains) > len(self) else like.origin
            experiences.append(replace(like, index=index, classes=groups_in(train), train=train, origin=origin))
        return replace(self, name=name, experiences=tuple(experiences))


def groups_of(samples: Samples) -> Tensor:
    """(N,) int64, the group of each sample: its label, or its domain where targets are no labels."""
    if isinstance(samples, JoinedSamples):
        return torch.cat([groups_of(part) for part in samples.parts])
    group = getattr(samples, "group", None)
    return samples.y if group is None else group


def groups_in(samples: Samples) -> tuple[int, ...]:
    """The groups that occur, sorted."""
    return tuple(groups_of(samples).unique().tolist())


def refuse_passing(stream: Stream, who: str) -> None:
    """Raise a ValueError when a stream cannot be read before it is run."""
    if stream.passing:
        raise ValueError(f"{who}: {stream.name} is read as it is run, and cannot be dealt out anew beforehand")


@checked
def hold_out(train: Samples, fraction: float, seed: int, least: int = 0) -> tuple[Samples, Samples | None]:
    """Split samples, class by class where there are classes, into a part to learn from and a held-out part.

    Args:
        fraction: of them to hold out, in [0, 1); 0 holds out nothing.
        least: samples of each class that are held out at least, however small the class.

    Returns:
        The remaining samples, in their order, and the held-out ones (None when that is nothing).

    Raises:
        ValueError: when the fraction is not in [0, 1).
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"expected a held-out fraction in [0, 1), got {fraction}")
    y = train.y.cpu() if are_labels(train.y) else torch.zeros(len(train), dtype=torch.int64)
    held = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique().tolist():
        members = (y == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=randoms(seed, Purpose.SPLIT, label))
        held[members[order[: max(least, round(fraction * len(members)))]]] = True
    if not held.any():
        return train, None
    return train.subset((~held).nonzero().flatten()), train.subset(held.nonzero().flatten())


@checked
def make_stream(
    name: str,
    pairs: Sequence[tuple[Samples, Samples]],
    *,
    validation: float = 0.1,
    split_seed: int = 0,
    scenario: Scenario = "class",
    num_classes: int | None = None,
    class_names: Sequence[str] = (),
    origins: Sequence[int | None] | None = None,
    tokens: Tokens | None = None,
) -> Stream:
    """Build a stream from (train, test) pairs, one per experience, and hold out validation data from each.

    Where targets are floating numbers, or the tokens of texts, each experience is a domain.

    Args:
        name: how the stream is called in tables.
        pairs: (train, test) of each experience.
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are held out.
        scenario: see :class:`Stream`.
        num_classes: K; by default one more than the largest label.
        class_names: names of the classes, or of the domains; by default the numbers.
        origins: of each experience, see :class:`Experience`.
        tokens: the vocabulary, where samples are blocks of tokens and targets the next ones (see
            :class:`dreamer.problems.Language` for their layout).

    Raises:
        ValueError: when there is no experience, one is empty, or their sample shapes or kinds of targets differ; when
            samples or targets that are held in memory are NaN or infinite.
    """
    if not pairs:
        raise ValueError(f"stream {name!r}: expected at least one experience, got none")
    parts = [part for pair in pairs for part in pair if len(part)]
    for index, (train, test) in enumerate(pairs):
        for part, kind in ((train, "training"), (test, "test")):
            if isinstance(part, TensorSamples):
                refuse_not_finite(f"stream {name!r}: the {kind} samples of experience {index}", part.x)
                refuse_not_finite(f"stream {name!r}: the {kind} targets of experience {index}", part.y)
    shapes = {part.sample_shape for part in parts}
    if len(shapes) != 1:
        raise ValueError(f"stream {name!r}: expected one sample shape in all experiences, got {sorted(shapes)}")
    given: Sequence[int | None] = [None] * len(pairs) if origins is None else origins
    domains = [index if (origin := given[index]) is None else int(origin) for index in range(len(pairs))]
    if tokens is not None:
        k, groups = _vocabulary(name, parts, tokens, 1 + max(domains))
    elif num_classes is None or not are_labels(parts[0].y):
        k, groups = _outputs(name, parts)
    else:
        k, groups = num_classes, "class"
    if groups == "domain":
        pairs = [
            (_in_domain(name, train, number), _in_domain(name, test, number))
            for (train, test), number in zip(pairs, domains, strict=True)
        ]
    experiences = []
    pooled: dict[int, list[Samples]] = {}
    for index, (train, test) in enumerate(pairs):
        if not len(train):
            raise ValueError(f"stream {name!r}: experience {index} has no training samples")
        learnt, held = hold_out(train, validation, split_seed)
        origin = None if origins is None else origins[index]
        if origin is not None:
            pooled.setdefault(origin, []).extend([] if held is None else [held])
        experiences.append(Experience(index, groups_in(train), learnt, test, held, origin))
    # pieces of one experience are evaluated on what was held out of all of them
    shared = {origin: joined(parts) if parts else None for origin, parts in pooled.items()}
    experiences = [e if e.origin is None else replace(e, validation=shared[e.origin]) for e in experiences]
    count = k if groups == "class" else 1 + max(domains)
    names = tuple(class_names) or tuple(str(number) for number in range(count))
    return Stream(name, tuple(experiences), k, shapes.pop(), scenario, names, groups=groups, tokens=tokens)


def _vocabulary(name: str, parts: Sequence[Samples], tokens: Tokens, domains: int) -> tuple[int, Groups]:
    """V, and what balances a replay of texts, once the blocks are known to be of this vocabulary."""
    if len(tokens.openings) != domains:
        raise ValueError(
            f"stream {name!r}: expected an opening for each of {domains} domains, got {len(tokens.openings)}"
        )
    for part in parts:
        if part.y.is_floating_point() or tuple(part.y.shape[1:]) != part.sample_shape:
            raise ValueError(
                f"stream {name!r}: expected (T,) tokens and as many next tokens for each sample, got samples of shape "
                f"{part.sample_shape} and targets of shape {tuple(part.y.shape[1:])}"
            )
        counted = part.y[part.y != IGNORED]
        low, high = (int(end) for end in counted.aminmax()) if len(counted) else (0, 0)
        if low < 0 or high >= tokens.size:
            raise ValueError(
                f"stream {name!r}: expected next tokens in [0, {tokens.size}), or {IGNORED} where no loss is taken, "
                f"got {low} to {high}"
            )
    return tokens.size, "domain"


def _outputs(name: str, parts: Sequence[Samples]) -> tuple[int, Groups]:
    """K, from the targets themselves, and what balances a replay of them."""
    if all(are_labels(part.y) for part in parts):
        return max(int(part.y.max()) for part in parts) + 1, "class"
    sizes = {math.prod(part.y.shape[1:]) for part in parts if part.y.is_floating_point() and part.y.ndim <= 2}
    if len(sizes) != 1 or not all(part.y.is_floating_point() for part in parts):
        raise ValueError(
            f"stream {name!r}: expected one integer label for each sample, or floating targets of one length everywhere"
        )
    return sizes.pop(), "domain"


def _in_domain(name: str, samples: Samples, number: int) -> Samples:
    if not isinstance(samples, TensorSamples):
        raise ValueError(
            f"stream {name!r}: expected targets that are no labels in tensors, got {type(samples).__name__}"
        )
    return samples.in_domain(number)

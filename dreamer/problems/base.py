"""The contract of the family: what the learner predicts, the losses of its output, and its score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from dreamer.core.types import Dream, Output

if TYPE_CHECKING:
    from dreamer.streams.base import Stream

Groups = Literal["class", "domain"]


@dataclass(frozen=True)
class Tally:
    """A score while it is being counted: batches are added, and the sum is divided once, at the end.

    Attributes:
        total: what has been summed up.
        weight: over how much: samples, numbers, bytes.

    >>> (Tally(3, 4) + Tally(1, 1)).value
    0.8
    """

    total: float = 0
    weight: float = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.total + other.total, self.weight + other.weight)

    @property
    def value(self) -> float | None:
        """The score; None of nothing."""
        return self.total / self.weight if self.weight else None


class GroupedTally(Tally):
    """A score for each group while it is being counted; the value is their mean, however many samples they have.

    Attributes:
        parts: the tally of each group that occurred, by number.

    >>> (Tally() + GroupedTally({0: Tally(3, 4)}) + GroupedTally({1: Tally(1, 4)})).value
    0.5
    """

    parts: dict[int, Tally]

    def __init__(self, parts: Mapping[int, Tally]):
        super().__init__(sum(part.total for part in parts.values()), sum(part.weight for part in parts.values()))
        # a tally is frozen
        object.__setattr__(self, "parts", dict(parts))

    def __add__(self, other: Tally) -> GroupedTally:
        theirs = other.parts if isinstance(other, GroupedTally) else {}
        groups = sorted({*self.parts, *theirs})
        return GroupedTally({group: self.parts.get(group, Tally()) + theirs.get(group, Tally()) for group in groups})

    __radd__ = __add__

    @property
    def value(self) -> float | None:
        """The mean of the groups' scores; None of nothing."""
        values = [part.value for part in self.parts.values() if part.value is not None]
        return sum(values) / len(values) if values else None


class Problem(ABC):
    """What the learner predicts.

    A problem knows what a target is and what an output for it looks like. All else, memories, generators, stages and
    schedules, sees samples, targets and the *groups* by which a replay is balanced: the classes where targets are
    classes, else the domains, one for each experience of the stream. A sample of a language model is (T,) tokens, its
    output (T, V), its target the next tokens; a shape below stands for whatever it is there.

    Attributes:
        groups: what balances a replay: the ``class`` of a sample, which is its target, or its ``domain``.
        score: what the score is called.
        unit: in what it is counted; ``%`` for fractions of 1, which are written times 100; empty where the score's name
            says it.
        higher_is_better: which way the score is better.
    """

    groups: Groups
    score: str
    unit: str
    higher_is_better: bool

    @property
    def key(self) -> str:
        """What columns of logs call the score: ``accuracy``, ``mean_squared_error``."""
        return self.score.replace(" ", "_")

    # ---------------------------------------------------------------- samples and targets

    @abstractmethod
    def check(self, stream: Stream) -> None:
        """Refuse a stream whose targets are of another kind, with a ``ValueError`` that gives the reason."""

    @abstractmethod
    def output_shape(self, stream: Stream) -> tuple[int, ...]:
        """The shape of a learner's output for one sample: (K,) logits or numbers, (T, V) logits."""

    @abstractmethod
    def soft_targets(self, samples: Dream, groups: int) -> Tensor:
        """The targets as a perturbation may mix them.

        Args:
            samples: B of them.
            groups: G.

        Returns:
            (B, K) floating numbers, or (B, T) next tokens, which nothing mixes but a perturbation of texts may change;
            ``samples.p`` itself where that is set.
        """

    def mixed(self, samples: Dream, weights: Tensor) -> Dream:
        """Samples whose embeddings were mixed, with targets and a teacher's outputs that are mixed alike.

        Args:
            samples: B of them.
            weights: (B, B), how much of each text is in each; rows sum to 1.

        Raises:
            ValueError: when they cannot be.
        """
        raise ValueError(f"{type(self).__name__} has no samples with embeddings that could be mixed")

    # ---------------------------------------------------------------- the losses of an output

    @abstractmethod
    def hard_loss(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        """Loss of outputs against the targets.

        Args:
            target: what was shown: ``y``, or ``p`` where a perturbation has mixed targets.
            active: see :meth:`active`.

        Returns:
            Scalar, the mean over the batch.
        """

    @abstractmethod
    def soft_loss(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        """Loss of outputs against a teacher's, ``target.teacher``; arguments as for :meth:`hard_loss`."""

    def active(self, table: Tensor | None, samples: Dream) -> Tensor | None:
        """Which outputs take part for each sample.

        Args:
            table: (G, K) bool, row g says which outputs are active for a sample of group g; None when all always are.
            samples: B of them.

        Returns:
            (B, K) bool; None for all.
        """
        return None

    # ---------------------------------------------------------------- what a teacher gives

    @abstractmethod
    def restrict(self, outputs: Tensor, groups: Tensor) -> Tensor:
        """The outputs of a teacher, restricted to the groups that it has learnt.

        Args:
            outputs: of the teacher, for B samples.
            groups: (G,) bool, the groups that it has learnt.

        Returns:
            Its outputs in float32, ``-inf`` for all other groups.
        """

    @abstractmethod
    def name(self, outputs: Tensor, candidates: Tensor) -> Tensor:
        """The targets of B samples whose targets nobody knows, as a teacher sees them.

        Args:
            outputs: of the teacher, in float32.
            candidates: (B, G) bool, the groups that a sample may be of.

        Returns:
            Targets as the stream has them.
        """

    @abstractmethod
    def sureness(self, outputs: Tensor, y: Tensor) -> Tensor:
        """(B,) how well outputs agree with targets ``y``, the larger the better; the surest teacher speaks."""

    # ---------------------------------------------------------------- how it is scored

    def signature(self, outputs: Tensor) -> Tensor:
        """(B, H) by which samples are compared where a learner has no features: its outputs."""
        return outputs.flatten(1)

    @abstractmethod
    def tally(self, outputs: Tensor, y: Tensor, active: Tensor | None) -> Tally:
        """Score a batch.

        Args:
            active: (K,) bool, the outputs that take part; None for all.
        """

    def taken_for(self, outputs: Tensor, y: Tensor, active: Tensor | None, classes: Tensor) -> Tally:
        """How many samples of other classes are taken for one of some classes; nothing where targets are no classes.

        Args:
            outputs: of the learner, for B samples.
            y: their targets.
            active: (K,) bool, the outputs that take part; None for all.
            classes: (K,) bool, the classes in question.
        """
        return Tally()

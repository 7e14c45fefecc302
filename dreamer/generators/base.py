"""The contract of the family, and what keeps a generator from forgetting: growth, its dreams, or its frozen copy."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import UNLABELLED, Batch, Dream, Perturbations
from dreamer.networks.base import module_bytes

Continual = Literal["grow", "rehearse"]
Distilled = Literal["grow", "rehearse", "distil"]
Store = Literal["float16", "float32"]
_UNPERTURBED = Perturbations()


class Teachers(NamedTuple):
    """Frozen copies of the learner that write dreams.

    Attributes:
        dawn: from before the experience; None where there is none.
        dusk: from after it; None where there is none.
        old: (G,) bool, the domains that dawn writes of where both are there.
    """

    dawn: nn.Module | None
    dusk: nn.Module | None
    old: Tensor


class UntrainedError(RuntimeError):
    """Dreams were wanted of something that the generator has not learnt."""


class GeneratorSnapshot(nn.Module, ABC):
    """What a dusk keeps of a generator: frozen, and enough to dream.

    Args:
        classes: (C,) int64, sorted: what it can dream of.
    """

    classes: Tensor
    experience: Tensor

    def __init__(self, classes: Tensor):
        super().__init__()
        self.register_buffer("classes", classes)
        self.register_buffer("experience", torch.tensor(-1))

    @abstractmethod
    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        """Dream.

        Args:
            y: (B,) int64 labels among :attr:`classes`; an unconditional one ignores them.
            p: (B, K) their one-hot distributions.
            perturbations: of noise and codes, those that the generator's ``spaces`` name.

        Returns:
            (B, *S) samples, or (B, H) features, float32, and (B, K) label distributions, mixed where codes were.
        """


class Generator(nn.Module, ABC):
    """Learns real samples while awake, keeps a snapshot of itself at dusk, dreams in sleep.

    Its trainable parameters are a parameter group of the one optimiser. What it dreams with is frozen: a dusk keeps a
    :class:`GeneratorSnapshot`. With ``continual="grow"`` every experience adds one, so nothing that was learnt is ever
    learnt again from dreams, and the cost grows with the stream. With ``rehearse`` there is one, the last, and its
    dreams are learnt beside the real samples (deep generative replay, Shin et al. 2017): constant bytes, and a copy of
    a copy. With ``distil`` there is one too, and the new one learns to map codes or noise of old classes to samples as
    the last one does (generative distillation, Masip et al. 2024, arXiv 2311.14028).

    Where targets are no classes, its classes are the domains of the stream, see ``groups`` of
    :class:`dreamer.problems.Problem`; a teacher then names the targets of its dreams.

    Args:
        sample_shape: *S.
        num_classes: K classes, or domains, that it learns to dream of.
        continual: ``grow``, ``rehearse``, or ``distil`` where the generator has :meth:`agreement`.
        store: type in which snapshots are kept for the nights.

    Attributes:
        spaces: which perturbations on the way of a dream it takes: ``latent``, ``noise``.
        conditional: False when dreams cannot be of a chosen class; a teacher then names them.
        is_features: True when it dreams features of the learner rather than samples.
        bounds: least and largest value of the samples that it can learn; None for any.
        by_teachers: True when copies of the learner make the dreams, see :meth:`written_by`.
        keeps_samples: True when real samples are among what it keeps.
        own_targets: True when its dreams come with their targets, as texts do: nobody needs to name them.
        experience: scalar int64, the number of the last experience that had a dusk; -1 before the first.
    """

    spaces: frozenset[str] = frozenset()
    conditional: bool = True
    is_features: bool = False
    bounds: tuple[float, float] | None = None
    by_teachers: bool = False
    keeps_samples: bool = False
    own_targets: bool = False
    experience: Tensor

    @checked
    def __init__(
        self, sample_shape: Sequence[int], num_classes: int, continual: Distilled = "grow", store: Store = "float32"
    ):
        super().__init__()
        for size in sample_shape:
            at_least(1, sample_shape=size)
        at_least(1, num_classes=num_classes)
        self.sample_shape = tuple(sample_shape)
        self.num_classes = num_classes
        self.continual = continual
        self.store = getattr(torch, store)
        self.snapshots = nn.ModuleList()
        self.register_buffer("experience", torch.tensor(-1))

    # ---------------------------------------------------------------- what a child writes

    @abstractmethod
    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor | None:
        """Its loss on samples, real or dreamt.

        Args:
            seen: (B, *S) samples (features where :attr:`is_features`) and their labels or domains; a
                teacher's logits where they are dreamt and there was a teacher.

        Returns:
            Scalar, per sample and element of *S, so that it is of the learner's order of magnitude and gradient
            clipping treats both alike; None for a generator that learns nothing step by step.
        """

    @abstractmethod
    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        """A snapshot of the (C,) classes with the shapes that one has at dusk, and no content."""

    @abstractmethod
    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        """Fill a blank snapshot with what is needed to dream of the day.

        Args:
            snapshot: as :meth:`new_snapshot` made it, on the device and in float32; its classes are those of ``day``
                and, where it distils, those of the last snapshot too.
            day: batches of everything that it shall dream of, or of what is new where it distils; read once.
        """

    def agreement(self, snapshot: GeneratorSnapshot, y: Tensor, rng: torch.Generator) -> Tensor:
        """Its loss against a frozen snapshot of its own, on what that maps to samples of (B,) ``y``; as :meth:`fit`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it agrees with a snapshot of itself")

    def attach(self, learner: nn.Module) -> None:
        """Take the learner, once, when the module is built; a ``ValueError`` when it cannot work with this one."""

    def written_by(self, teachers: Teachers) -> Generator:
        """The generator whose dreams are made by these teachers; itself, unless :attr:`by_teachers`."""
        return self

    # ---------------------------------------------------------------- what stages call

    @property
    def tells_apart(self) -> bool:
        """Whether a dream is of an experience of the class that was asked for, though perhaps of another class."""
        return self.conditional or self.continual == "grow"

    @property
    def dreamable(self) -> Tensor:
        """(K,) bool, the classes that it can dream of now."""
        able = torch.zeros(self.num_classes, dtype=torch.bool, device=self.experience.device)
        for snapshot in self._snapshots():
            able[snapshot.classes] = True
        return able

    @property
    def nbytes(self) -> int:
        """Bytes of all that it keeps to learn and to dream."""
        return module_bytes(self)

    def planned_bytes(self, class_order: Sequence[Sequence[int]]) -> int:
        """Bytes at the end of a stream."""
        own = module_bytes(self) - module_bytes(self.snapshots)
        kept = class_order if self.continual == "grow" else [sorted(set(itertools.chain(*class_order)))]
        return own + sum(module_bytes(self._stored(self.new_snapshot(torch.tensor(list(classes))))) for classes in kept)

    def loss(
        self,
        x: Tensor,
        y: Tensor,
        rng: torch.Generator,
        past: Dream | None = None,
        experiences_seen: int | None = None,
    ) -> Tensor | None:
        """Its loss on a real batch, and beside it on dreams, or against its frozen copy, where it keeps one snapshot.

        In the n-th experience the real batch has a weight of one n-th, however many nights it has had (van de Ven et
        al. 2020; ``1./task`` in ``train_cl`` of ``train.py``, GMvandeVen/brain-inspired-replay).

        Args:
            x: (B, *S) samples.
            y: (B,) int64 labels, or domains.
            past: what the learner replays in this step; None makes it dream for itself.
            experiences_seen: n; None where nobody counts them, for one more than have had a dusk.
        """
        own = self.fit(Dream(x, y), rng)
        count = int(self.experience) + 2 if experiences_seen is None else experiences_seen
        if own is None or self.continual == "grow" or not len(self.snapshots) or count == 1:
            return own
        classes = self.dreamable.nonzero().flatten()
        weight = 1 / count
        if self.continual == "distil":
            labels = self._any(classes, len(y), rng)
            again: Tensor | None = self.agreement(self._snapshots()[0], labels, rng)
        else:
            again = self.fit(self.dream(self._any(classes, len(y), rng), rng) if past is None else past, rng)
        return own if again is None else weight * own + (1 - weight) * again

    @torch.no_grad()
    def end_experience(self, day: Iterable[Batch], experience: int, rng: torch.Generator) -> None:
        """At dusk, keep what is needed to dream of the day.

        Args:
            day: real batches of the experience, read once.
            experience: its number; a later call with the same number replaces what the earlier one kept.
        """
        batches = list(day)
        if self.continual == "rehearse":
            batches += self._old_days(batches, rng)
        classes = torch.cat([batch.groups for batch in batches]).unique()
        if self.continual != "grow":
            # an unconditional generator's old dreams bear no labels, and yet it dreams of those classes
            classes = torch.cat([classes, self.dreamable.nonzero().flatten()]).unique()
        snapshot = self.new_snapshot(classes).to(classes.device)
        snapshot.experience.fill_(experience)
        self.fill_snapshot(snapshot, batches, rng)
        snapshot = self._stored(snapshot).requires_grad_(False)
        earlier = [int(old.experience) for old in self._snapshots()]
        self.experience.fill_(experience)
        if self.continual != "grow":
            self.snapshots = nn.ModuleList([snapshot])
        elif experience in earlier:
            self.snapshots[earlier.index(experience)] = snapshot
        else:
            self.snapshots.append(snapshot)

    @torch.no_grad()
    def dream(self, y: Tensor, rng: torch.Generator, perturbations: Perturbations = _UNPERTURBED) -> Dream:
        """Dream of the given classes.

        Args:
            y: (B,) int64 labels; their number alone counts for a generator that is not :attr:`conditional`.
            perturbations: of noise and codes, a group of samples at a time.

        Returns:
            B dreams in the order of ``y``; ``p`` is set when codes were perturbed.

        Raises:
            UntrainedError: when a class has not been learnt.
        """
        self.refuse_unknown(y)
        snapshots = self._snapshots()
        able = torch.stack([torch.isin(y, snapshot.classes) for snapshot in snapshots], dim=1)
        # a class of several experiences is dreamt from any of them
        source = torch.multinomial(able.to(torch.float32), 1, generator=rng).flatten()
        p = functional.one_hot(y, self.num_classes).to(torch.float32)
        x: Tensor | None = None
        for number, snapshot in enumerate(snapshots):
            members = (source == number).nonzero().flatten()
            if len(members):
                made, p[members] = snapshot.sample(y[members], p[members], rng, perturbations)
                x = made.new_empty(len(y), *made.shape[1:]) if x is None else x
                x[members] = made
        assert x is not None
        labels = y if self.conditional else torch.full_like(y, UNLABELLED)
        mixed = perturbations.latent is not None and self.conditional
        return Dream(x, labels, p if mixed else None, is_features=self.is_features)

    def refuse_unknown(self, y: Tensor) -> None:
        """Raise an :class:`UntrainedError` that names the classes of (B,) ``y`` that cannot be dreamt of yet."""
        unknown = y[~self.dreamable[y]]
        if len(unknown):
            classes = ", ".join(str(label) for label in unknown.unique().tolist())
            raise UntrainedError(
                f"{type(self).__name__} was to dream of class {classes} before it was trained on it: "
                "a wake stage and its dusk have to come first"
            )

    # ---------------------------------------------------------------- inside

    def _any(self, classes: Tensor, count: int, rng: torch.Generator) -> Tensor:
        return classes[torch.randint(len(classes), (count,), generator=rng, device=rng.device)]

    def _old_days(self, day: Sequence[Batch], rng: torch.Generator) -> list[Batch]:
        """Dreams of the classes that the experience does not have, as many of each as it has of its own."""
        present = torch.cat([batch.groups for batch in day])
        old = self.dreamable
        old[present] = False
        if not (old.any() and self.conditional):
            return []
        each = -(-len(present) // len(present.unique()))
        labels = old.nonzero().flatten().repeat_interleave(each)
        return [Batch(*self.dream(part, rng)[:2]) for part in labels.split(1024)]

    def _stored(self, snapshot: GeneratorSnapshot) -> GeneratorSnapshot:
        """The snapshot in the type in which it is kept."""
        return snapshot.to(self.store)

    def _snapshots(self) -> list[GeneratorSnapshot]:
        return [snapshot for snapshot in self.snapshots if isinstance(snapshot, GeneratorSnapshot)]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # a new generator has no snapshots yet: make room for those of the checkpoint before they are copied
        kept: list[nn.Module] = []
        while (classes := state_dict.get(f"{prefix}snapshots.{len(kept)}.classes")) is not None:
            kept.append(
                self._stored(self.new_snapshot(classes.clone())).to(self.experience.device).requires_grad_(False)
            )
        self.snapshots = nn.ModuleList(kept)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

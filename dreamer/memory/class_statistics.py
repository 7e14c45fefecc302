"""No samples at all: a Gaussian for every class."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.types import Batch, Dream
from dreamer.memory._moments import Bank, Covariance, Moments, divide, freedom, join
from dreamer.networks.base import featured


class ClassStatistics:
    """Count, mean and covariance of every class, measured at dusk; what is replayed is drawn from the Gaussians.

    Means with one running covariance of all classes are what deep streaming LDA keeps of features (Hayes and Kanan
    2020, arXiv 1909.01520; ``SLDA_Model.py`` of tyler-hayes/Deep_SLDA), a covariance per class what FeCAM keeps
    (Goswami et al. 2023, arXiv 2309.14062; ``compute_new_cov`` in ``utils/maha_utils.py`` of dipamgoswami/FeCAM).
    Both classify by them; here they are replayed, as prototypes are in PASS (Zhu et al. 2021, "Prototype augmentation
    and self-supervision for incremental learning"), where one radius stands for all covariances.

    Covariances are unbiased: divided by n - 1, or for the shared one by n minus the number of classes. A class that
    comes back in a later experience is one Gaussian over both; while that experience lasts, its part is kept apart, so
    that a later dusk can replace it. Features are not followed as they drift. Several processes measure each their own
    samples.

    Args:
        covariance: ``full`` for every class, ``diagonal`` for every class, or one ``shared`` by all.
        space: measure the learner's ``features``, which are replayed behind them, or the ``samples`` themselves.
        shrinkage: fraction in [0, 1] of the covariance that is replaced, when drawing, by a sphere of the same mean
            variance (the form of Ledoit and Wolf 2004). 0 draws from what was measured.

    Raises:
        ValueError: when ``shrinkage`` is not in [0, 1].

    >>> memory, rng = ClassStatistics(space="samples"), torch.Generator().manual_seed(0)
    >>> memory.end_experience([Batch(torch.rand(20, 3), torch.arange(20) % 2)], nn.Identity(), None, 0, rng)
    >>> len(memory), memory.draw(6, rng).y.bincount()
    (2, tensor([3, 3]))
    """

    logits = False
    every_pass = False
    needs_dawn = False
    needs_classes = True

    @checked
    def __init__(
        self,
        covariance: Covariance = "full",
        space: Literal["features", "samples"] = "features",
        shrinkage: float = 0.0,
    ):
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"expected a shrinkage in [0, 1], got {shrinkage}")
        self.covariance: Covariance = covariance
        self.is_features = space == "features"
        self.shrinkage = shrinkage
        # what earlier experiences brought, and what the latest did
        self.banks: list[Bank] = []
        self.experience = -1
        self.rank, self.ranks = 0, 1
        self.shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Classes that can be drawn."""
        return len(self._labels().unique())

    @property
    def nbytes(self) -> int:
        """Bytes of the statistics held now."""
        return sum(row.numel() * row.element_size() for bank in self.banks for row in bank.values())

    def planned_bytes(self, shape: tuple[int, ...], outputs: int, itemsize: int = 4, target_bytes: int = 8) -> int:
        """See :meth:`dreamer.memory.Memory.planned_bytes`.

        Every class is counted once: those that come back take twice as much while the experience lasts that brings
        them. A shared covariance is counted twice, for the latest experience and for those before.
        """
        dims = math.prod(shape)
        spread = {"full": dims * dims * outputs, "diagonal": dims * outputs, "shared": 2 * dims * dims}
        return self.ranks * (outputs * (8 + 8 + 4 * dims) + 4 * spread[self.covariance])

    def add(
        self,
        x: Tensor,
        y: Tensor,
        rng: torch.Generator,
        logits: Tensor | None = None,
        group: Tensor | None = None,
        fields: Mapping[str, Tensor] | None = None,
    ) -> None:
        """See :meth:`dreamer.memory.Memory.add`; nothing is kept while awake."""

    @torch.no_grad()
    def end_experience(
        self, day: Iterable[Batch], learner: nn.Module, dawn: nn.Module | None, experience: int, rng: torch.Generator
    ) -> None:
        """Measure the day; see :meth:`dreamer.memory.Memory.end_experience`.

        Raises:
            ValueError: when features are measured and the learner has none (see :class:`dreamer.networks.Featured`).
        """
        moments = Moments(self.covariance)
        for batch in day:
            h = featured(learner).features(batch.x) if self.is_features else batch.x
            self.shape, device = tuple(h.shape[1:]), h.device
            moments.observe(h.reshape(len(h), -1), batch.y)
        if experience != self.experience and len(self.banks) == 2:
            older, newer = self.banks
            self.banks = [join(older, newer, self.covariance)]
        elif experience == self.experience:
            self.banks = self.banks[:-1]
        self.banks.append({name: row.to(device) for name, row in moments.bank().items()})
        self.experience = experience

    def draw(self, count: int, rng: torch.Generator) -> Dream:
        """Draw of all classes equally often, give or take one, in random order; see :meth:`dreamer.memory.Memory.draw`.

        A class of which there are two Gaussians is drawn from either, as often as it was seen there.
        """
        if not self.banks:
            raise RuntimeError("the memory is empty: an experience must end before anything is drawn")
        label = self._labels().to(rng.device)
        seen = torch.cat([bank["count"] for bank in self.banks]).to(rng.device, torch.float32)
        classes = label.unique()
        order = torch.randperm(len(classes), generator=rng, device=rng.device).repeat(count // len(classes) + 1)
        y = classes[order[:count][torch.randperm(count, generator=rng, device=rng.device)]]
        row = torch.multinomial((label == y[:, None]) * seen, 1, generator=rng).flatten()
        mean = torch.cat([bank["mean"] for bank in self.banks])
        row = row.to(mean.device)
        x = mean[row] + self._noise(row, rng)
        return Dream(x.view(count, *self.shape), y.to(x.device), is_features=self.is_features)

    def to(self, device: torch.device | str) -> None:
        """Move what is held to a device."""
        self.banks = [{name: row.to(device) for name, row in bank.items()} for bank in self.banks]

    def state_dict(self) -> dict[str, Any]:
        """What is held, as tensors and plain containers."""
        banks = [{name: row.clone() for name, row in bank.items()} for bank in self.banks]
        return {
            "covariance": self.covariance,
            "hidden": self.is_features,
            "shape": list(self.shape),
            "experience": self.experience,
            "banks": banks,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave.

        Raises:
            ValueError: when those are statistics of another kind.
        """
        kind, own = (state["covariance"], state["hidden"]), (self.covariance, self.is_features)
        if kind != own:
            raise ValueError(f"expected statistics with (covariance, hidden) of {own}, got {kind}")
        self.shape, self.experience = tuple(state["shape"]), state["experience"]
        self.banks = [{name: row.clone() for name, row in bank.items()} for bank in state["banks"]]

    def distribute(self, rank: int, ranks: int) -> None:
        """See :meth:`dreamer.memory.Memory.distribute`."""
        if (rank, ranks) == (self.rank, self.ranks):
            return
        if self.banks and self.ranks > 1:
            raise ValueError(f"expected a memory of one process to be shared, got the part of one of {self.ranks}")
        state = self.state_dict()
        self.rank, self.ranks = rank, ranks
        self.load_state_dict(self.dealt([state]))

    def dealt(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """See :meth:`dreamer.memory.Memory.dealt`.

        What was measured is merged; each process then has the same Gaussians, which stand for its part of the samples.
        """
        banks: list[Any] = []
        for measured in itertools.zip_longest(*(reversed(state["banks"]) for state in states)):
            whole = functools.reduce(
                functools.partial(join, covariance=self.covariance), [bank for bank in measured if bank is not None]
            )
            banks.insert(0, divide(whole, self.rank, self.ranks, self.covariance))
        last = max(states, key=lambda state: int(state["experience"]))
        return {**last, "banks": banks}

    def _labels(self) -> Tensor:
        return torch.cat([bank["label"] for bank in self.banks]) if self.banks else torch.empty(0)

    def _noise(self, row: Tensor, rng: torch.Generator) -> Tensor:
        """(B, D) deviations from the mean of the (B,) Gaussians, counted over all banks."""
        shape = (len(row), self.banks[0]["mean"].shape[1])

        def normal() -> Tensor:
            return torch.randn(shape, generator=rng, device=rng.device).to(row.device)

        if self.covariance == "shared":
            free = torch.cat([freedom(bank, "shared") for bank in self.banks])
            weights = (free / free.sum().clamp_min(1)).sqrt().float()
            factors = torch.stack(
                [weight * bank["factor"][0] for weight, bank in zip(weights, self.banks, strict=True)]
            )
            noise = torch.stack([normal() @ factor.T for factor in factors]).sum(dim=0)
            variance = factors.square().sum() / shape[1]
        elif self.covariance == "diagonal":
            factor = torch.cat([bank["factor"] for bank in self.banks])[row]
            noise, variance = factor * normal(), factor.square().mean(dim=1, keepdim=True)
        else:
            noise, variance = normal(), torch.empty(shape[0], 1, device=row.device)
            # one matrix at a time: gathering one for every draw would take B D^2 numbers
            for number, factor in enumerate(factor for bank in self.banks for factor in bank["factor"]):
                own = (row == number).nonzero().flatten()
                noise[own] = noise[own] @ factor.T
                variance[own] = factor.square().sum() / shape[1]
        if not self.shrinkage:
            return noise
        return (1 - self.shrinkage) ** 0.5 * noise + (self.shrinkage * variance).sqrt() * normal()

"""Counts, means and covariances of classes, summed up batch by batch."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor

from dreamer.memory._shards import part

Covariance = Literal["full", "shared", "diagonal"]
Bank = dict[str, Tensor]
"""What is kept of C classes.

``label`` (C,) int64, ``count`` (C,) int64, ``mean`` (C, D) float32, and ``factor`` float32: matrices F with F F^T the
covariance, (C, D, D) or, shared by all classes, (1, D, D); or (C, D) standard deviations.
"""

_ALL = -1


class Moments:
    """Sums up classes in double precision on the CPU, wherever their samples are.

    Groups are merged pairwise, which stays exact where sums of squares would cancel (Chan, Golub and LeVeque 1983,
    "Algorithms for computing the sample variance: analysis and recommendations").

    Args:
        covariance: of every class ``full``, ``diagonal``, or one ``shared`` by all: the mean within classes.
    """

    def __init__(self, covariance: Covariance):
        self.covariance = covariance
        self.count: dict[int, int] = {}
        self.mean: dict[int, Tensor] = {}
        self.scatter: dict[int, Tensor] = {}

    def observe(self, h: Tensor, y: Tensor) -> None:
        """Add (B, D) vectors of the (B,) classes."""
        h, y = h.cpu().double(), y.cpu()
        for label in y.unique().tolist():
            own = h[y == label]
            mean = own.mean(dim=0)
            self._merge(label, len(own), mean, self._square(own - mean))

    def take(self, bank: Bank) -> None:
        """Add what :meth:`bank` gave."""
        factor = bank["factor"].cpu().double()
        scatter = self._product(factor) * freedom(bank, self.covariance).cpu().view(-1, *[1] * (factor.ndim - 1))
        own = torch.zeros_like(scatter[:1]).expand_as(scatter) if self.covariance == "shared" else scatter
        for index, label in enumerate(bank["label"].tolist()):
            mean = bank["mean"][index].cpu().double()
            self._merge(label, int(bank["count"][index]), mean, own[index % len(own)])
        if self.covariance == "shared":
            self.scatter[_ALL] = self.scatter[_ALL] + scatter[0]

    def bank(self) -> Bank:
        """What is kept of all this."""
        labels = sorted(self.count)
        bank = {
            "label": torch.tensor(labels),
            "count": torch.tensor([self.count[label] for label in labels]),
            "mean": torch.stack([self.mean[label] for label in labels]).float(),
        }
        groups = [_ALL] if self.covariance == "shared" else labels
        free = freedom(bank, self.covariance).clamp_min(1)
        factors = [self._root(self.scatter[group] / n) for group, n in zip(groups, free, strict=True)]
        return bank | {"factor": torch.stack(factors).float()}

    def _merge(self, label: int, count: int, mean: Tensor, scatter: Tensor) -> None:
        group = _ALL if self.covariance == "shared" else label
        before = self.count.get(label, 0)
        if before:
            apart = mean - self.mean[label]
            scatter = scatter + self._square(apart[None]) * (before * count / (before + count))
            mean = self.mean[label] + apart * (count / (before + count))
        self.count[label] = before + count
        self.mean[label] = mean
        self.scatter[group] = self.scatter[group] + scatter if group in self.scatter else scatter

    def _square(self, centred: Tensor) -> Tensor:
        return centred.square().sum(dim=0) if self.covariance == "diagonal" else centred.T @ centred

    def _product(self, factor: Tensor) -> Tensor:
        return factor.square() if self.covariance == "diagonal" else factor @ factor.mT

    def _root(self, covariance: Tensor) -> Tensor:
        if self.covariance == "diagonal":
            return covariance.sqrt()
        # unlike Cholesky's it exists for singular ones: few samples, or features that are always 0
        values, vectors = torch.linalg.eigh(covariance)
        return vectors * values.clamp_min(0).sqrt()


def freedom(bank: Bank, covariance: Covariance) -> Tensor:
    """Degrees of freedom, float32, of each class's covariance (C,), or of the shared one (1,)."""
    free = (bank["count"] - 1).to(torch.float32)
    return free.sum(dim=0, keepdim=True) if covariance == "shared" else free


def join(older: Bank, newer: Bank, covariance: Covariance) -> Bank:
    """Two banks as one; classes that stand in both are merged, the others are left as they are."""
    moments = Moments(covariance)
    if covariance == "shared":
        moments.take(older)
        moments.take(newer)
        return {name: row.to(newer[name].device) for name, row in moments.bank().items()}
    parts = []
    for bank, other in ((older, newer), (newer, older)):
        twice = torch.isin(bank["label"], other["label"])
        parts.append({name: row[~twice] for name, row in bank.items()})
        moments.take({name: row[twice] for name, row in bank.items()})
    if moments.count:
        parts.append(moments.bank())
    return {name: torch.cat([part[name].to(newer[name].device) for part in parts]) for name in newer}


def divide(bank: Bank, rank: int, ranks: int, covariance: Covariance) -> Bank:
    """The same classes with one process's part of the count, without those of which it has no sample."""
    count = bank["count"].tolist()
    begun = itertools.accumulate(count, initial=0)
    own = [part(number, (rank - before) % ranks, ranks) for number, before in zip(count, begun, strict=False)]
    divided = bank | {"count": torch.tensor(own, dtype=torch.int64, device=bank["count"].device)}
    seen = divided["count"] > 0
    shared = {"factor"} if covariance == "shared" else set()
    return {name: row if name in shared else row[seen] for name, row in divided.items()}

"""Features of the learner instead of samples, kept up to date as features drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.types import Batch
from dreamer.memory._lists import Lists, entries, piles
from dreamer.memory._shards import Hand, Key, Piles
from dreamer.memory.base import Buffer
from dreamer.networks.base import featured

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PAIRS_AT_ONCE = 1 << 22


class LatentCodes(Buffer):
    """The learner's features of samples at dusk: they are replayed behind its features.

    Latent replay (Pellegrini et al. 2020, "Latent replay for real-time continual learning", arXiv 1912.01100; REMIND,
    Hayes et al. 2020, arXiv 1910.02509, which compresses the codes further and, like this, keeps classes balanced).
    At dusk a random choice of the day's samples is written as features, with the number of the experience; every class
    has the same part of the capacity, and old lists are cut when new classes come.

    Codes age as features move. Both papers hold the layers below nearly or wholly still; here they may learn, and at
    dusk older codes move by the mean drift of the day's samples around them since dawn, weighted by a Gaussian of the
    distance (semantic drift compensation, Yu et al. 2020, arXiv 2004.00440, who move class means: ``displacement`` in
    ``test.py`` of yulu0724/SDC-IL). Where nights cut an experience, the drift since dawn has been corrected at its
    first dusk; a later one follows those of the day's samples that were written at the dusk before, recognised by their
    content (samples that are perturbed while loading cannot be recognised, and codes then stay as they are). Dreams
    that enter behind the features leave these alone, so nights of latent replay alone make no drift.

    Args:
        capacity: codes that fit, at least 1.
        store: ``float32``, or ``float16`` for half the bytes.
        logits: keep the learner's logits at dusk too.
        refresh: follow the drift; without it no copy of the learner from dawn is needed for this memory.
        sigma: width of the Gaussian, in units of the spread of the day's samples (the root of their mean squared
            distance to their mean), larger than 0. The authors' ``sigma_test`` is a length, to be given for every run;
            relative to the spread it fits features of any scale. The default lets near neighbours speak.

    Attributes:
        refresh: see above.

    Raises:
        ValueError: when the capacity is below 1, ``sigma`` is not positive, or codes cannot be stored that way.
    """

    is_features = True

    @checked
    def __init__(
        self,
        capacity: int,
        store: Literal["float32", "float16"] = "float32",
        logits: bool = False,
        refresh: bool = True,
        sigma: float = 0.2,
    ):
        if sigma <= 0:
            raise ValueError(f"expected a sigma larger than 0, got {sigma}")
        if store not in ("float32", "float16"):
            raise ValueError(f"expected codes to be stored as float32 or float16, got {store!r}")
        super().__init__(capacity, store, logits, every_pass=False)
        self.refresh = refresh
        self.needs_dawn = refresh
        self.sigma = sigma
        self._lists = Lists()

    @property
    def written(self) -> Tensor:
        """(N,) int64, the experience in which each code was written, in the order of the codes."""
        counts = torch.tensor([count for _, _, count in self._lists.entries], dtype=torch.int64)
        numbers = torch.tensor([number for _, number, _ in self._lists.entries], dtype=torch.int64)
        return numbers.repeat_interleave(counts)

    def planned_bytes(self, shape: tuple[int, ...], outputs: int, itemsize: int = 4, target_bytes: int = 8) -> int:
        """See :meth:`dreamer.memory.Memory.planned_bytes`."""
        # 8 bytes by which a sample is recognised
        return super().planned_bytes(shape, outputs, target_bytes=target_bytes) + 8 * self.total

    @torch.no_grad()
    def end_experience(
        self, day: Iterable[Batch], learner: nn.Module, dawn: nn.Module | None, experience: int, rng: torch.Generator
    ) -> None:
        """Write the day and refresh what is older; see :meth:`dreamer.memory.Memory.end_experience`.

        Raises:
            ValueError: when the learner has no features (see :class:`dreamer.networks.Featured`).
        """
        again = bool(self._lists.entries) and self._lists.entries[-1][1] == experience
        read = _read(day, learner, dawn if self.refresh and self.size and not again else None, self.logits)
        group = read.rows.get("group", read.rows["y"])
        members = {label: (group == label).nonzero().flatten() for label in group.unique().tolist()}
        earlier = self._rows((self.written == experience).nonzero().flatten()) if again else {}
        stay, quotas = self._lists.renew(
            self.total, (self.rank, self.ranks), experience, {label: len(own) for label, own in members.items()}
        )
        chosen = [own[_some(len(own), quotas[label], rng).to(own.device)] for label, own in members.items()]
        rows = {name: row[torch.cat(chosen)] for name, row in read.rows.items()}
        if stay:
            old = self._rows(torch.tensor(stay))
            if self.refresh:
                before, after = _pairs(read, earlier)
                old["x"] = old["x"] + drift(old["x"], before, after, self.sigma)
            rows = {name: torch.cat([old[name], row]) for name, row in rows.items()}
        self._hold(rows)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"lists": [list(entry) for entry in self._lists.entries]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._lists.entries = [(label, experience, count) for label, experience, count in state["lists"]]

    def _piles(self, state: Mapping[str, Any]) -> Piles:
        return piles(state["lists"])

    def _regrouped(self, states: Sequence[Mapping[str, Any]], hands: Mapping[Key, Hand]) -> dict[str, Any]:
        return {"lists": entries(hands)}


def drift(codes: Tensor, before: Tensor, after: Tensor, sigma: float) -> Tensor:
    """The mean drift around codes, as ``displacement`` in ``test.py`` of yulu0724/SDC-IL.

    Args:
        codes: (M, H).
        before: (N, H) features of samples, of when the codes were written.
        after: (N, H) features of the same samples now.
        sigma: width of the Gaussian, in units of the spread of ``before``.

    Returns:
        (M, H); zeros where N is 0.
    """
    if not len(before):
        return torch.zeros_like(codes)
    # distances of centred points lose less to rounding
    centre = before.mean(dim=0)
    around = before - centre
    width = sigma * around.square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
    moved = []
    for some in (codes - centre).split(max(1, _PAIRS_AT_ONCE // len(before))):
        # the softmax divides by the sum of the weights, and does not vanish far from all samples
        weight = torch.softmax(-0.5 * (torch.cdist(some, around) / width).square(), dim=1)
        moved.append(weight @ (after - before))
    return torch.cat(moved)


class _Read(NamedTuple):
    """The day as the learner sees it: rows to choose from, and its (N, H) features under a dawn teacher."""

    rows: dict[str, Tensor]
    before: Tensor | None


def _read(day: Iterable[Batch], learner: nn.Module, dawn: nn.Module | None, logits: bool) -> _Read:
    rows: dict[str, list[Tensor]] = {name: [] for name in ("x", "y", "key", *(["logits"] if logits else []))}
    before = []
    for batch in day:
        x = batch.x
        h = featured(learner).features(x)
        rows["x"].append(h.float())
        rows["y"].append(batch.y)
        rows["key"].append(_keys(x))
        if batch.group is not None:
            rows.setdefault("group", []).append(batch.group)
        if logits:
            rows["logits"].append(featured(learner).classify(h).float())
        if dawn is not None:
            before.append(featured(dawn).features(x).float())
    return _Read({name: torch.cat(row) for name, row in rows.items()}, torch.cat(before) if before else None)


def _pairs(read: _Read, earlier: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(N, H) features of samples before and after a drift: since dawn, or since an earlier dusk of that day."""
    after = read.rows["x"]
    if read.before is not None:
        return read.before, after
    if not earlier:
        return after[:0], after[:0]
    keys, order = read.rows["key"].sort()
    place = torch.searchsorted(keys, earlier["key"]).clamp_max(len(keys) - 1)
    found = keys[place] == earlier["key"]
    return earlier["x"][found], after[order[place[found]]]


def _keys(x: Tensor) -> Tensor:
    """(B,) int64 numbers that identify (B, *S) samples by their content."""
    whole = x.reshape(len(x), -1).contiguous().view(_INTEGERS[x.element_size()]).to(torch.int64)
    factors = torch.randint(-(1 << 62), 1 << 62, (whole.shape[1],), generator=torch.Generator().manual_seed(0))
    # wraps around; integers give the same sum in any order
    return (whole * factors.to(x.device)).sum(dim=1)


def _some(total: int, count: int, rng: torch.Generator) -> Tensor:
    return torch.randperm(total, generator=rng)[:count]

"""The samples whose mean is the mean of their group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.types import Batch
from dreamer.memory._lists import Lists, entries, piles
from dreamer.memory._shards import Hand, Key, Piles
from dreamer.memory.base import Buffer, Store
from dreamer.networks.base import Featured, forward


class Herding(Buffer):
    """The exemplars of iCaRL: at dusk, the samples that together lie closest to the mean of their class.

    Rebuffi et al. 2017 (arXiv 1611.07725): algorithm 4 chooses them one by one, each so that the mean of those chosen
    so far comes closest to the mean of the class, in the space of the learner's features, scaled to length 1; algorithm
    5 cuts old classes from the end when new ones come, so that every class has the same part of the capacity. Here
    parts are rounded so that they fill it; the authors' code (srebuffi/iCaRL,
    ``iCaRL-TheanoLasagne/main_cifar_100_theano.py``) rounds up.

    A learner without features (see :class:`dreamer.networks.Featured`) is represented by its logits: they are the
    closest to features that every learner gives, and distances between raw samples mean little to it.
    A class that comes back in a later experience gets another list, and its part is split over them.

    Nothing is kept before the first dusk. The logits, where they are kept, are those of the learner at dusk. Arguments
    as for :class:`dreamer.memory.Buffer`, without ``every_pass``.
    """

    @checked
    def __init__(self, capacity: int, store: Store = "float32", logits: bool = False):
        super().__init__(capacity, store, logits, every_pass=False)
        self._lists = Lists()

    @torch.no_grad()
    def end_experience(
        self, day: Iterable[Batch], learner: nn.Module, dawn: nn.Module | None, experience: int, rng: torch.Generator
    ) -> None:
        """Choose the exemplars of the new groups; see :meth:`dreamer.memory.Memory.end_experience`."""
        seen: dict[str, list[Tensor]] = {"x": [], "y": [], "logits": [], "view": []}
        for batch in day:
            output = forward(learner, batch.x, features=isinstance(learner, Featured))
            view = output.logits if output.features is None else output.features
            seen["x"].append(self._encode(batch.x))
            seen["y"].append(batch.y)
            seen["logits"].append(output.logits.float())
            seen["view"].append(functional.normalize(view.flatten(1).float()))
            if batch.group is not None:
                seen.setdefault("group", []).append(batch.group)
        y, view = torch.cat(seen["y"]), torch.cat(seen["view"])
        group = torch.cat(seen["group"]) if "group" in seen else y
        members = {label: (group == label).nonzero().flatten() for label in group.unique().tolist()}
        stay, quotas = self._lists.renew(
            self.total, (self.rank, self.ranks), experience, {label: len(index) for label, index in members.items()}
        )
        index = torch.cat([own[herd(view[own], quotas[label])] for label, own in members.items()])
        rows = {"x": self._decode(torch.cat(seen["x"])[index]), "y": y[index]}
        if self.logits:
            rows["logits"] = torch.cat(seen["logits"])[index]
        if "group" in seen:
            rows["group"] = group[index]
        kept = self._rows(torch.tensor(stay, dtype=torch.int64))
        self._hold({name: torch.cat([kept[name], row]) if stay else row for name, row in rows.items()})

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"lists": [list(entry) for entry in self._lists.entries]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._lists.entries = [(label, experience, count) for label, experience, count in state["lists"]]

    def _piles(self, state: Mapping[str, Any]) -> Piles:
        return piles(state["lists"])

    def _regrouped(self, states: Sequence[Mapping[str, Any]], hands: Mapping[Key, Hand]) -> dict[str, Any]:
        return {"lists": entries(hands)}


def herd(features: Tensor, count: int) -> Tensor:
    """Choose samples whose mean follows the mean of all (Rebuffi et al. 2017, algorithm 4), none of them twice.

    Args:
        features: (N, H).
        count: how many, at most N.

    Returns:
        (count,) int64, in the order in which they were chosen.
    """
    mean = features.mean(dim=0)
    length = features.square().sum(dim=1)
    total = torch.zeros_like(mean)
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = torch.empty(count, dtype=torch.int64, device=features.device)
    for k in range(1, count + 1):
        # |mean - (total + f) / k|^2 without what is the same for all f
        distance = length - 2 * features @ (k * mean - total)
        best = distance.masked_fill_(~free, torch.inf).argmin()
        chosen[k - 1] = best
        free[best] = False
        total = total + features[best]
    return chosen

"""Reservoir sampling."""

from __future__ import annotations

import torch

from dreamer.memory.base import Buffer


class Reservoir(Buffer):
    """A uniform sample of everything seen so far.

    Algorithm R (Vitter 1985): the n-th sample replaces a random one with probability capacity / n. The usual buffer of
    experience replay (Chaudhry et al. 2019, arXiv 1902.10486). Arguments as for :class:`dreamer.memory.Buffer`.

    >>> memory, rng = Reservoir(capacity=3), torch.Generator().manual_seed(0)
    >>> memory.add(torch.rand(50, 4), torch.arange(50) % 2, rng)
    >>> len(memory), memory.draw(2, rng).x.shape
    (3, torch.Size([2, 4]))
    """

    def _slot(self, label: int, rng: torch.Generator) -> int | None:
        if self.size < self.capacity:
            self.size += 1
            return self.size - 1
        slot = int(torch.randint(self.offered + 1, (1,), generator=rng))
        return slot if slot < self.capacity else None

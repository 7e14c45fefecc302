"""Masked spans: the learner continues a text of which it does not see everything."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least, fractions
from dreamer.perturbations._texts import follow, need_tokens, written
from dreamer.perturbations.base import multiplied, uniform


class MaskSpans:
    """Hide short spans of every text: what is read there are tokens from elsewhere in the batch.

    What is to be predicted stays as it was, and the teacher reads the clean text unless a stage says otherwise. So the
    learner is taught the distribution that follows on what was hidden. The corruption of spans of Raffel et al. 2020
    (arXiv 1910.10683) for a model that has no token for what is missing: it is replaced as every tenth masked token of
    Devlin et al. 2019 (arXiv 1810.04805).

    Args:
        rate: the largest fraction of hidden tokens; a text's own is uniform in [0, rate]. 0.3: 15 % on average, as in
            both papers.
        span: the longest span; a text's own are uniform in 1 ... span. 5: three on average, as Raffel et al.

    Raises:
        ValueError: when ``rate`` is not in [0, 1] or ``span`` is below 1.
    """

    space: Literal["token"] = "token"
    amounts = ("rate",)
    rewrites = False

    @checked
    def __init__(self, rate: float = 0.3, span: int = 5):
        fractions(rate=rate)
        at_least(1, span=span)
        self.rate = rate
        self.span = span

    def scaled(self, strength: float) -> MaskSpans:
        """See :func:`dreamer.perturbations.scaled`; a rate of at most 1."""
        return multiplied(self, strength, most=1.0)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens; their (B, T) next tokens stay."""
        need_tokens(x, p, "MaskSpans")
        counted = written(p)
        pool = p[counted]
        length = torch.randint(1, self.span + 1, (len(x), 1), generator=rng, device=x.device)
        rate = uniform(len(x), 0.0, self.rate, torch.empty(0, device=x.device), rng)[:, None]
        # so many places begin a span that the expected fraction of hidden ones is the rate
        begins = torch.rand(x.shape, generator=rng, device=x.device) < 1 - (1 - rate) ** (1 / length)
        drawn = torch.randint(max(len(pool), 1), x.shape, generator=rng, device=x.device)
        if not len(pool):
            return x, p
        begun = begins.long().cumsum(dim=1)
        place = torch.arange(x.shape[1], device=x.device).expand_as(x)
        before = (place - length).clamp(min=0)
        hidden = begun - torch.where(place >= length, begun.gather(1, before), 0) > 0
        return follow(x, torch.where(hidden & counted, pool[drawn], p)), p

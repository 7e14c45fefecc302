"""Shuffled segments: the sentences of a text in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import fractions
from dreamer.core.tokens import Tokens
from dreamer.perturbations._texts import chosen, closing, cut, follow, need_several, need_tokens, written
from dreamer.perturbations.base import multiplied


class ShuffleSegments:
    """Cut texts into segments, and put these into another order; the teacher says what comes next in that.

    Sentences in another order are a noise of BART (Lewis et al. 2020, arXiv 1910.13461, "sentence permutation"). An
    opening stays where it is, and so does what fills a text up.

    Args:
        rate: the fraction of texts that are shuffled.
        segments: most segments of a text, at least 2; its own number is uniform in 2 ... segments.
        ends: a text is cut only behind tokens that end with one of these, such as ``[". ", "! "]``; empty cuts
            anywhere.
        tokens: the stream's vocabulary, in which they are looked up; a run from a configuration takes it from its
            stream.

    Raises:
        ValueError: when a number is out of its range, or no token ends so.
    """

    space: Literal["token"] = "token"
    amounts = ("rate",)
    rewrites = True

    @checked
    def __init__(self, rate: float = 0.5, segments: int = 4, ends: Sequence[str] = (), tokens: Tokens | None = None):
        fractions(rate=rate)
        need_several(segments)
        self.rate = rate
        self.segments = segments
        self._closes = closing(tokens, ends)

    def scaled(self, strength: float) -> ShuffleSegments:
        """See :func:`dreamer.perturbations.scaled`; a rate of at most 1."""
        return multiplied(self, strength, most=1.0)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens and their (B, T) next tokens."""
        need_tokens(x, p, "ShuffleSegments")
        counted = written(p)
        number = cut(p, self.segments, self._closes, rng)
        ranks = torch.rand(len(x), self.segments, generator=rng, device=x.device)
        shuffled = chosen(len(x), self.rate, x, rng)
        # what counts is one stretch: what lies before it stays before it, what lies behind it behind
        key = ranks.gather(1, number).masked_fill(~counted, 2.0)
        key = key.masked_fill(~counted & (counted.cumsum(dim=1) == 0), -1.0)
        moved = p.gather(1, key.argsort(dim=1, stable=True))
        y = torch.where(shuffled & _in_one_stretch(counted), moved, p)
        return follow(x, y), y


def _in_one_stretch(counted: Tensor) -> Tensor:
    """(B, 1) bool, texts of which nothing within is left out, as the turns of a user would be."""
    begins = counted[:, 1:] & ~counted[:, :-1]
    return (begins.sum(dim=1, keepdim=True) + counted[:, :1].long()) <= 1

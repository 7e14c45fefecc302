"""Recombined segments: one text made of several of the same domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import fractions
from dreamer.core.tokens import Tokens
from dreamer.perturbations._texts import chosen, closing, cut, follow, need_several, need_tokens, written
from dreamer.perturbations.base import multiplied, partners


class RecombineSegments:
    """Exchange every other segment of a text for what another text of its domain has there.

    A text is of the same domain when it begins with the same token. The teacher says what comes next in what has come
    of it. Recombining what was read in other contexts is what teaches in EntiGraph (Yang et al. 2024,
    arXiv 2409.07431); theirs is written by a model.

    Args:
        rate: the fraction of texts that are recombined.
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

    def scaled(self, strength: float) -> RecombineSegments:
        """See :func:`dreamer.perturbations.scaled`; a rate of at most 1."""
        return multiplied(self, strength, most=1.0)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens and their (B, T) next tokens."""
        need_tokens(x, p, "RecombineSegments")
        other = p[partners(x[:, 0], rng)]
        number = cut(p, self.segments, self._closes, rng)
        taken = (number % 2 == 1) & written(p) & written(other) & chosen(len(x), self.rate, x, rng)
        y = torch.where(taken, other, p)
        return follow(x, y), y

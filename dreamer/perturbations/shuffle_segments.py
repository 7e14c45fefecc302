"""Shuffled segments: the sentences of a text in another order."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamer.perturbations._texts import InSegments, chosen, follow, need_tokens, written


class ShuffleSegments(InSegments):
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

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens and their (B, T) next tokens."""
        need_tokens(x, p, "ShuffleSegments")
        counted = written(p)
        number = self.cut(p, rng)
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

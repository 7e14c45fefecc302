"""Recombined segments: one text made of several of the same domain."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamer.perturbations._texts import InSegments, chosen, follow, need_tokens, written
from dreamer.perturbations.base import partners


class RecombineSegments(InSegments):
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

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens and their (B, T) next tokens."""
        need_tokens(x, p, "RecombineSegments")
        other = p[partners(x[:, 0], rng)]
        number = self.cut(p, rng)
        taken = (number % 2 == 1) & written(p) & written(other) & chosen(len(x), self.rate, x, rng)
        y = torch.where(taken, other, p)
        return follow(x, y), y

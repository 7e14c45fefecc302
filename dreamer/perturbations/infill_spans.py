"""Infilled spans: a stretch of a text is written anew."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamer.perturbations._texts import follow, need_tokens, written
from dreamer.perturbations._writing import Writing
from dreamer.perturbations.base import uniform


class InfillSpans(Writing):
    """Write one span of every text anew, given what stands before it; what stands behind it stays.

    The writer is the teacher of the text, dawn of an old domain and dusk of the new one; where there is none, the
    learner. What it writes is its own, and what follows no longer quite fits: the teacher says anew what comes next in
    the whole text. Masked spans are filled in by a model in Donahue et al. 2020 (arXiv 2005.05339); theirs sees both
    sides.

    Args:
        rate: the longest span, as a fraction of the text; a text's own is uniform in [0, rate].
        temperature: at which it is written.
        top_k: write with so many most likely tokens; None with all.
        top_p: write with the most likely tokens whose probabilities first add up to so much; None with all.

    Raises:
        ValueError: when a number is out of its range.
    """

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens and their (B, T) next tokens.

        Raises:
            RuntimeError: when nobody writes.
        """
        self.need_writer()
        need_tokens(x, p, "InfillSpans")
        span = self._spans(p, rng)
        if not span.any():
            return x, p
        y = self.write(x, p, span, rng)
        return follow(x, y), y

    def _spans(self, y: Tensor, rng: torch.Generator) -> Tensor:
        """(B, T) bool, the next tokens that are written anew."""
        counted = written(y)
        length = counted.sum(dim=1)
        like = torch.empty(0, device=y.device)
        own = (uniform(len(y), 0.0, self.rate, like, rng) * length).ceil()
        start = (uniform(len(y), 0.0, 1.0, like, rng) * (length - own + 1)).floor()
        number = counted.cumsum(dim=1) - 1
        return counted & (number >= start[:, None]) & (number < (start + own)[:, None])

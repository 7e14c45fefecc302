"""Swapped openings: a text under the name of another domain."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import fractions
from dreamer.perturbations._texts import chosen, need_tokens, opening
from dreamer.perturbations.base import any_partners, multiplied


class SwapOpening:
    """Let a text begin with the opening, or prompt, of another one; the teacher says what comes next under it.

    So a domain is told apart from another by its name alone, and a learner is shown texts that no domain has. What
    counts as opening is all that no loss is taken at, and a mark of the domain. Only openings of one length are
    exchanged, among texts of one teacher.

    Args:
        rate: the fraction of texts that begin otherwise, as far as the others in the batch do.

    Raises:
        ValueError: when ``rate`` is not in [0, 1].
    """

    space: Literal["token"] = "token"
    amounts = ("rate",)
    rewrites = True

    @checked
    def __init__(self, rate: float = 0.5):
        fractions(rate=rate)
        self.rate = rate

    def scaled(self, strength: float) -> SwapOpening:
        """See :func:`dreamer.perturbations.scaled`; a rate of at most 1."""
        return multiplied(self, strength, most=1.0)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens; their (B, T) next tokens stay."""
        need_tokens(x, p, "SwapOpening")
        partner = any_partners(p, rng)
        given = opening(p)
        alike = (given == given[partner]).all(dim=1, keepdim=True)
        swapped = given & alike & chosen(len(x), self.rate, x, rng)
        return torch.where(swapped, x[partner], x), p

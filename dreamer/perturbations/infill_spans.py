"""Infilled spans: a stretch of a text is written anew."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least, fractions
from dreamer.core.modes import evaluating
from dreamer.core.sampling import Writer, next_tokens
from dreamer.perturbations._texts import follow, need_tokens, written
from dreamer.perturbations.base import multiplied, uniform


class InfillSpans:
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

    space: Literal["token"] = "token"
    amounts = ("rate",)
    rewrites = True

    @checked
    def __init__(
        self, rate: float = 0.5, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
    ):
        fractions(rate=rate)
        at_least(0, temperature=temperature)
        at_least(1, top_k=top_k)
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"expected top_p in (0, 1], got {top_p}")
        self.rate = rate
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.network: nn.Module | None = None

    def scaled(self, strength: float) -> InfillSpans:
        """See :func:`dreamer.perturbations.scaled`; a rate of at most 1."""
        return multiplied(self, strength, most=1.0)

    def bind_model(self, network: nn.Module) -> InfillSpans:
        """A copy that writes with the given model; a ``ValueError`` when it cannot write."""
        if not isinstance(network, Writer):
            raise ValueError(
                "InfillSpans needs a network that writes token by token, with the methods new_cache(count, length) and "
                f"extend(tokens, cache), as dreamer.networks.Decoder has them, got {type(network).__name__}"
            )
        bound = copy.copy(self)
        bound.network = network
        return bound

    @torch.no_grad()
    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens and their (B, T) next tokens.

        Raises:
            RuntimeError: when nobody writes.
        """
        if self.network is None:
            raise RuntimeError("InfillSpans needs somebody who writes: bind it with bind_model(network) first")
        need_tokens(x, p, "InfillSpans")
        span = self._spans(p, rng)
        if not span.any():
            return x, p
        y = p.clone()
        with evaluating(self.network):
            y = self._write(x, y, span, self.network, rng)
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

    def _write(self, x: Tensor, y: Tensor, span: Tensor, writer: nn.Module, rng: torch.Generator) -> Tensor:
        """The (B, T) next tokens, some of them new; texts are read up to the last token that any of them needs."""
        assert isinstance(writer, Writer)
        temperature = torch.full((len(x), 1), float(self.temperature), device=x.device)
        cache = writer.new_cache(len(x), x.shape[1])
        for place in range(1 + int(span.any(dim=0).nonzero().max())):
            logits = writer.extend(follow(x, y)[:, place : place + 1], cache)
            drawn = next_tokens(logits, temperature, self.top_k, self.top_p, rng)
            y[:, place] = torch.where(span[:, place], drawn, y[:, place])
        return y

"""What perturbations of texts have in common that let a model write in them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, Self

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least, fractions
from dreamer.core.modes import evaluating
from dreamer.core.sampling import Writer, next_tokens
from dreamer.perturbations._texts import follow
from dreamer.perturbations.base import multiplied


class Writing:
    """A perturbation that writes tokens with a model; each says itself what its rate means."""

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

    def scaled(self, strength: float) -> Self:
        """See :func:`dreamer.perturbations.scaled`; a rate of at most 1."""
        return multiplied(self, strength, most=1.0)

    def bind_model(self, network: nn.Module) -> Self:
        """A copy that writes with the given model; a ``ValueError`` when it cannot write."""
        if not isinstance(network, Writer):
            raise ValueError(
                f"{type(self).__name__} needs a network that writes token by token, with the methods new_cache(count, "
                "length) and extend(tokens, cache), as dreamer.networks.Decoder has them, got "
                f"{type(network).__name__}"
            )
        bound = copy.copy(self)
        bound.network = network
        return bound

    def need_writer(self) -> nn.Module:
        """Who writes; a ``RuntimeError`` when nobody does."""
        if self.network is None:
            raise RuntimeError(
                f"{type(self).__name__} needs somebody who writes: bind it with bind_model(network) first"
            )
        return self.network

    @torch.no_grad()
    def write(
        self,
        x: Tensor,
        y: Tensor,
        anew: Tensor,
        rng: torch.Generator,
        mixed: Callable[[Tensor], Tensor] = lambda logits: logits,
    ) -> Tensor:
        """Write some of the next tokens anew; texts are read up to the last token that any of them needs.

        Args:
            x: (B, T) texts; or (R B, T), the same ones under R openings.
            y: (B, T) their next tokens.
            anew: (B, T) bool, those that are written.
            mixed: makes (B, V) logits of the (R B, V) of the texts.

        Returns:
            (B, T) next tokens.
        """
        writer = self.need_writer()
        assert isinstance(writer, Writer)
        y = y.clone()
        openings = len(x) // max(len(y), 1)
        temperature = torch.full((len(y), 1), float(self.temperature), device=y.device)
        with evaluating(writer):
            cache = writer.new_cache(len(x), x.shape[1])
            for place in range(1 + int(anew.any(dim=0).nonzero().max())):
                read = follow(x, y.repeat(openings, 1))[:, place : place + 1]
                logits = mixed(writer.extend(read, cache))
                drawn = next_tokens(logits, temperature, self.top_k, self.top_p, rng)
                y[:, place] = torch.where(anew[:, place], drawn, y[:, place])
        return y

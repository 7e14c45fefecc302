"""Writing: a model that says how likely each token is, and drawing one."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Writer(Protocol):
    """A language model that writes token by token: what it has read stays in a cache."""

    def new_cache(self, count: int, length: int) -> Any:
        """Room for what ``count`` texts of ``length`` tokens leave behind when they are read."""
        ...

    def extend(self, tokens: Tensor, cache: Any) -> Tensor:
        """Read (B, t) further tokens into the cache; gives the (B, V) logits of the token behind them."""
        ...


def next_tokens(
    logits: Tensor, temperature: Tensor, top_k: int | None, top_p: float | None, rng: torch.Generator
) -> Tensor:
    """Draw one token for each text.

    The largest of logits with Gumbel noise is a draw from their softmax (Gumbel 1954); here the noise is multiplied by
    the temperature, which is the same as dividing the logits, and is defined for 0 too: the most likely token.

    Args:
        logits: (B, V).
        temperature: (B, 1), at least 0.
        top_k: draw among so many most likely tokens; None among all.
        top_p: draw among the most likely tokens whose probabilities, at this temperature, first add up to so much
            (Holtzman et al. 2020, arXiv 1904.09751); None among all.
        rng: on the device of the logits.

    Returns:
        (B,) int64 tokens.
    """
    logits = logits.float()
    if top_k is not None and top_k < logits.shape[1]:
        least = logits.topk(top_k, dim=1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1:
        logits = _nucleus(logits, temperature, top_p)
    gumbel = -torch.empty_like(logits).exponential_(generator=rng).log()
    return (logits + temperature * gumbel).argmax(dim=1)


def _nucleus(logits: Tensor, temperature: Tensor, top_p: float) -> Tensor:
    """Logits without the unlikely rest; the most likely token always stays."""
    ordered, order = logits.sort(dim=1, descending=True)
    # at temperature 0 all probability lies on the first
    p = (ordered / temperature.clamp(min=1e-4)).softmax(dim=1)
    surplus = p.cumsum(dim=1) - p >= top_p
    return torch.full_like(logits, -torch.inf).scatter(1, order, ordered.masked_fill(surplus, -torch.inf))

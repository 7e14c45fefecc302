"""What perturbations of texts have in common: which tokens may change, and how a text is cut into segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least, fractions
from dreamer.core.tokens import IGNORED, Tokens
from dreamer.perturbations.base import multiplied


def need_tokens(x: Tensor, y: Tensor, who: str) -> None:
    """Raise a ValueError unless ``x`` is a batch of texts, and ``y`` what follows each of their tokens."""
    if x.ndim != 2 or x.is_floating_point() or y.shape != x.shape:
        raise ValueError(f"{who} perturbs texts, (B, T) tokens, got {x.dtype} samples of shape {tuple(x.shape)}")


def written(y: Tensor) -> Tensor:
    """(B, T) bool, the next tokens that count; an opening, a prompt and what fills a text up stay as they are."""
    return y != IGNORED


def opening(y: Tensor) -> Tensor:
    """(B, T) bool, the tokens of a text that stand before its first next token that counts."""
    before = written(y).cumsum(dim=1) == 0
    # the token from which that one is predicted belongs to the opening too
    return torch.cat([torch.ones_like(before[:, :1]), before[:, :-1]], dim=1)


def follow(x: Tensor, y: Tensor) -> Tensor:
    """The texts ``x`` with the next tokens ``y`` in place of their own, where those count."""
    return torch.cat([x[:, :1], torch.where(written(y)[:, :-1], y[:, :-1], x[:, 1:])], dim=1)


def chosen(count: int, rate: float, like: Tensor, rng: torch.Generator) -> Tensor:
    """(count, 1) bool, each true with the probability ``rate``."""
    return torch.rand(count, 1, generator=rng, device=like.device) < rate


def closing(tokens: Tokens | None, ends: Sequence[str]) -> Tensor | None:
    """(V,) bool, the tokens behind which a segment may end: whose text ends with one of ``ends``; None for any token.

    Raises:
        ValueError: when no token does.
    """
    if tokens is None or not ends:
        return None
    found = torch.tensor([text.endswith(tuple(ends)) for text in tokens.texts])
    if not found.any():
        raise ValueError(f"expected ends that some token ends with, got {list(ends)}")
    return found


class InSegments:
    """What perturbations have in common that cut texts into segments; each says itself what its arguments mean."""

    space: Literal["token"] = "token"
    amounts = ("rate",)
    rewrites = True

    @checked
    def __init__(self, rate: float = 0.5, segments: int = 4, ends: Sequence[str] = (), tokens: Tokens | None = None):
        fractions(rate=rate)
        at_least(2, segments=segments)
        self.rate = rate
        self.segments = segments
        self._closes = closing(tokens, ends)

    def scaled(self, strength: float) -> Self:
        """See :func:`dreamer.perturbations.scaled`; a rate of at most 1."""
        return multiplied(self, strength, most=1.0)

    def cut(self, y: Tensor, rng: torch.Generator) -> Tensor:
        """(B, T) int64, for each of (B, T) next tokens the number of its segment, from 0."""
        return cut(y, self.segments, self._closes, rng)


def cut(y: Tensor, most: int, closes: Tensor | None, rng: torch.Generator) -> Tensor:
    """Cut texts at random.

    Args:
        y: (B, T) next tokens.
        most: segments of a text; its own number is uniform in 2 ... most, or as many as it has places to be cut at.
        closes: (V,) bool, the tokens behind which it may be cut; None for any.

    Returns:
        (B, T) int64, for each next token the number of its segment, from 0.
    """
    counted = written(y)
    # the token before a cut belongs to the text, and so does the one behind it
    places = counted & torch.cat([counted[:, 1:], torch.zeros_like(counted[:, :1])], dim=1)
    if closes is not None:
        places &= closes.to(y.device)[y.clamp(min=0)]
    scores = torch.rand(y.shape, generator=rng, device=y.device).masked_fill(~places, -1)
    cuts = torch.randint(1, most, (len(y), 1), generator=rng, device=y.device)
    order = scores.argsort(dim=1, descending=True).argsort(dim=1)
    behind = ((order < cuts) & places).long().cumsum(dim=1)
    return torch.cat([torch.zeros_like(behind[:, :1]), behind[:, :-1]], dim=1)

"""A small language model: a decoder-only transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import above, at_least

Size = Literal["mini", "small", "medium"]
Positions = Literal["rotary", "learned"]


class Shape(NamedTuple):
    """Width, layers and heads of a decoder."""

    width: int
    layers: int
    heads: int


SIZES: dict[Size, Shape] = {"mini": Shape(64, 2, 4), "small": Shape(128, 3, 4), "medium": Shape(256, 6, 8)}
"""Some 0.1, 0.6 and 5 million weights, beside those of the embeddings."""


class Decoder(nn.Module):
    """A decoder-only transformer: each token is predicted from those before it.

    Normalisation comes before attention and perceptron (Radford et al. 2019), positions turn queries and keys (rotary
    embedding, Su et al. 2021, arXiv 2104.09864) or are learnt. It writes token by token with a cache of keys and values
    (:meth:`new_cache`, :meth:`extend`), so that writing T tokens costs about one pass over them.

    Args:
        sample_shape: (T,), the tokens of a block.
        outputs: V, the size of the vocabulary.
        size: width, layers and heads together: ``mini`` (64, 2, 4), ``small`` (128, 3, 4) or ``medium`` (256, 6, 8).
        width: in place of that of ``size``, a multiple of twice the heads.
        layers: in place of those of ``size``.
        heads: in place of those of ``size``.
        positions: ``rotary`` or ``learned``.
        base: of the rotary embedding: its slowest turn takes about 2 pi times as many tokens. 10000 as in the paper,
            less for short texts.
        tied: use the embedding of the tokens as the output layer too.
        dropout: fraction of what each layer adds that is dropped in training, in [0, 1).
        context: most tokens that it can read, the block's own by default.

    Initial weights are normal, with a variance of one over the inputs, as in the code of Marek et al. (2026).

    Raises:
        ValueError: when samples are not blocks of tokens, or a size is impossible.

    >>> network = Decoder((16,), 256)
    >>> network(torch.zeros(5, 16, dtype=torch.int64)).shape
    torch.Size([5, 16, 256])
    """

    turns: Tensor | None

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        outputs: int,
        size: Size = "mini",
        width: int | None = None,
        layers: int | None = None,
        heads: int | None = None,
        positions: Positions = "rotary",
        base: float = 10_000.0,
        tied: bool = False,
        dropout: float = 0.0,
        context: int | None = None,
    ):
        super().__init__()
        if len(sample_shape) != 1:
            raise ValueError(
                f"Decoder reads blocks of tokens of shape (T,), got samples of shape {tuple(sample_shape)}"
            )
        at_least(1, width=width, layers=layers, heads=heads)
        at_least(sample_shape[0], context=context)
        above(1, base=base)
        if not 0 <= dropout < 1:
            raise ValueError(f"expected dropout in [0, 1), got {dropout}")
        like = SIZES[size]
        width, layers, heads = width or like.width, layers or like.layers, heads or like.heads
        if width % (2 * heads):
            raise ValueError(f"expected a width that is a multiple of twice the heads, got {width} and {heads}")
        self.shape = Shape(width, layers, heads)
        self.vocabulary = outputs
        self.context = context or sample_shape[0]
        self.embedding = _Embedding(outputs, width)
        self.positions = _Embedding(self.context, width) if positions == "learned" else None
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = None if tied else _Linear(width, outputs, bias=False)
        turns = None if positions == "learned" else _turns(self.context, width // heads, base)
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T) int64 tokens, or their (B, T, width) embeddings, to (B, T, V) logits of the token behind each."""
        return self._logits(x, None)

    def embed(self, x: Tensor) -> Tensor:
        """Map (B, T) int64 tokens to their (B, T, width) embeddings."""
        return self.embedding(x)

    def new_cache(self, count: int, length: int) -> Cache:
        """Room for the keys and values of ``count`` texts of ``length`` tokens."""
        width, layers, heads = self.shape
        like = self.embedding.weight
        return Cache(like.new_empty(layers, 2, count, heads, length, width // heads))

    def extend(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read on.

        Args:
            tokens: (B, t) int64, what follows on what was read into the cache.

        Returns:
            (B, V) logits of the token behind the last.
        """
        logits = self._logits(tokens, cache)[:, -1]
        cache.length += tokens.shape[1]
        return logits

    def _logits(self, tokens: Tensor, cache: Cache | None) -> Tensor:
        start = 0 if cache is None else cache.length
        end = start + tokens.shape[1]
        if end > self.context:
            raise ValueError(f"expected at most {self.context} tokens, the context of this Decoder, got {end}")
        h = tokens if tokens.is_floating_point() else self.embed(tokens)
        if self.positions is not None:
            h = h + self.positions.weight[start:end]
        turns = None if self.turns is None else self.turns[start:end]
        for number, block in enumerate(self.blocks):
            h = block(h, turns, None if cache is None else (cache.held[number], start))
        weight = self.embedding.weight if self.head is None else self.head.weight
        return functional.linear(self.norm(h), weight)


class Cache:
    """Keys and values of what was read.

    Attributes:
        held: (layers, 2, B, heads, length, width / heads).
        length: tokens read so far.
    """

    def __init__(self, held: Tensor):
        self.held = held
        self.length = 0


class _Embedding(nn.Embedding):
    """Vectors of length 1 on average, so that the same weights can be an output layer."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)


class _Linear(nn.Linear):
    """A linear layer whose outputs have the variance of its inputs."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.in_features**-0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class _Block(nn.Module):
    """Attention and a perceptron, each of which adds to what comes in."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = _Linear(width, 3 * width, bias=False)
        self.attended = _Linear(width, width, bias=False)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(_Linear(width, 4 * width), nn.GELU(), _Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, turns: Tensor | None, cache: tuple[Tensor, int] | None) -> Tensor:
        """Map (B, t, width) to the same shape.

        Args:
            turns: (t, width / heads / 2, 2) cosines and sines of the positions; None where they are learnt.
            cache: (2, B, heads, length, width / heads) and the tokens that are in it already.
        """
        h = h + self.dropout(self.attended(self._attend(self.before_attention(h), turns, cache)))
        return h + self.dropout(self.perceptron(self.before_perceptron(h)))

    def _attend(self, h: Tensor, turns: Tensor | None, cache: tuple[Tensor, int] | None) -> Tensor:
        count, length, width = h.shape
        heads = self.queries_keys_values(h).view(count, length, 3, self.heads, -1)
        # views are undone in one copy in the backward pass; a slice is undone in zeros of the whole
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        if turns is not None:
            q, k = _turned(heads[:, :, :2], turns).permute(2, 0, 3, 1, 4)
        if cache is not None:
            held, start = cache
            held[0, :, :, start : start + length], held[1, :, :, start : start + length] = k, v
            k, v = held[:, :, :, : start + length]
        # a single query sees all that was read; of several that follow on something, each sees all that is before it
        before = k.shape[2] - length
        mask = h.new_ones(length, k.shape[2], dtype=torch.bool).tril(before) if before and length > 1 else None
        mixed = functional.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None and length > 1)
        return mixed.transpose(1, 2).reshape(count, length, width)


def _turns(length: int, width: int, base: float) -> Tensor:
    """(length, width / 2, 2) cosines and sines by which pairs of numbers of a head are turned."""
    rates = base ** (-torch.arange(0, width, 2) / width)
    angles = torch.outer(torch.arange(length), rates)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """(B, t, 2, heads, width) queries and keys, turned by their positions, as complex numbers: one pass for both."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    turned = pairs * torch.view_as_complex(turns.float())[:, None, None]
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)

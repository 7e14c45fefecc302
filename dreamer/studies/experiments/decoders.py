"""Small language models of a study: how they learn and write, and how arms share what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.files import UNFINISHED
from dreamer.core.lock import locked
from dreamer.core.modes import evaluating
from dreamer.core.sampling import next_tokens
from dreamer.networks.decoder import Decoder

_LAST = 0.05
"""What is left of the learning rate at the end."""


def train_decoder(
    network: nn.Module,
    draw: Callable[[int], Tensor],
    steps: int,
    lr: float,
    warmup: int = 50,
    given: int = 1,
    watch: Callable[[int], None] | None = None,
) -> None:
    """Learn the next token at every place, by AdamW with a linear warm-up and a linear decay of its rate.

    Args:
        network: maps (B, T) tokens to (B, T, V) logits.
        draw: gives the (B, T + 1) tokens of a step.
        warmup: steps.
        given: tokens with which each text begins that are not learnt.
        watch: called after each step with the number of steps done.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    network.train()
    for step in range(steps):
        rate = min(1.0, (step + 1) / warmup) * max(_LAST, 1 - step / steps)
        for group in optimizer.param_groups:
            group["lr"] = lr * rate
        tokens = draw(step)
        optimizer.zero_grad()
        surprise(network, tokens, given).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if watch is not None:
            watch(step + 1)


def surprise(network: nn.Module, tokens: Tensor, given: int = 1) -> Tensor:
    """(B, T - given) nats by which a network is surprised at each of (B, T) tokens, but the first ``given``."""
    logits, wanted = network(tokens[:, :-1])[:, given - 1 :], tokens[:, given:]
    nats = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    return nats.view(wanted.shape)


@torch.no_grad()
def write(
    network: Decoder,
    openings: Tensor,
    length: int,
    rng: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    at_once: int = 2048,
) -> Tensor:
    """Write on, token by token.

    Args:
        openings: (B, P) tokens, P at least 1.
        length: L, how many are written.

    Returns:
        (B, P + L) tokens.
    """
    texts = []
    with evaluating(network):
        for tokens in openings.split(at_once):
            cache = network.new_cache(len(tokens), tokens.shape[1] + length)
            heat, latest = torch.full((len(tokens), 1), temperature), tokens
            for _ in range(length):
                latest = next_tokens(network.extend(latest, cache), heat, top_k, None, rng)[:, None]
                tokens = torch.cat([tokens, latest], dim=1)
            texts.append(tokens)
    return torch.cat(texts)


def packed(texts: Tensor, rows: int, length: int, rng: torch.Generator) -> Tensor:
    """(rows, length) tokens: (N, L) texts drawn with repetition, joined, and cut into blocks."""
    chosen = torch.randint(len(texts), (-(-rows * length // texts.shape[1]),), generator=rng)
    return texts[chosen].flatten()[: rows * length].view(rows, length)


def trained_once(network: nn.Module, place: Path, train: Callable[[], None]) -> None:
    """Train a network, or take the weights of whoever has trained it: cells of one seed begin with the same training.

    Args:
        place: a folder of that training; whoever comes second waits for the first.
    """
    with locked(place, patience=3600):
        weights = place / "weights.pt"
        if weights.is_file():
            network.load_state_dict(torch.load(weights, weights_only=True))
            return
        train()
        unfinished = weights.with_name(weights.name + UNFINISHED)
        torch.save(network.state_dict(), unfinished)
        unfinished.replace(weights)

"""Samples, texts and models for the tests of perturbations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dreamer.core.tokens import IGNORED
from dreamer.networks import Decoder

IMAGE = (3, 12, 10)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Something with a mode and statistics of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = nn.Flatten(), nn.Linear(3 * 12 * 10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5)
        return nn.Sequential(*layers, nn.Linear(16, 5)).to(dtype)


def texts(count: int = 32) -> tuple[Tensor, Tensor]:
    """(count, 14) tokens of a vocabulary of 20 and what follows on them: openings of two tokens, some texts shorter."""
    block = torch.randint(4, 20, (count, 15), generator=rng(5))
    block[:, 0], block[:, 1] = torch.arange(count) % 4, 3
    y = block[:, 1:].clone()
    y[:, 0] = y[1::3, 10:] = IGNORED
    return block[:, :-1], y


def writer() -> Decoder:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Decoder((14,), 20, width=8, layers=1, heads=2)

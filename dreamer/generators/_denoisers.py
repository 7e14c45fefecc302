"""Networks that predict which sample a mixture of noise and sample will be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.generators._images import halved

_WAVES = 64
_CONDITION = 128


def when_and_what(t: Tensor, p: Tensor) -> Tensor:
    """(B, 64 + K): (B,) times in [0, 1] and (B, K) label distributions, both of the same length.

    Times as cosines and sines of 1000 t at rates from 1 to 1/10000 (Ho et al. 2020, arXiv 2006.11239).
    """
    rates = 1000 * torch.exp(-math.log(10000) * torch.arange(_WAVES // 2, device=t.device) / (_WAVES // 2))
    angles = t[:, None] * rates
    return torch.cat([angles.cos(), angles.sin(), math.sqrt(_WAVES / 2) * p], dim=1)


class FlatDenoiser(nn.Module):
    """Fully connected layers for samples of any shape; time and class scale and shift their activations."""

    def __init__(self, sample_shape: Sequence[int], num_classes: int, hidden: Sequence[int]):
        super().__init__()
        self.sample_shape = tuple(sample_shape)
        size = math.prod(sample_shape)
        self.condition = nn.Sequential(nn.Linear(_WAVES + num_classes, _CONDITION), nn.SiLU())
        self.layers = nn.ModuleList(
            nn.Linear(into, out) for into, out in zip([size, *hidden[:-1]], hidden, strict=True)
        )
        self.modulation = nn.ModuleList(nn.Linear(_CONDITION, 2 * out) for out in hidden)
        self.finish = nn.Linear(hidden[-1], size)

    def forward(self, x: Tensor, t: Tensor, p: Tensor) -> Tensor:
        """Map (B, *S) samples, (B,) times in [0, 1] and (B, K) label distributions to (B, *S) clean samples."""
        condition = self.condition(when_and_what(t, p))
        h = x.flatten(1)
        for layer, modulation in zip(self.layers, self.modulation, strict=True):
            scale, shift = modulation(condition).chunk(2, dim=1)
            h = functional.silu(layer(h) * (1 + scale) + shift)
        return self.finish(h).view(-1, *self.sample_shape)


class UNet(nn.Module):
    """Convolutions from fine to coarse and back, with a shortcut at every size (Ronneberger et al. 2015), for images.

    The smallest that does: one residual block per size and way, whose channels time and class scale and shift as
    in Dhariwal and Nichol (2021, arXiv 2105.05233, section 3.1), and no attention.

    Args:
        sample_shape: (C, H, W).
        channels: of each size from fine to coarse, multiples of 4; the side halves between them.
    """

    def __init__(self, sample_shape: Sequence[int], num_classes: int, channels: Sequence[int]):
        super().__init__()
        if any(count % 4 for count in channels):
            raise ValueError(f"expected channels that are multiples of 4, got {list(channels)}")
        self.sides = halved(sample_shape, len(channels) - 1)
        self.condition = nn.Sequential(nn.Linear(_WAVES + num_classes, _CONDITION), nn.SiLU())
        self.start = nn.Conv2d(sample_shape[0], channels[0], 3, padding=1)
        self.down = nn.ModuleList(
            _Block(into, out) for into, out in zip([channels[0], *channels[:-1]], channels, strict=True)
        )
        self.up = nn.ModuleList(
            _Block(coarse + fine, fine) for fine, coarse in zip(channels[:-1], channels[1:], strict=True)
        )
        self.finish = nn.Sequential(
            nn.GroupNorm(4, channels[0]), nn.SiLU(), nn.Conv2d(channels[0], sample_shape[0], 3, padding=1)
        )

    def forward(self, x: Tensor, t: Tensor, p: Tensor) -> Tensor:
        """Map (B, C, H, W) images, (B,) times in [0, 1] and (B, K) label distributions to (B, C, H, W) clean ones."""
        condition = self.condition(when_and_what(t, p))
        x = self.start(x)
        passed: list[Tensor] = []
        for block in self.down:
            x = block(functional.avg_pool2d(x, 2, ceil_mode=True) if passed else x, condition)
            passed.append(x)
        for side, block, fine in zip(self.sides[-2::-1], reversed(self.up), passed[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, size=side), fine], dim=1), condition)
        return self.finish(x)


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, into: int, out: int):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(4, into), nn.SiLU(), nn.Conv2d(into, out, 3, padding=1))
        self.norm = nn.GroupNorm(4, out)
        self.modulation = nn.Linear(_CONDITION, 2 * out)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        h = functional.silu(self.norm(self.first(x)) * (1 + scale) + shift)
        return self.shortcut(x) + self.second(h)

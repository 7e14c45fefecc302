"""The two players of a generative adversarial network, for samples of any shape and for images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.generators._images import halved
from dreamer.generators.likelihood import relu_layers


class FlatArtist(nn.Module):
    """Makes samples of any shape with fully connected layers.

    Args:
        inputs: numbers of which a sample is made.
    """

    def __init__(self, inputs: int, sample_shape: Sequence[int], hidden: Sequence[int]):
        super().__init__()
        self.sample_shape = tuple(sample_shape)
        self.layers = relu_layers([inputs, *hidden, math.prod(sample_shape)])

    def forward(self, code: Tensor) -> Tensor:
        """Map (B, inputs) to (B, *S)."""
        return self.layers(code).view(-1, *self.sample_shape)


class ImageArtist(nn.Module):
    """Makes images from coarse to fine: a linear layer, then blocks of upsampling, 3x3 convolution and ReLU.

    Upsampling to the nearest neighbour before a convolution leaves no checkerboard as transposed convolutions do
    (Odena et al. 2016, "Deconvolution and checkerboard artifacts"), and reaches sides of any length. At every place the
    channels are divided by their root mean square (Karras et al. 2018, arXiv 1710.10196, section 4.2), which keeps the
    game with the critic from escalating and has no memory of batches.

    Args:
        inputs: numbers of which an image is made.
        sample_shape: (C, H, W).
        channels: of each block from fine to coarse; each doubles the side.
    """

    def __init__(self, inputs: int, sample_shape: Sequence[int], channels: Sequence[int]):
        super().__init__()
        *self.sides, coarsest = halved(sample_shape, len(channels))
        self.coarsest = (channels[-1], *coarsest)
        self.start = nn.Linear(inputs, math.prod(self.coarsest))
        self.blocks = nn.ModuleList(
            nn.Conv2d(into, out, 3, padding=1)
            for into, out in zip([*channels[1:], channels[-1]], channels, strict=True)
        )
        self.finish = nn.Conv2d(channels[0], sample_shape[0], 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """Map (B, inputs) to (B, C, H, W)."""
        x = functional.relu(self.start(code)).view(-1, *self.coarsest)
        for side, block in zip(reversed(self.sides), reversed(self.blocks), strict=True):
            x = block(functional.interpolate(x, size=side))
            x = functional.relu(x * (x.square().mean(dim=1, keepdim=True) + 1e-4).rsqrt())
        return self.finish(x)


class Critic(nn.Module):
    """Scores samples by how real they look as ones of their class (Miyato and Koyama 2018, arXiv 1802.05637, eq. 3).

    Args:
        trunk: maps (B, *S) to (B, H).
    """

    def __init__(self, trunk: nn.Module, features: int, num_classes: int):
        super().__init__()
        self.trunk = trunk
        self.score = nn.Linear(features, 1)
        self.classes = nn.Linear(num_classes, features, bias=False)

    def forward(self, x: Tensor, p: Tensor) -> Tensor:
        """Map (B, *S) samples and (B, K) label distributions to (B,) scores."""
        h = self.trunk(x)
        return self.score(h).squeeze(1) + (self.classes(p) * h).sum(dim=1)


def flat_critic(sample_shape: Sequence[int], num_classes: int, hidden: Sequence[int]) -> Critic:
    """A critic with fully connected layers of the given widths."""
    layers: list[nn.Module] = [nn.Flatten()]
    for into, out in zip([math.prod(sample_shape), *hidden[:-1]], hidden, strict=True):
        layers += [nn.Linear(into, out), nn.LeakyReLU(0.2)]
    return Critic(nn.Sequential(*layers), hidden[-1], num_classes)


def image_critic(sample_shape: Sequence[int], num_classes: int, channels: Sequence[int], width: int) -> Critic:
    """A critic with convolutions of the given channels, each of which halves the side, and a fully connected layer.

    Scores straight from the convolutions, of as many features as they leave, would move too far in one step.
    """
    layers: list[nn.Module] = []
    for into, out in zip([sample_shape[0], *channels[:-1]], channels, strict=True):
        layers += [nn.Conv2d(into, out, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
    coarsest = channels[-1] * math.prod(halved(sample_shape, len(channels))[-1])
    layers += [nn.Flatten(), nn.Linear(coarsest, width), nn.LeakyReLU(0.2)]
    return Critic(nn.Sequential(*layers), width, num_classes)


def louden(artist: nn.Module, factor: float) -> None:
    """Draw an artist's first weights anew, ``factor`` times those of He et al. (2015, arXiv 1502.01852); biases are 0.

    torch's own first weights are smaller: what an artist makes of different noise would be all but the same.
    """
    for layer in artist.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            with torch.no_grad():
                layer.weight.mul_(factor)

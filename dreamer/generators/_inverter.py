"""Small networks that map noise and a class to a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

Shape = Literal["mlp", "conv"]


def inverter(
    shape: Shape, inputs: int, sample_shape: Sequence[int], width: int, unit: bool, seed: int
) -> nn.Sequential:
    """A new network; torch's global generator is left as it was.

    Args:
        shape: ``mlp``: two hidden layers; ``conv``: a linear layer and two doublings of the image (Fang et al. 2019,
            arXiv 1912.11006, as in Always Be Dreaming, ``models/generator.py``). Both with batch normalisation, which
            keeps the samples of a batch apart, and leaky ReLUs.
        width: of the hidden layers; channels of the first image.
        unit: whether samples end in [0, 1].

    Raises:
        ValueError: when ``conv`` is to make samples that are no images with sides that can be halved twice.
    """
    if shape == "conv" and (len(sample_shape) != 3 or any(side % 4 for side in sample_shape[1:])):
        raise ValueError(
            "expected images of shape (C, H, W) with sides divisible by 4 for network='conv', "
            f"got samples of shape {tuple(sample_shape)}: use network='mlp'"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = _mlp(inputs, sample_shape, width) if shape == "mlp" else _conv(inputs, sample_shape, width)
    return nn.Sequential(*layers, *([nn.Sigmoid()] if unit else []))


def _mlp(inputs: int, sample_shape: Sequence[int], width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for into in (inputs, width):
        layers += [nn.Linear(into, width), nn.BatchNorm1d(width), nn.LeakyReLU(0.2)]
    return [*layers, nn.Linear(width, math.prod(sample_shape)), nn.Unflatten(1, tuple(sample_shape))]


def _conv(inputs: int, sample_shape: Sequence[int], width: int) -> list[nn.Module]:
    channels, height, breadth = sample_shape[0], sample_shape[1] // 4, sample_shape[2] // 4
    thin = max(width // 2, 1)
    layers: list[nn.Module] = [
        nn.Linear(inputs, width * height * breadth),
        nn.Unflatten(1, (width, height, breadth)),
        nn.BatchNorm2d(width),
    ]
    for into, out in ((width, width), (width, thin)):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out)]
        layers += [nn.LeakyReLU(0.2)]
    return [*layers, nn.Conv2d(thin, channels, 3, padding=1)]

"""Means and variances of what passes through a network's layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Moments(NamedTuple):
    """What passed through all layers that are watched, one behind the other.

    Attributes:
        mean: (U,) mean of each channel.
        variance: (U,) biased variance of each channel.
    """

    mean: Tensor
    variance: Tensor


class Activations:
    """Watches a network: the inputs of its batch normalisations or, without any, all linear and convolutional outputs.

    A layer that runs several times in one pass counts with its last output, one that never does as standard normal.

    Args:
        network: it gets hooks, so hand in a copy.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.layers = watched(network)
        self._passed: dict[nn.Module, Tensor] = {}
        for layer in self.layers:
            layer.register_forward_hook(self._note)

    def __call__(self, x: Tensor) -> tuple[Tensor, Moments]:
        """Call the network.

        Args:
            x: (B, *S) samples.

        Returns:
            (B, K) logits, and the moments of the channels over batch and places, differentiable.
        """
        self._passed.clear()
        logits = self.network(x)
        means, variances = [], []
        for layer, width in zip(self.layers, widths(self.layers), strict=True):
            rows = self._passed.get(layer)
            means.append(x.new_zeros(width) if rows is None else rows.mean(dim=0))
            variances.append(x.new_ones(width) if rows is None else rows.var(dim=0, unbiased=False))
        self._passed.clear()
        return logits, Moments(torch.cat(means), torch.cat(variances))

    def running(self) -> Moments:
        """The running statistics that the batch normalisations keep of the real data."""
        means: list[Any] = [layer.running_mean for layer in self.layers]
        variances: list[Any] = [layer.running_var for layer in self.layers]
        return Moments(torch.cat(means), torch.cat(variances))

    @torch.no_grad()
    def over(self, batches: Iterable[Tensor]) -> Moments:
        """Moments over (B, *S) batches of samples together."""
        parts = [(len(x), self(x)[1]) for x in batches]
        return pooled([part for _, part in parts], torch.tensor([float(count) for count, _ in parts]))

    def divergence(self, dreamt: Moments, real: Moments) -> Tensor:
        """Kullback-Leibler divergence of the dreamt channels from those of real samples, both as Gaussians.

        Returns:
            Scalar, the mean over channels, then over layers.
        """
        left, right = dreamt.variance + 1e-8, real.variance + 1e-8
        each = 0.5 * (left.log() - right.log() + (right + (real.mean - dreamt.mean).square()) / left - 1)
        return torch.stack([part.mean() for part in each.split(widths(self.layers))]).mean()

    def _note(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen = inputs[0] if isinstance(layer, _NORMS) else output
        channels_last = seen if isinstance(layer, nn.Linear) else seen.movedim(1, -1)
        self._passed[layer] = channels_last.flatten(0, -2)


def watched(network: nn.Module) -> list[nn.Module]:
    """The layers that :class:`Activations` watches."""
    norms: list[nn.Module] = [
        layer for layer in network.modules() if isinstance(layer, _NORMS) and layer.running_mean is not None
    ]
    return norms or [layer for layer in network.modules() if isinstance(layer, (nn.Linear, *_CONVOLUTIONS))]


def has_running_moments(layers: Iterable[nn.Module]) -> bool:
    """True for layers that keep running moments of what passed through them, so that nobody has to measure it."""
    return any(isinstance(layer, _NORMS) for layer in layers)


def widths(layers: Iterable[Any]) -> list[int]:
    """Channels of each layer; U is their sum."""
    names = ("num_features", "out_features", "out_channels")
    return [next(getattr(layer, name) for name in names if hasattr(layer, name)) for layer in layers]


def pooled(parts: list[Moments], weight: Tensor) -> Moments:
    """Moments of a mixture.

    Args:
        parts: n moments.
        weight: (n,) non-negative, with a sum above 0.
    """
    means = torch.stack([part.mean for part in parts])
    variances = torch.stack([part.variance for part in parts])
    fraction = (weight / weight.sum()).to(means)[:, None]
    mean = (fraction * means).sum(dim=0)
    return Moments(mean, (fraction * (variances + (means - mean).square())).sum(dim=0))

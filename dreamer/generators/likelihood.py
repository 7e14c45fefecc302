"""What variational autoencoders have in common: layers, the two terms of the evidence bound, and a draw of codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.networks.base import at_least_float32

Likelihood = Literal["bernoulli", "gaussian"]


def relu_layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given widths with ReLUs between them, none behind the last."""
    layers: list[nn.Module] = []
    for into, out in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def misfit(output: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """(B,) negative log-likelihoods, summed over the elements of a sample and without constants.

    Args:
        output: (B, N) of the decoder: logits (``bernoulli``) or means (``gaussian``, of variance 1).
        x: (B, N) samples; in [0, 1] for ``bernoulli``.
    """
    output = at_least_float32(output)
    if likelihood == "bernoulli":
        return functional.binary_cross_entropy_with_logits(output, x, reduction="none").sum(dim=1)
    return 0.5 * functional.mse_loss(output, x, reduction="none").sum(dim=1)


def pixels(output: Tensor, likelihood: Likelihood) -> Tensor:
    """The decoder's mean: in [0, 1] for ``bernoulli``."""
    return torch.sigmoid(output) if likelihood == "bernoulli" else output


def bounds(likelihood: Likelihood) -> tuple[float, float] | None:
    """Least and largest value that it has a likelihood for; None for any."""
    return (0.0, 1.0) if likelihood == "bernoulli" else None


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B,) divergences (Kullback-Leibler) of (B, D) diagonal Gaussians from the standard one."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)


def gaussians(output: Tensor) -> tuple[Tensor, Tensor]:
    """Means and logarithms of variances, (B, D) each, out of the (B, 2 D) output of an encoder.

    Half precision, in which an encoder may run, is too coarse for divergences.
    """
    mean, log_variance = at_least_float32(output).chunk(2, dim=1)
    return mean, log_variance


def draw(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    """(B, D) codes from diagonal Gaussians, differentiable in their parameters."""
    noise = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
    return mean + torch.exp(0.5 * log_variance) * noise

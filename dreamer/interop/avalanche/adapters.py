"""Our networks and generators in the shapes that Avalanche's strategies want."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dreamer.generators import VAE
from dreamer.generators.likelihood import divergence, misfit, pixels
from dreamer.networks.base import featured


class Features(nn.Module):
    """The half of a network that maps (B, *S) samples to (B, H) features."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = featured(network)

    def forward(self, x: Tensor) -> Tensor:
        return self.network.features(x)


class Classifier(nn.Module):
    """The half of a network that maps (B, H) features to (B, K) logits."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = featured(network)

    def forward(self, h: Tensor) -> Tensor:
        return self.network.classify(h)


class AvalancheVAE(nn.Module):
    """Our VAE behind the interface of Avalanche's generators."""

    def __init__(self, vae: VAE):
        super().__init__()
        self.encoder, self.decoder = vae.encoder, vae.decoder
        self.latent_dim, self.likelihood, self.sample_shape = vae.latent_dim, vae.likelihood, vae.sample_shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (B, *S) samples to the decoder's (B, N) output, and (B, D) means and log-variances of the codes."""
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, dim=1)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(code), mean, log_variance

    @torch.no_grad()
    def generate(self, batch_size: int | None = None, condition: Any = None) -> Tensor:
        """(B, *S) dreams, or one of shape *S without ``batch_size``."""
        weight = next(self.decoder.parameters())
        code = torch.randn(batch_size or 1, self.latent_dim, device=weight.device)
        dreams = pixels(self.decoder(code), self.likelihood).view(-1, *self.sample_shape)
        return dreams if batch_size else dreams[0]

    def bound(self, x: Tensor, outputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The negative evidence bound per element, as :class:`dreamer.generators.VAE` has it."""
        output, mean, log_variance = outputs
        flat = x.flatten(1)
        return (misfit(output, flat, self.likelihood).sum() + divergence(mean, log_variance).sum()) / flat.numel()

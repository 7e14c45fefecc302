"""Gaussian mixtures, fitted by expectation-maximisation."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dreamer.core.types import Perturbations


class Mixture(NamedTuple):
    """A Gaussian mixture.

    Attributes:
        weight: (M,) weights of the components, summing to 1.
        mean: (M, D).
        factor: (M, D, D) lower Cholesky factors of the covariances.
    """

    weight: Tensor
    mean: Tensor
    factor: Tensor


class MixtureBank(nn.Module):
    """Room for R mixtures of at most M components over D dimensions, padded to one shape.

    Args:
        rows: R.
        components: M.
        latent_dim: D.
    """

    weight: Tensor
    mean: Tensor
    factor: Tensor

    def __init__(self, rows: int, components: int, latent_dim: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(rows, components))
        self.register_buffer("mean", torch.zeros(rows, components, latent_dim))
        self.register_buffer("factor", torch.zeros(rows, components, latent_dim, latent_dim))

    def put(self, row: int, mixture: Mixture) -> None:
        """Keep a fitted mixture in a row."""
        used = len(mixture.weight)
        self.weight[row, :used] = mixture.weight
        self.mean[row, :used] = mixture.mean
        self.factor[row, :used] = mixture.factor

    def sample(
        self, row: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Draw (B, D) float32 codes and perturb them: the cost depends on how many are drawn, not on from where.

        Args:
            row: (B,) int64, the mixture of each code, in [0, R).
            p: (B, K) label distributions of the codes.
            rng: generator on the device of ``row``.
            temperature: scales the deviation from a component's mean.
        """
        component = torch.multinomial(self.weight.float()[row], 1, generator=rng).flatten()
        mean, factor = self.mean[row, component].float(), self.factor[row, component].float()
        noise = torch.randn(mean.shape, generator=rng, device=mean.device)
        if perturbations.noise is not None:
            noise, p = perturbations.noise(noise, p, rng)
        z = mean + temperature * torch.bmm(factor, noise[:, :, None]).squeeze(2)
        return (z, p) if perturbations.latent is None else perturbations.latent(z, p, rng)


def fit_mixture(
    z: Tensor, components: int, rng: torch.Generator, iterations: int = 20, diagonal: bool = False
) -> Mixture:
    """Fit a mixture to codes.

    Expectation-maximisation (Dempster et al. 1977) from the seeds of k-means++ (Arthur and Vassilvitskii 2007).
    Covariances shrink towards their diagonal as if D / 10 codes without correlations had been there too, which keeps
    components of few codes well-conditioned.

    Args:
        z: (N, D) codes, N at least 1.
        components: M; fewer are used when there are fewer than 2 codes for each.
    """
    count, dims = z.shape
    components = max(1, min(components, count // 2))
    eye = torch.eye(dims, device=z.device, dtype=z.dtype)
    spread = z.var(dim=0, unbiased=False).mean().clamp_min(1e-6)
    mean = _seeds(z, components, rng)
    factor = (spread.sqrt() * eye).expand(components, dims, dims)
    weight = z.new_full((components,), 1 / components)
    for _ in range(iterations):
        responsibility = torch.softmax(_log_density(z, mean, factor) + weight.log(), dim=1)
        mass = responsibility.sum(dim=0).clamp_min(1e-6)
        weight = mass / mass.sum()
        mean = (responsibility.T @ z) / mass[:, None]
        covariance = torch.stack([_scatter(z, mean[m], responsibility[:, m]) / mass[m] for m in range(components)])
        trust = torch.zeros_like(mass) if diagonal else mass / (mass + dims / 10)
        covariance = torch.lerp(torch.diag_embed(covariance.diagonal(dim1=1, dim2=2)), covariance, trust[:, None, None])
        factor = torch.linalg.cholesky(covariance + 1e-3 * spread * eye)
    return Mixture(weight, mean, factor)


def _scatter(z: Tensor, mean: Tensor, responsibility: Tensor) -> Tensor:
    centred = z - mean
    return (centred * responsibility[:, None]).T @ centred


def _log_density(z: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """(N, M) log densities of (N, D) codes under every component."""
    columns = []
    for centre, lower in zip(mean, factor, strict=True):
        white = torch.linalg.solve_triangular(lower, (z - centre).T, upper=False)
        columns.append(-0.5 * white.square().sum(dim=0) - lower.diagonal().log().sum())
    return torch.stack(columns, dim=1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


def _seeds(z: Tensor, components: int, rng: torch.Generator) -> Tensor:
    """(M, D) codes far apart: each is drawn with a chance proportional to its squared distance to the others."""
    chosen = [z[torch.randint(len(z), (1,), generator=rng, device=z.device)]]
    nearest = (z - chosen[0]).square().sum(dim=1)
    for _ in range(components - 1):
        pick = torch.multinomial(nearest.clamp_min(1e-12), 1, generator=rng)
        chosen.append(z[pick])
        nearest = torch.minimum(nearest, (z - chosen[-1]).square().sum(dim=1))
    return torch.cat(chosen)

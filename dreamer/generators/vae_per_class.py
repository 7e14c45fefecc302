"""A small variational autoencoder for every class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators.base import Generator, GeneratorSnapshot
from dreamer.generators.likelihood import Likelihood, bounds, divergence, draw, misfit, pixels


class VAEPerClass(Generator):
    """K small autoencoders that share nothing: each learns from the samples of its class alone.

    The generative classifier of van de Ven, Li and Tolias (2021, arXiv 2104.10093), which compares classes by
    :meth:`log_likelihood`; the prior of the codes is the standard normal (Kingma and Welling 2013, arXiv 1312.6114), so
    it dreams without a fitted density. The autoencoders of a batch's classes run in one pass. A dusk keeps those of
    the new classes, encoders too: likelihoods need them. The kept ones stay as they are, while an optimiser's
    momentum still moves the ones that learnt. Bytes count both. A class that comes back goes on learning where it was,
    and is from then on as likely as the mean over the dusks that kept it.

    Args:
        latent_dim: D; 5 as in the official code for MNIST (continual-learning, params/param_values.py).
        hidden: widths of an encoder's hidden layers; a decoder has them in reverse. Two of 85, as there.
        likelihood: of the decoder while it learns: ``bernoulli`` for values in [0, 1] (cross-entropy), ``gaussian`` of
            variance 1 for any others (squared error).
        observation: of the decoder when classes are compared. The official code learns with ``bernoulli`` and compares
            with ``gaussian`` (models/vae.py, estimate_lls).

    Raises:
        ValueError: for fewer than one latent dimension, or an observation that the decoder's outputs do not fit.
    """

    spaces = frozenset({"latent", "noise"})

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        latent_dim: int = 5,
        hidden: Sequence[int] = (85, 85),
        likelihood: Likelihood = "bernoulli",
        observation: Likelihood = "gaussian",
    ):
        super().__init__(sample_shape, num_classes)
        if latent_dim < 1:
            raise ValueError(f"expected at least 1 latent dimension, got {latent_dim}")
        if likelihood == "gaussian" and observation == "bernoulli":
            raise ValueError("expected observation='gaussian' from decoders of likelihood='gaussian', got 'bernoulli'")
        self.likelihood: Likelihood = likelihood
        self.bounds = bounds(likelihood)
        self.observation: Likelihood = observation
        size = math.prod(self.sample_shape)
        self.widths = ([size, *hidden, 2 * latent_dim], [latent_dim, *reversed(hidden), size])
        self.encoders, self.decoders = (_Stack(num_classes, widths) for widths in self.widths)
        self.encoders.reset_parameters()
        self.decoders.reset_parameters()

    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor:
        flat = seen.x.flatten(1)
        mean, log_variance = _gaussians(self.encoders.each(flat, seen.groups))
        output = self.decoders.each(draw(mean, log_variance, rng), seen.groups)
        bound = misfit(output, flat, self.likelihood).sum() + divergence(mean, log_variance).sum()
        return bound / flat.numel()

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Kept(self, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        assert isinstance(snapshot, _Kept)
        snapshot.encoders.copy_from(self.encoders, snapshot.classes)
        snapshot.decoders.copy_from(self.decoders, snapshot.classes)

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """Estimate log p(x | class), without the constant of the observation, as the dusks left the autoencoders.

        Importance sampling from the encoder, ``log 1/S sum_s p(x | z_s) p(z_s) / q(z_s | x)``, as the official
        estimate_lls. Every sample has noise of its own for every class: shared noise is luck that all share, and moved
        the accuracy on MNIST by a point from seed to seed.

        Args:
            x: (B, *S) samples.
            samples: S, at least 1.
            rng: generator on the device of ``x``.

        Returns:
            (B, K); ``-inf`` for classes that no dusk has kept.
        """
        flat = x.flatten(1)
        total = flat.new_full((len(flat), self.num_classes), -torch.inf)
        times = torch.zeros(self.num_classes, device=x.device)
        for kept in self.snapshots:
            assert isinstance(kept, _Kept)
            total[:, kept.classes] = torch.logaddexp(total[:, kept.classes], kept.log_likelihood(flat, samples, rng))
            times[kept.classes] += 1
        return total - times.clamp_min(1).log()


class _Kept(GeneratorSnapshot):
    """The frozen autoencoders of some classes."""

    def __init__(self, vae: VAEPerClass, classes: Tensor):
        super().__init__(classes)
        self.encoders, self.decoders = (_Stack(len(classes), widths) for widths in vae.widths)
        self.likelihood = vae.likelihood
        self.observation = vae.observation
        self.sample_shape = vae.sample_shape

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        z = torch.randn(len(y), self.decoders.inputs, generator=rng, device=y.device)
        for perturbation in (perturbations.noise, perturbations.latent):
            z, p = (z, p) if perturbation is None else perturbation(z, p, rng)
        # codes of two classes have no space in common: a mixed one is decoded by both, and the dreams are mixed
        weight = p[:, self.classes]
        which, row = weight.nonzero(as_tuple=True)
        made = pixels(self.decoders.each(z[which], row), self.likelihood) * weight[which, row][:, None]
        x = made.new_zeros(len(y), made.shape[1]).index_add_(0, which, made)
        return x.view(-1, *self.sample_shape), p

    def log_likelihood(self, flat: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """(B, C) log-likelihoods of (B, N) samples; one pass per importance sample."""
        every = flat.expand(len(self.classes), *flat.shape)
        mean, log_variance = _gaussians(self.encoders(every))
        every, terms = every.flatten(0, 1), []
        for _ in range(samples):
            noise = torch.randn(mean.shape, generator=rng, device=mean.device)
            z = mean + torch.exp(0.5 * log_variance) * noise
            # log p(z) - log q(z | x)
            prior = 0.5 * (noise.square() + log_variance - z.square()).sum(dim=2)
            terms.append(prior - self._misfit(self.decoders(z).flatten(0, 1), every).view_as(prior))
        return torch.logsumexp(torch.stack(terms), dim=0).T - math.log(samples)

    def _misfit(self, output: Tensor, x: Tensor) -> Tensor:
        if self.observation == "bernoulli":
            return misfit(output, x, "bernoulli")
        return misfit(pixels(output, self.likelihood), x, "gaussian")


class _Stack(nn.Module):
    """C fully connected ReLU networks of the same widths that share nothing and run at once.

    Args:
        count: C.
        widths: of the input, the hidden layers, the output.
    """

    def __init__(self, count: int, widths: Sequence[int]):
        super().__init__()
        self.inputs = widths[0]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for into, out in zip(widths[:-1], widths[1:], strict=True):
            self.weights.append(torch.zeros(count, into, out))
            self.biases.append(torch.zeros(count, 1, out))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights, as ``nn.Linear`` does."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = 1 / math.sqrt(weight.shape[1])
            weight.uniform_(-bound, bound)
            bias.uniform_(-bound, bound)

    def forward(self, x: Tensor, which: Tensor | None = None) -> Tensor:
        """Map (C, M, inputs) to (C, M, outputs): M samples for each network, or for each of ``which``."""
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if which is not None:
                weight, bias = weight[which], bias[which]
            x = torch.baddbmm(bias, x, weight)
            x = x if number == last else functional.relu(x)
        return x

    def each(self, x: Tensor, which: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs), every sample with its own network of (B,) int64 ``which``, in one pass."""
        present, row = which.unique(return_inverse=True)
        counts = row.bincount()
        order = row.argsort(stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row[order]]
        # networks with fewer samples than the busiest are filled up with zeros
        packed = x.new_zeros(len(present), int(counts.max()), x.shape[1]).index_put((row, place), x)
        return self(packed, present)[row, place]

    def copy_from(self, other: _Stack, which: Tensor) -> None:
        """Take over the networks ``which`` of another stack."""
        for own, theirs in zip(self.parameters(), other.parameters(), strict=True):
            own.copy_(theirs[which])


def _gaussians(output: Tensor) -> tuple[Tensor, Tensor]:
    """Means and logarithms of variances; the latter bounded, as what a class was not made for may be anything."""
    mean, log_variance = output.chunk(2, dim=-1)
    return mean, log_variance.clamp(-8, 4)

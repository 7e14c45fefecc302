"""An unconditional variational autoencoder: the generator of deep generative replay."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators._precision import in_float32
from dreamer.generators.base import Continual, Generator, GeneratorSnapshot, Store
from dreamer.generators.likelihood import Likelihood, bounds, divergence, draw, gaussians, misfit, pixels, relu_layers


class VAE(Generator):
    """Learns samples without labels and dreams without choosing a class; a teacher names what it dreamt.

    Kingma and Welling (2013, arXiv 1312.6114), as deep generative replay uses it (Shin et al. 2017, arXiv 1705.08690;
    van de Ven and Tolias 2018, arXiv 1809.10635): the encoder is as deep and wide as the learner, the decoder mirrors
    it, and codes are drawn from the standard normal prior. By default it rehearses its own dreams.

    Args:
        latent_dim: D; 100 as in van de Ven and Tolias.
        hidden: widths of the encoder's hidden layers, theirs for Split MNIST; the decoder has them in reverse.
        likelihood: ``bernoulli`` for values in [0, 1] (cross-entropy), ``gaussian`` for any others (squared error).

    Raises:
        ValueError: for fewer than one latent dimension.

    >>> generator, rng = VAE((3,), 2, latent_dim=4, hidden=(8,)), torch.Generator().manual_seed(0)
    >>> generator.end_experience([Batch(torch.rand(20, 3), torch.arange(20) % 2)], 0, rng)
    >>> generator.dream(torch.tensor([0, 1, 1]), rng).y  # nobody knows
    tensor([-1, -1, -1])
    """

    spaces = frozenset({"latent", "noise"})
    conditional = False

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        latent_dim: int = 100,
        hidden: Sequence[int] = (400, 400),
        likelihood: Likelihood = "bernoulli",
        store: Store = "float32",
        continual: Continual = "rehearse",
    ):
        super().__init__(sample_shape, num_classes, continual, store)
        for width in hidden:
            at_least(1, hidden=width)
        at_least(1, latent_dim=latent_dim)
        self.latent_dim = latent_dim
        self.likelihood: Likelihood = likelihood
        self.bounds = bounds(likelihood)
        size = math.prod(self.sample_shape)
        self.encoder = relu_layers([size, *hidden, 2 * latent_dim])
        self.decoder = relu_layers([latent_dim, *reversed(hidden), size])

    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor:
        flat = seen.x.flatten(1)
        mean, log_variance = gaussians(self.encoder(flat))
        output = self.decoder(draw(mean, log_variance, rng))
        bound = misfit(output, flat, self.likelihood).sum() + divergence(mean, log_variance).sum()
        return bound / flat.numel()

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Decoder(self, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        return None  # the prior stays the standard normal one, and a blank snapshot has the decoder


class _Decoder(GeneratorSnapshot):
    def __init__(self, vae: VAE, classes: Tensor):
        super().__init__(classes)
        self.decoder = copy.deepcopy(vae.decoder)
        self.latent_dim = vae.latent_dim
        self.likelihood = vae.likelihood
        self.sample_shape = vae.sample_shape

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        z = torch.randn(len(y), self.latent_dim, generator=rng, device=y.device)
        for perturbation in (perturbations.noise, perturbations.latent):
            z, p = (z, p) if perturbation is None else perturbation(z, p, rng)
        return pixels(in_float32(self.decoder, z), self.likelihood).view(-1, *self.sample_shape), p

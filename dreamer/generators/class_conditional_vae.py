"""A class-conditional variational autoencoder with a mixture of latents for every class."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators._gaussian_mixture import MixtureBank, fit_mixture
from dreamer.generators._precision import in_float32
from dreamer.generators.base import Distilled, Generator, GeneratorSnapshot, Store
from dreamer.generators.likelihood import Likelihood, bounds, divergence, draw, gaussians, misfit, pixels, relu_layers

_UNPERTURBED = Perturbations()


class ClassConditionalVAE(Generator):
    """Encoder and decoder know the class; dreams are drawn from a Gaussian mixture fitted to each class's codes.

    The autoencoder is Kingma and Welling's (2013, arXiv 1312.6114), conditional as in Sohn et al. (2015). The prior
    is replaced after training by a density fitted to the codes (ex-post density estimation, Ghosh et al. 2020, arXiv
    1903.12436, who use ten full-covariance components), one mixture per class as in brain-inspired replay (van de
    Ven et al. 2020), which learns it by gradient descent instead. A dusk keeps the decoder and the mixtures. With
    ``continual="distil"`` the decoder learns to map codes of the old mixtures as its frozen copy does, and those
    mixtures stay as they are.

    Args:
        latent_dim: D.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        likelihood: ``bernoulli`` for values in [0, 1] (cross-entropy), ``gaussian`` for any others (squared error).
        beta: weight of the Kullback-Leibler term; below 1 codes are less blurred, and the mixtures mend the prior.
        components: Gaussians per class.
        covariance: ``full`` or ``diagonal`` Gaussians.
        temperature: scale of the deviation from a Gaussian's mean when dreaming; 1 as it was fitted.

    Raises:
        ValueError: for a negative ``beta``, or fewer than one latent dimension or component.

    >>> generator, rng = ClassConditionalVAE((3,), 2, latent_dim=4, hidden=(8,)), torch.Generator().manual_seed(0)
    >>> generator.end_experience([Batch(torch.rand(20, 3), torch.arange(20) % 2)], 0, rng)
    >>> dream = generator.dream(torch.tensor([0, 1, 1]), rng)
    >>> dream.x.shape, dream.y
    (torch.Size([3, 3]), tensor([0, 1, 1]))
    """

    spaces = frozenset({"latent", "noise"})

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        latent_dim: int = 32,
        hidden: Sequence[int] = (400,),
        likelihood: Likelihood = "bernoulli",
        beta: float = 1.0,
        components: int = 10,
        covariance: Literal["full", "diagonal"] = "full",
        temperature: float = 1.0,
        store: Store = "float16",
        continual: Distilled = "grow",
    ):
        super().__init__(sample_shape, num_classes, continual, store)
        for width in hidden:
            at_least(1, hidden=width)
        at_least(1, latent_dim=latent_dim, components=components)
        at_least(0, beta=beta, temperature=temperature)
        self.latent_dim = latent_dim
        self.likelihood: Likelihood = likelihood
        self.bounds = bounds(likelihood)
        self.beta = beta
        self.components = components
        self.covariance = covariance
        self.temperature = temperature
        size = math.prod(self.sample_shape)
        self.encoder = relu_layers([size + num_classes, *hidden, 2 * latent_dim])
        self.decoder = relu_layers([latent_dim + num_classes, *reversed(hidden), size])

    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor:
        flat, label = seen.x.flatten(1), functional.one_hot(seen.groups, self.num_classes).to(seen.x.dtype)
        mean, log_variance = self._encode(flat, label)
        output = self.decoder(torch.cat([draw(mean, log_variance, rng), label], dim=1))
        bound = misfit(output, flat, self.likelihood).sum() + self.beta * divergence(mean, log_variance).sum()
        return bound / flat.numel()

    def agreement(self, snapshot: GeneratorSnapshot, y: Tensor, rng: torch.Generator) -> Tensor:
        assert isinstance(snapshot, _Decoder)
        with torch.no_grad():
            label = functional.one_hot(y, self.num_classes).to(torch.float32)
            codes = snapshot.codes(y, label, rng, _UNPERTURBED)[0]
            seen = pixels(in_float32(snapshot.decoder, torch.cat([codes, label], dim=1)), self.likelihood)
        output = self.decoder(torch.cat([codes, label], dim=1))
        return misfit(output, seen, self.likelihood).sum() / seen.numel()

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Decoder(self, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        assert isinstance(snapshot, _Decoder)
        codes, labels = [], []
        for batch in day:
            x, y = batch.x, batch.groups
            mean, log_variance = self._encode(x.flatten(1), functional.one_hot(y, self.num_classes).to(x.dtype))
            # mixtures fitted to the means alone would dream too sharply: the decoder learnt from noisy codes
            codes.append(draw(mean, log_variance, rng).float())
            labels.append(y)
        z, y = torch.cat(codes), torch.cat(labels)
        diagonal = self.covariance == "diagonal"
        for row, label in enumerate(snapshot.classes):
            own = z[y == label]
            if len(own):
                snapshot.bank.put(row, fit_mixture(own, self.components, rng, diagonal=diagonal))
        if self.continual == "distil":
            for old in self._snapshots():
                assert isinstance(old, _Decoder)
                snapshot.remember(old, y)

    def _encode(self, flat: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = gaussians(self.encoder(torch.cat([flat, label], dim=1)))
        return mean, log_variance.clamp(-8, 4)


class _Decoder(GeneratorSnapshot):
    """A frozen decoder, and a mixture for each of its classes."""

    def __init__(self, vae: ClassConditionalVAE, classes: Tensor):
        super().__init__(classes)
        self.decoder = copy.deepcopy(vae.decoder)
        self.bank = MixtureBank(len(classes), vae.components, vae.latent_dim)
        self.temperature = vae.temperature
        self.likelihood = vae.likelihood
        self.sample_shape = vae.sample_shape

    def remember(self, old: _Decoder, day: Tensor) -> None:
        """Take the mixtures of the classes of ``old`` that are none of the (N,) labels of the day."""
        kept = ~torch.isin(old.classes, day)
        rows = torch.searchsorted(self.classes, old.classes[kept])
        for mine, theirs in zip(self.bank.buffers(), old.bank.buffers(), strict=True):
            mine[rows] = theirs[kept].to(mine.dtype)

    def codes(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        """(B, D) codes of the classes, and (B, K) distributions, mixed where codes were."""
        return self.bank.sample(torch.searchsorted(self.classes, y), p, rng, perturbations, self.temperature)

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        z, p = self.codes(y, p, rng, perturbations)
        output = in_float32(self.decoder, torch.cat([z, p], dim=1))
        return pixels(output, self.likelihood).view(-1, *self.sample_shape), p

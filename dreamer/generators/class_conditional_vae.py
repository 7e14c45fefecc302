"""A class-conditional variational autoencoder with a mixture of latents for every class."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.generators._gaussian_mixture import Mixture, fit_mixture, sample_mixtures
from dreamer.generators.base import Generator
from dreamer.networks.base import module_bytes
from dreamer.types import Batch, Bend, Dream


class ClassConditionalVAE(Generator):
    """Encoder and decoder know the class; dreams are drawn from a Gaussian mixture fitted to each class's codes.

    The autoencoder is Kingma and Welling's (2013, arXiv 1312.6114), conditional as in Sohn et al. (2015). The prior
    is replaced after training by a density fitted to the codes (ex-post density estimation, Ghosh et al. 2020, arXiv
    1903.12436, who use ten full-covariance components), one mixture per class as in brain-inspired replay (van de
    Ven et al. 2020), which learns it by gradient descent instead.

    It grows: every dusk keeps a frozen copy of the decoder and the mixtures of the day's classes, so nothing that
    was learnt is ever learnt again from dreams. The price is counted in :attr:`nbytes`.

    Args:
        sample_shape: *S.
        num_classes: K.
        latent_dim: D.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        likelihood: ``bernoulli`` for values in [0, 1] (cross-entropy), ``gaussian`` for any others (squared error).
        beta: weight of the Kullback-Leibler term; below 1 codes are less blurred, and the mixtures mend the prior.
        components: Gaussians per class.
        covariance: ``full`` or ``diagonal`` Gaussians.
        temperature: scale of the deviation from a Gaussian's mean when dreaming; 1 is faithful to the fit.
        store: type in which decoders and mixtures are kept for the nights.

    Raises:
        ValueError: for a negative ``beta``, or fewer than one latent dimension or component.
    """

    has_latents = True

    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        latent_dim: int = 32,
        hidden: Sequence[int] = (400,),
        likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
        beta: float = 1.0,
        components: int = 10,
        covariance: Literal["full", "diagonal"] = "full",
        temperature: float = 1.0,
        store: Literal["float16", "float32"] = "float16",
    ):
        super().__init__()
        if latent_dim < 1 or components < 1:
            raise ValueError(f"expected latent_dim and components of at least 1, got {latent_dim} and {components}")
        if beta < 0:
            raise ValueError(f"expected beta of at least 0, got {beta}")
        self.sample_shape = tuple(sample_shape)
        self.num_classes = num_classes
        self.latent_dim = latent_dim
        self.likelihood = likelihood
        self.beta = beta
        self.components = components
        self.covariance = covariance
        self.temperature = temperature
        self.store = getattr(torch, store)
        size = math.prod(self.sample_shape)
        self.encoder = _relu_layers([size + num_classes, *hidden, 2 * latent_dim])
        self.decoder = _relu_layers([latent_dim + num_classes, *reversed(hidden), size])
        self.archives = nn.ModuleList()

    @property
    def dreamable(self) -> Tensor:
        able = torch.zeros(self.num_classes, dtype=torch.bool, device=self._device)
        for archive in self._archives():
            able[archive.classes] = True
        return able

    @property
    def nbytes(self) -> int:
        return module_bytes(self)

    def planned_bytes(self, experiences: int, classes: int) -> int:
        """Bytes at the end of a stream.

        Args:
            experiences: E.
            classes: sum over the experiences of the classes that occur in each.
        """
        width = torch.finfo(self.store).bits // 8
        decoder = sum(parameter.numel() for parameter in self.decoder.parameters())
        mixture = self.components * (1 + self.latent_dim + self.latent_dim**2)
        return (
            module_bytes(self.encoder)
            + module_bytes(self.decoder)
            + width * (experiences * decoder + classes * mixture)
        )

    def loss(self, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        flat = x.flatten(1)
        label = functional.one_hot(y, self.num_classes).to(flat.dtype)
        mean, log_variance = self._encode(flat, label)
        noise = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
        answer = self.decoder(torch.cat([mean + torch.exp(0.5 * log_variance) * noise, label], dim=1))
        if self.likelihood == "bernoulli":
            misfit = functional.binary_cross_entropy_with_logits(answer, flat, reduction="sum")
        else:
            misfit = 0.5 * functional.mse_loss(answer, flat, reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return (misfit + self.beta * divergence) / flat.numel()

    @torch.no_grad()
    def settle(self, day: Iterable[Batch], experience: int, rng: torch.Generator) -> None:
        codes, labels = [], []
        for x, y in day:
            label = functional.one_hot(y, self.num_classes).to(x.dtype)
            mean, log_variance = self._encode(x.flatten(1), label)
            noise = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
            codes.append(mean + torch.exp(0.5 * log_variance) * noise)
            labels.append(y)
        z, y = torch.cat(codes).float(), torch.cat(labels)
        classes = y.unique()
        mixtures = [
            fit_mixture(z[y == label], self.components, rng, diagonal=self.covariance == "diagonal")
            for label in classes
        ]
        archive = _Archive(self.decoder, experience, classes, mixtures, self.components).to(self._device, self.store)
        for position, earlier in enumerate(self._archives()):
            if int(earlier.experience) == experience:
                self.archives[position] = archive
                return
        self.archives.append(archive)

    @torch.no_grad()
    def dream(self, y: Tensor, rng: torch.Generator, bend: Bend | None = None) -> Dream:
        self.refuse_unknown(y)
        archives = self._archives()
        able = torch.stack([torch.isin(y, archive.classes) for archive in archives], dim=1)
        # a class met in several experiences is dreamt from any of them
        source = torch.multinomial(able.to(torch.float32), 1, generator=rng).flatten()
        p = functional.one_hot(y, self.num_classes).to(torch.float32)
        x = p.new_empty(len(y), *self.sample_shape)
        for number, archive in enumerate(archives):
            members = (source == number).nonzero().flatten()
            if len(members):
                z = archive.sample(y[members], rng, self.temperature)
                if bend is not None:
                    z, p[members] = bend(z, p[members], rng)
                x[members] = self._decode(archive, torch.cat([z, p[members]], dim=1))
        return Dream(x, y, None if bend is None else p)

    def _decode(self, archive: _Archive, code: Tensor) -> Tensor:
        answer = code
        for layer in archive.decoder:
            linear = isinstance(layer, nn.Linear)
            answer = functional.linear(answer, layer.weight.float(), layer.bias.float()) if linear else layer(answer)
        answer = torch.sigmoid(answer) if self.likelihood == "bernoulli" else answer
        return answer.view(-1, *self.sample_shape)

    def _encode(self, flat: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(torch.cat([flat, label], dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 4)

    def _archives(self) -> list[_Archive]:
        return [archive for archive in self.archives if isinstance(archive, _Archive)]

    @property
    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # a fresh generator has no archives yet: make room for those of the checkpoint before they are copied
        count = 0
        while (classes := state_dict.get(f"{prefix}archives.{count}.classes")) is not None:
            if count == len(self.archives):
                empty = _Archive(self.decoder, count, classes.clone(), [], self.components, self.latent_dim)
                self.archives.append(empty.to(self._device, self.store))
            count += 1
        del self.archives[count:]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class _Archive(nn.Module):
    """What a day leaves: a frozen decoder, and a mixture for each of its classes, padded to M components."""

    classes: Tensor
    experience: Tensor
    weight: Tensor
    mean: Tensor
    factor: Tensor

    def __init__(
        self,
        decoder: nn.Sequential,
        experience: int,
        classes: Tensor,
        mixtures: Sequence[Mixture],
        components: int,
        latent_dim: int | None = None,
    ):
        super().__init__()
        dims = mixtures[0].mean.shape[1] if mixtures else int(latent_dim or 0)
        self.decoder = copy.deepcopy(decoder).requires_grad_(False)
        self.register_buffer("classes", classes)
        self.register_buffer("experience", torch.tensor(experience))
        self.register_buffer("weight", torch.zeros(len(classes), components))
        self.register_buffer("mean", torch.zeros(len(classes), components, dims))
        self.register_buffer("factor", torch.zeros(len(classes), components, dims, dims))
        for row, mixture in enumerate(mixtures):
            used = len(mixture.weight)
            self.weight[row, :used] = mixture.weight
            self.mean[row, :used] = mixture.mean
            self.factor[row, :used] = mixture.factor

    def sample(self, y: Tensor, rng: torch.Generator, temperature: float) -> Tensor:
        """Draw a (B, D) code for each of (B,) labels, all of them among the day's classes."""
        return sample_mixtures(self.mixtures, torch.searchsorted(self.classes, y), rng, temperature)

    @property
    def mixtures(self) -> Mixture:
        """The mixtures of all classes of the day, stacked."""
        return Mixture(self.weight, self.mean, self.factor)


def _relu_layers(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for into, out in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])

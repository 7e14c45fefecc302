"""A class-conditional generative adversarial network whose two players learn in one step."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators._gan_networks import FlatArtist, ImageArtist, flat_critic, image_critic, louden
from dreamer.generators._precision import in_float32
from dreamer.generators._span import Span
from dreamer.generators.base import Continual, Generator, GeneratorSnapshot, Store


class GAN(Generator):
    """An artist makes samples of a class, a critic learns to distinguish them from real ones; a dusk keeps the artist.

    Generative adversarial networks (Goodfellow et al. 2014, arXiv 1406.2661), the generator of the first deep
    generative replay (Shin et al. 2017, arXiv 1705.08690). One optimiser moves both players in the same step: the loss
    is the sum of theirs, and each player's reaches its own parameters alone.

    The game is that of R3GAN (Huang et al. 2024, arXiv 2501.05441, eq. 2-4): a real and a made sample are compared with
    each other, and the squared slope of the critic is penalised at both, without which the players circle around each
    other. The slope is measured along a random direction, as ``(critic(x + s n) - critic(x)) / s`` with standard normal
    n, which needs no second backward pass (Lin et al. 2025, arXiv 2501.08316, section 3.3).

    The players share the optimiser's options with the learner. Adam's first decay of 0.9 is high for such a game
    (R3GAN: 0): ``Adam(betas=(0.5, 0.999))`` is worth a try where the learner allows it. Dreams are less varied than
    those of the other generators, and plainer losses or spectral normalisation collapse under this optimiser.
    ``net="conv"`` plays best with ``generator_lr=3e-4`` (see :class:`dreamer.training.module.WakeSleepModule`),
    ``penalty=3`` and ``pace=0.3``.

    Args:
        latent_dim: D standard normal numbers of which a sample is made. R3GAN: 64.
        net: ``mlp`` for samples of any shape, ``conv`` for images.
        hidden: widths of the fully connected layers; with ``conv`` the last is that of the critic's.
        channels: of the convolutions with ``conv``, from fine to coarse; each halves the side.
        penalty: half of it weighs the squared slope, on samples that span [-1, 1]. R3GAN: 1 on stacked MNIST, from 0.05
            to 150 on photographs.
        probe: s, how far aside the slope is measured, on the same scale. Lin et al. take 0.01 on latents; 0.1 is what
            pixels of drawings do not notice.
        pace: how fast the artist moves beside the critic, by a runtime factor of its weights as in StyleGAN's mapping
            network (Karras et al. 2019, arXiv 1812.04948, appendix C). It is so with optimisers that divide gradients
            by their size; plain gradient descent is slowed twice. 0.2: a critic that leads keeps the game from
            circling (two time scales, Heusel et al. 2017, arXiv 1706.08500).
        span: lowest and highest value of a sample's elements; None where they have no bounds.
        temperature: scale of the noise when dreaming; 1 as in training.

    Raises:
        ValueError: for less than one latent dimension, no layers, a ``probe`` or ``pace`` that is not above 0, a
            negative ``penalty``, or samples that ``conv`` cannot make.

    >>> generator, rng = GAN((1, 4, 4), 2, hidden=(8,)), torch.Generator().manual_seed(0)
    >>> day = [Batch(torch.rand(20, 1, 4, 4), torch.arange(20) % 2)]
    >>> generator.end_experience(day, 0, rng)
    >>> generator.dream(torch.tensor([0, 1, 1]), rng).x.shape
    torch.Size([3, 1, 4, 4])
    """

    spaces = frozenset({"latent", "noise"})

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        latent_dim: int = 64,
        net: Literal["mlp", "conv"] = "mlp",
        hidden: Sequence[int] = (256, 256),
        channels: Sequence[int] = (32, 64),
        penalty: float = 1.0,
        probe: float = 0.1,
        pace: float = 0.2,
        span: Sequence[float] | None = (0.0, 1.0),
        temperature: float = 1.0,
        store: Store = "float16",
        continual: Continual = "grow",
    ):
        super().__init__(sample_shape, num_classes, continual, store)
        if latent_dim < 1 or not hidden or not channels:
            raise ValueError(
                "expected latent_dim of at least 1, and hidden and channels of at least one layer, "
                f"got {latent_dim}, {list(hidden)} and {list(channels)}"
            )
        if probe <= 0 or pace <= 0 or penalty < 0:
            raise ValueError(
                f"expected probe and pace above 0 and penalty of at least 0, got {probe}, {pace} and {penalty}"
            )
        self.latent_dim = latent_dim
        self.penalty = penalty
        self.probe = probe
        self.pace = pace
        self.span = Span(span)
        self.bounds = None if span is None else (span[0], span[1])
        at_least(0, temperature=temperature)
        self.temperature = temperature
        inputs = latent_dim + num_classes
        if net == "mlp":
            self.artist: nn.Module = FlatArtist(inputs, self.sample_shape, hidden)
            self.critic = flat_critic(self.sample_shape, num_classes, hidden)
        else:
            self.artist = ImageArtist(inputs, self.sample_shape, channels)
            self.critic = image_critic(self.sample_shape, num_classes, channels, hidden[-1])
        louden(self.artist, 1 / pace)

    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor:
        """Both players' losses; means over samples of scores, so already of a learner's order of magnitude."""
        critic, artist = self.players(seen, rng)
        return critic + artist

    def players(self, seen: Dream, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The scalar losses of critic and artist; neither has a gradient in the other player's parameters."""
        real = self.span.enter(seen.x)
        p = functional.one_hot(seen.groups, self.num_classes).to(real.dtype)
        z = torch.randn(len(real), self.latent_dim, generator=rng, device=real.device)
        slowed = {name: self.pace * weight for name, weight in self.artist.named_parameters()}
        made = self.span.keep(functional_call(self.artist, slowed, (_code(z, p),)))
        fake = made.detach().to(real.dtype)
        # one pass for all: real, made, and both a little aside
        aside = [x + self.probe * torch.randn(x.shape, generator=rng, device=x.device) for x in (real, fake)]
        scores = self.critic(torch.cat([real, fake, *aside]), p.repeat(4, 1)).float().view(4, -1)
        slope = ((scores[2:] - scores[:2]) / self.probe).square().mean(dim=1).sum()
        critic = functional.softplus(scores[1] - scores[0]).mean() + self.penalty / 2 * slope
        held = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        hoped = functional_call(self.critic, held, (made, p)).float()
        return critic, functional.softplus(scores[0].detach() - hoped).mean()

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Artist(self, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        """Nothing is measured: a new snapshot has the artist."""


class _Artist(GeneratorSnapshot):
    """A frozen artist."""

    def __init__(self, gan: GAN, classes: Tensor):
        super().__init__(classes)
        self.artist = copy.deepcopy(gan.artist).requires_grad_(False)
        for weight in self.artist.parameters():
            weight.mul_(gan.pace)
        self.latent_dim = gan.latent_dim
        self.temperature = gan.temperature
        self.span = gan.span

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        z = torch.randn(len(y), self.latent_dim, generator=rng, device=y.device)
        if perturbations.noise is not None:
            z, p = perturbations.noise(z, p, rng)
        z = self.temperature * z
        if perturbations.latent is not None:
            z, p = perturbations.latent(z, p, rng)
        return self.span.leave(in_float32(self.artist, _code(z, p))), p


def _code(z: Tensor, p: Tensor) -> Tensor:
    """(B, D + K) inputs of an artist: (B, D) noise, and labels as long as noise is on average, so that both count."""
    return torch.cat([z, math.sqrt(z.shape[1]) * p.to(z.dtype)], dim=1)

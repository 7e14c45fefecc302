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

from dreamer.generators._gan_networks import FlatArtist, ImageArtist, flat_critic, image_critic, louden
from dreamer.generators._precision import in_float32
from dreamer.generators._span import Span
from dreamer.generators.base import Continual, Dreamer, Generator
from dreamer.types import Batch, Bends, Dream


class GAN(Generator):
    """An artist makes samples of a class, and a critic learns to tell them from real ones."""

    spaces = frozenset({"latent", "noise"})

    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        latent_dim: int = 64,
        net: Literal["mlp", "conv"] = "mlp",
        hidden: Sequence[int] = (256, 256),
        channels: Sequence[int] = (32, 64),
        game: Literal["relativistic", "nonsaturating"] = "relativistic",
        penalty: float = 3.0,
        probe: float = 0.1,
        pace: float = 0.3,
        span: Sequence[float] | None = (0.0, 1.0),
        temperature: float = 1.0,
        store: Literal["float16", "float32"] = "float16",
        continual: Continual = "grow",
    ):
        super().__init__(sample_shape, num_classes, continual)
        self.latent_dim = latent_dim
        self.game = game
        self.penalty = penalty
        self.probe = probe
        self.pace = pace
        self.span = Span(span)
        self.temperature = temperature
        self.store = getattr(torch, store)
        inputs = latent_dim + num_classes
        if net == "mlp":
            self.artist: nn.Module = FlatArtist(inputs, self.sample_shape, hidden)
            self.critic = flat_critic(self.sample_shape, num_classes, hidden)
        else:
            self.artist = ImageArtist(inputs, self.sample_shape, channels)
            self.critic = image_critic(self.sample_shape, num_classes, channels, hidden[-1])
        louden(self.artist, 1 / pace)

    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor:
        critic, artist = self.players(seen, rng)
        return critic + artist

    def players(self, seen: Dream, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The scalar losses of critic and artist; no gradient of either reaches the other player's parameters."""
        real = self.span.enter(seen.x)
        p = functional.one_hot(seen.y, self.num_classes).to(real.dtype)
        z = torch.randn(len(real), self.latent_dim, generator=rng, device=real.device)
        slowed = {name: self.pace * weight for name, weight in self.artist.named_parameters()}
        made = self.span.keep(functional_call(self.artist, slowed, (code(z, p),)))
        fake = made.detach()
        # one pass for all: real, made, and both a little to the side
        aside = [x + self.probe * torch.randn(x.shape, generator=rng, device=x.device) for x in (real, fake)]
        scores = self.critic(torch.cat([real, fake, *aside]), p.repeat(4, 1)).view(4, -1)
        rest = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        hoped = functional_call(self.critic, rest, (made, p))
        slope = ((scores[:2] - scores[2:]) / self.probe).square().mean(dim=1).sum()
        critic, artist = self._stakes(scores[0], scores[1], hoped)
        return critic + self.penalty / 2 * slope, artist

    def _stakes(self, real: Tensor, fake: Tensor, hoped: Tensor) -> tuple[Tensor, Tensor]:
        if self.game == "relativistic":
            return functional.softplus(fake - real).mean(), functional.softplus(real.detach() - hoped).mean()
        return (
            functional.softplus(-real).mean() + functional.softplus(fake).mean(),
            functional.softplus(-hoped).mean(),
        )

    def blank(self, classes: Tensor) -> Dreamer:
        return _Artist(self, classes)

    def keep(self, dreamer: Dreamer, day: Iterable[Batch], rng: torch.Generator) -> None:
        """Nothing is measured: a dreamer has its artist from birth."""

    def _stored(self, dreamer: Dreamer) -> Dreamer:
        return dreamer.to(self.store)


class _Artist(Dreamer):
    """A frozen artist."""

    def __init__(self, gan: GAN, classes: Tensor):
        super().__init__(classes)
        self.artist = copy.deepcopy(gan.artist)
        with torch.no_grad():
            for weight in self.artist.parameters():
                weight.mul_(gan.pace)
        self.latent_dim = gan.latent_dim
        self.temperature = gan.temperature
        self.span = gan.span

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, bends: Bends) -> tuple[Tensor, Tensor]:
        z = torch.randn(len(y), self.latent_dim, generator=rng, device=y.device)
        if bends.noise is not None:
            z, p = bends.noise(z, p, rng)
        z = self.temperature * z
        if bends.latent is not None:
            z, p = bends.latent(z, p, rng)
        return self.span.leave(in_float32(self.artist, code(z, p))), p


def code(z: Tensor, p: Tensor) -> Tensor:
    """(B, D + K): (B, D) noise beside (B, K) labels, which are made as long as noise is on average."""
    return torch.cat([z, math.sqrt(z.shape[1]) * p.to(z.dtype)], dim=1)

"""Gaussians for every class, over the learner's features or over the principal components of the samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least, fractions
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators._gaussian_mixture import Mixture, fit_mixture
from dreamer.generators.base import Continual, Generator, GeneratorSnapshot, Store
from dreamer.networks.base import Frozen, dummy_input, featured

Covariance = Literal["full", "diagonal", "shared"]


class LatentGaussians(Generator):
    """A Gaussian, or a mixture, for every class: fitted at dusk in one go, nothing is learnt step by step.

    With ``space="samples"`` codes are the first D principal components of the day. A dream is a code drawn from its
    class, decoded, plus noise with the variance that the D axes leave in each element: a probabilistic principal
    component analysis (Tipping and Bishop 1999) with one residual variance per element, as in factor analysis, and
    with Gaussians of the classes for a prior. With ``space="features"`` codes are the learner's features and dreams
    enter the learner behind them: the class statistics of analytic continual learning (Hayes and Kanan 2020, arXiv
    1909.01520, with ``covariance="shared"``), dreamt from. No shape is assumed: images, tables, series.

    Features age: the learner moves on, and a dream of an old class is made of features that it had at the dusk of
    that class. A learner whose trunk moves needs objectives that hold it, such as distillation of features.

    Args:
        space: ``samples`` or ``features``; the latter needs a learner with ``features`` and ``classify``.
        latent_dim: D with ``samples``, at most the elements of a sample; with ``features`` it is H, whatever is given.
        components: Gaussians per class.
        covariance: ``full``, ``diagonal``, or one ``shared`` by the classes of an experience (linear discriminant
            analysis), which is for single Gaussians.
        pooled: fraction in [0, 1] of the covariance within all classes of the experience that every ``full`` covariance
            of a single Gaussian is mixed with (regularised discriminant analysis, Friedman 1989): few samples of a
            class say little of its own covariance, and one for all says nothing of it.
        temperature: scale of the deviation from a Gaussian's mean when dreaming; 1 as it was fitted.
        clip: keep every element of a dream between the least and the largest value that it had in real samples, so
            that pixels stay pixels and rectified features stay above 0.

    Raises:
        ValueError: for fewer than one latent dimension or component, a shared covariance of several components, or a
            ``pooled`` that is no fraction or has nothing to be mixed with.

    >>> generator, rng = LatentGaussians((3,), 2), torch.Generator().manual_seed(0)
    >>> generator.end_experience([Batch(torch.rand(20, 3), torch.arange(20) % 2)], 0, rng)
    >>> generator.dream(torch.tensor([0, 1, 1]), rng).x.shape
    torch.Size([3, 3])
    """

    spaces = frozenset({"latent", "noise"})

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        space: Literal["samples", "features"] = "samples",
        latent_dim: int = 64,
        components: int = 1,
        covariance: Covariance = "full",
        pooled: float = 0.0,
        temperature: float = 1.0,
        clip: bool = True,
        store: Store = "float32",
        continual: Continual = "grow",
    ):
        super().__init__(sample_shape, num_classes, continual, store)
        if latent_dim < 1 or components < 1:
            raise ValueError(f"expected latent_dim and components of at least 1, got {latent_dim} and {components}")
        if covariance == "shared" and components > 1:
            raise ValueError(f"expected components=1 with a shared covariance, got {components}")
        fractions(pooled=pooled)
        if pooled and (covariance != "full" or components > 1):
            raise ValueError(
                f"pooled={pooled} needs covariance='full' and components=1, got {covariance!r} and {components}"
            )
        self.pooled = pooled
        self.is_features = space == "features"
        # of the features unknown until the learner is attached
        self.latent_dim = 0 if self.is_features else min(latent_dim, math.prod(self.sample_shape))
        self.components = components
        self.covariance: Covariance = covariance
        at_least(0, temperature=temperature)
        self.temperature = temperature
        self.clip = clip
        # inside a tuple: the learner must not become a part of the generator
        self._learner: tuple[nn.Module, ...] = ()

    @torch.no_grad()
    def attach(self, learner: nn.Module) -> None:
        """Take the learner: with ``space="features"`` its features are the codes."""
        if self.is_features:
            self.latent_dim = Frozen(featured(learner)).features(dummy_input(learner, self.sample_shape)).shape[1]
            self._learner = (learner,)

    def fit(self, seen: Dream, rng: torch.Generator) -> None:
        """Nothing: it learns at dusk."""
        return None

    def end_experience(self, day: Iterable[Batch], experience: int, rng: torch.Generator) -> None:
        super().end_experience(self._features(day) if self.is_features else day, experience, rng)

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        if self.is_features:
            self._attached()
        return _Gaussians(self, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        assert isinstance(snapshot, _Gaussians)
        batches = list(day)
        flat = torch.cat([batch.x for batch in batches]).flatten(1).float()
        labels = torch.searchsorted(snapshot.classes, torch.cat([batch.groups for batch in batches]))
        snapshot.least.copy_(flat.min(dim=0).values)
        snapshot.largest.copy_(flat.max(dim=0).values)
        snapshot.fit(flat if self.is_features else snapshot.project(flat), labels, rng)

    def _attached(self) -> nn.Module:
        if not self._learner:
            raise ValueError(
                "LatentGaussians(space='features') needs the learner: expected attach(learner) to come first"
            )
        return self._learner[0]

    def _features(self, day: Iterable[Batch]) -> Iterable[Batch]:
        """The experience as features of the learner, in evaluation mode."""
        learner = Frozen(self._attached())
        for batch in day:
            yield Batch(learner.features(batch.x), batch.groups)


class _Gaussians(GeneratorSnapshot):
    """Means and spreads of the classes and, over samples, the axes that they are spread along.

    Buffers, with N the elements of a dream: ``weight`` (C, M), ``mean`` (C, M, D), ``spread`` (C, M, D) standard
    deviations, or (C, M, D, D) Cholesky factors, or (1, 1, D, D) where it is shared; ``axes`` (D, N), ``centre``,
    ``residual`` (N,); ``least``, ``largest`` (N,).
    """

    weight: Tensor
    mean: Tensor
    spread: Tensor
    axes: Tensor
    centre: Tensor
    residual: Tensor
    least: Tensor
    largest: Tensor

    def __init__(self, generator: LatentGaussians, classes: Tensor):
        super().__init__(classes)
        self.shape = (generator.latent_dim,) if generator.is_features else generator.sample_shape
        self.is_features = generator.is_features
        self.covariance = generator.covariance
        self.components = generator.components
        self.pooled = generator.pooled
        self.temperature = generator.temperature
        self.clip = generator.clip
        rows, count, dims, size = len(classes), generator.components, generator.latent_dim, math.prod(self.shape)
        held = {"full": (rows, count, dims, dims), "diagonal": (rows, count, dims), "shared": (1, 1, dims, dims)}
        self.register_buffer("weight", torch.zeros(rows, count))
        self.register_buffer("mean", torch.zeros(rows, count, dims))
        self.register_buffer("spread", torch.zeros(held[self.covariance]))
        self.register_buffer("axes", torch.zeros(0 if self.is_features else dims, size))
        self.register_buffer("centre", torch.zeros(0 if self.is_features else size))
        self.register_buffer("residual", torch.zeros(0 if self.is_features else size))
        self.register_buffer("least", torch.zeros(size))
        self.register_buffer("largest", torch.zeros(size))

    def project(self, flat: Tensor) -> Tensor:
        """Find the axes of (n, N) samples, and map the samples to (n, D) codes."""
        self.centre.copy_(flat.mean(dim=0))
        centred = flat - self.centre
        self.axes.copy_(principal_axes(centred, len(self.axes)))
        codes = centred @ self.axes.T
        self.residual.copy_((centred - codes @ self.axes).square().mean(dim=0).sqrt())
        return codes

    def fit(self, z: Tensor, row: Tensor, rng: torch.Generator) -> None:
        """Fit (n, D) codes whose classes stand in the (n,) rows."""
        rounds = 1 if self.components == 1 else 20
        for index in range(len(self.classes)):
            codes = z[row == index]
            found = fit_mixture(codes, self.components, rng, rounds, diagonal=self.covariance != "full")
            self._put(index, found)
        if self.covariance == "shared" or self.pooled:
            within = fit_mixture(z - self.mean[row, 0], 1, rng, 1).factor[0]
        if self.covariance == "shared":
            self.spread[0, 0] = within
        elif self.pooled:
            own = self.spread[:, 0].float()
            mixed = torch.lerp(own @ own.mT, within @ within.T, self.pooled)
            self.spread[:, 0] = torch.linalg.cholesky(mixed)

    def _put(self, row: int, found: Mixture) -> None:
        used = len(found.weight)
        self.weight[row, :used] = found.weight
        self.mean[row, :used] = found.mean
        if self.covariance == "diagonal":
            self.spread[row, :used] = found.factor.diagonal(dim1=1, dim2=2)
        elif self.covariance == "full":
            self.spread[row, :used] = found.factor

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        row = torch.searchsorted(self.classes, y)
        component = torch.multinomial(self.weight.float()[row], 1, generator=rng).flatten()
        mean = self.mean[row, component].float()
        noise = torch.randn(mean.shape, generator=rng, device=mean.device)
        if perturbations.noise is not None:
            noise, p = perturbations.noise(noise, p, rng)
        z = mean + self.temperature * self._spread(noise, row, component)
        if perturbations.latent is not None:
            z, p = perturbations.latent(z, p, rng)
        x = z if self.is_features else self._decode(z, rng)
        if self.clip:
            x = x.clamp(self.least.float(), self.largest.float())
        return x.view(-1, *self.shape), p

    def _spread(self, noise: Tensor, row: Tensor, component: Tensor) -> Tensor:
        """(B, D) standard-normal numbers with the covariance of their class and component."""
        if self.covariance == "shared":
            return noise @ self.spread[0, 0].float().T
        if self.covariance == "diagonal":
            return noise * self.spread[row, component].float()
        # a product for each Gaussian: gathering a (D, D) factor for every code would take far more memory
        number = row * self.components + component
        made = torch.empty_like(noise)
        for each in number.unique().tolist():
            members = (number == each).nonzero().flatten()
            made[members] = noise[members] @ self.spread[each // self.components, each % self.components].float().T
        return made

    def _decode(self, z: Tensor, rng: torch.Generator) -> Tensor:
        rest = torch.randn(len(z), len(self.residual), generator=rng, device=z.device)
        return self.centre.float() + z @ self.axes.float() + self.temperature * self.residual.float() * rest


def principal_axes(centred: Tensor, count: int) -> Tensor:
    """The directions of largest variance.

    From the eigenvectors of the scatter matrix or, with fewer samples than elements, of the samples' inner products:
    a cost of the third power of the smaller number.

    Args:
        centred: (n, N) samples whose mean is 0.
        count: D, at most N.

    Returns:
        (D, N) orthonormal rows, the largest variance first; zeros for directions in which nothing varies.
    """
    samples, elements = centred.shape
    few = samples < elements
    values, vectors = torch.linalg.eigh(centred @ centred.T if few else centred.T @ centred)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    real = values > 1e-5 * values[0].clamp_min(torch.finfo(values.dtype).tiny)
    found = (centred.T @ vectors / values.clamp_min(torch.finfo(values.dtype).tiny).sqrt() if few else vectors).T
    axes = centred.new_zeros(count, elements)
    axes[: len(found)] = found * real[:, None]
    return axes

"""Brain-inspired replay: the learner itself is the generator's way up, and what it makes depends on the class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import above
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators.base import Continual, Generator, GeneratorSnapshot
from dreamer.generators.likelihood import Likelihood, bounds, divergence, draw, gaussians, misfit, pixels
from dreamer.networks.base import dummy_input, featured


class BrainInspired(Generator):
    """Replay through feedback, with a class-conditional prior and gates that the class sets.

    van de Ven, Siegelmann and Tolias (2020, Nature Communications 11:4069; ``models/vae.py`` and ``train.py`` of
    GMvandeVen/brain-inspired-replay). The generator has no encoder of its own: codes are read off the learner's
    features, and a decoder leads back to the sample, so learner and generator share their way up and are trained
    together. Its four further parts can each be left out:

    - *conditional replay*: the prior is a Gaussian of its own for every class, learnt by gradient descent;
    - *gating*: every class switches a fixed random part of the decoder's hidden units off;
    - *internal replay*: features are dreamt rather than samples (``space="features"``), and enter the learner behind
      them; the layers below should then rest, or what was dreamt loses its meaning;
    - *distillation* is a matter of the stage (``replay_objectives``).

    With a standard prior and no gates this is replay through feedback (van de Ven and Tolias 2018, arXiv 1809.10635),
    whose dreams a teacher must name.

    Args:
        latent_dim: D; 100 in both papers.
        hidden: widths of the decoder's hidden layers, from the code on; theirs for Split MNIST.
        prior: ``classes`` a Gaussian for every class, ``standard`` one for all.
        gating: fraction of the decoder's hidden units that a class switches off, in [0, 1); 0 for none. The paper chose
            it by grid search for each stream, the official code has 0.8 for Split MNIST.
        space: ``samples`` or ``features``.
        likelihood: ``bernoulli`` for samples in [0, 1], ``gaussian`` for any others; features are Gaussian.
        temperature: of the teacher's softmax, which gives the fractions of the classes in a dream; 2 as in the official
            code.

    Raises:
        ValueError: for fewer than one latent dimension, or a fraction of gates outside [0, 1).
    """

    spaces = frozenset({"latent", "noise"})

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        latent_dim: int = 100,
        hidden: Sequence[int] = (400, 400),
        prior: Literal["classes", "standard"] = "classes",
        gating: float = 0.0,
        space: Literal["samples", "features"] = "samples",
        likelihood: Likelihood = "bernoulli",
        temperature: float = 2.0,
        continual: Continual = "rehearse",
    ):
        super().__init__(sample_shape, num_classes, continual)
        if latent_dim < 1:
            raise ValueError(f"expected latent_dim of at least 1, got {latent_dim}")
        if not 0 <= gating < 1:
            raise ValueError(f"expected a fraction of gates in [0, 1), got {gating}")
        self.latent_dim = latent_dim
        self.widths = tuple(hidden)
        self.gating = gating
        self.prior = prior
        self.conditional = prior == "classes" or gating > 0
        self.needs_classes = self.conditional
        self.is_features = space == "features"
        self.likelihood: Likelihood = "gaussian" if self.is_features else likelihood
        self.bounds = bounds(self.likelihood)
        above(0, temperature=temperature)
        self.temperature = temperature
        # inside a tuple: the learner must not become a part of the generator
        self._learner: tuple[nn.Module, ...] = ()

    def attach(self, learner: nn.Module) -> None:
        """Read codes off this learner's features; see :meth:`dreamer.generators.Generator.attach`."""
        network = featured(learner)
        with torch.no_grad():
            features = network.features(dummy_input(learner, self.sample_shape, 2)).shape[1]
        size = features if self.is_features else math.prod(self.sample_shape)
        self._learner = (learner,)
        self.to_code = nn.Linear(features, 2 * self.latent_dim)
        self.feedback = _Feedback(self, size)

    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor:
        h = seen.x if seen.is_features else featured(self._learner[0]).features(seen.x)
        target = h.detach() if self.is_features else seen.x.flatten(1)
        mean, log_variance = gaussians(self.to_code(h))
        z = draw(mean, log_variance, rng)
        fractions = self._fractions(seen)
        output = self.feedback(z, fractions)
        y = seen.groups if seen.teacher is None else None
        bound = misfit(output, target, self.likelihood) + self._divergence(z, mean, log_variance, fractions, y)
        return bound.sum() / target.numel()

    def _fractions(self, seen: Dream) -> Tensor:
        """(B, K) fractions of the classes in a sample: its label, or the teacher's softmax for a dream."""
        if seen.teacher is not None:
            return functional.softmax(seen.teacher / self.temperature, dim=1)
        return (
            functional.one_hot(seen.groups, self.num_classes).to(torch.float32)
            if self.conditional
            else seen.x.new_empty(0)
        )

    def _divergence(self, z: Tensor, mean: Tensor, log_variance: Tensor, fractions: Tensor, y: Tensor | None) -> Tensor:
        """(B,) of the codes from the prior; from a Gaussian of each class it is estimated by the code that was drawn.

        As ``calculate_log_p_z`` of the official code: with labels ``y`` the prior is the Gaussian of the label, however
        far away; with a teacher's fractions alone it is their mixture, never less likely than 1e-40 of the nearest one.
        """
        if self.prior == "standard":
            return divergence(mean, log_variance)
        own = _log_normal(z, mean, log_variance).sum(dim=1)
        if y is not None:
            return own - _log_normal(z, self.feedback.mean[y], self.feedback.log_variance[y]).sum(dim=1)
        each = _log_normal(z[:, None], self.feedback.mean, self.feedback.log_variance).sum(dim=2)
        mixture = torch.logsumexp(each + fractions.log(), dim=1)
        return own - torch.maximum(mixture, each.amax(dim=1) + math.log(1e-40))

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        if not self._learner:
            raise ValueError("BrainInspired reads codes off a learner: attach(learner) before it is used")
        return _Feedback(self, self.feedback.size, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        snapshot.load_state_dict(
            self.feedback.state_dict() | {"classes": snapshot.classes, "experience": snapshot.experience}
        )


class _Feedback(GeneratorSnapshot):
    """The way back from a code, and where codes of each class lie."""

    def __init__(self, owner: BrainInspired, size: int, classes: Tensor | None = None):
        super().__init__(torch.empty(0, dtype=torch.int64) if classes is None else classes)
        widths = [owner.latent_dim, *owner.widths, size]
        self.size = size
        self.latent_dim = owner.latent_dim
        self.likelihood = owner.likelihood
        self.shape = (size,) if owner.is_features else owner.sample_shape
        self.layers = nn.ModuleList(nn.Linear(into, out) for into, out in zip(widths[:-1], widths[1:], strict=True))
        self.gated = owner.gating > 0
        if self.gated:
            for number, width in enumerate(owner.widths):
                closed = torch.rand(owner.num_classes, width).argsort(dim=1) < round(owner.gating * width)
                self.register_buffer(f"gate{number}", (~closed).to(torch.float32))
        self.by_class = owner.prior == "classes"
        if self.by_class:
            self.mean = nn.Parameter(torch.randn(owner.num_classes, owner.latent_dim))
            self.log_variance = nn.Parameter(torch.randn(owner.num_classes, owner.latent_dim))

    def forward(self, z: Tensor, fractions: Tensor) -> Tensor:
        """Map (B, D) codes of (B, K) class fractions to (B, N) logits or means."""
        h = z
        for number, layer in enumerate(self.layers[:-1]):
            h = functional.relu(layer(h))
            if self.gated:
                h = h * (fractions @ self.get_buffer(f"gate{number}"))
        return self.layers[-1](h)

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        z = torch.randn(len(y), self.latent_dim, generator=rng, device=y.device)
        if perturbations.noise is not None:
            z, p = perturbations.noise(z, p, rng)
        if self.by_class:
            z = self.mean[y] + torch.exp(0.5 * self.log_variance[y]) * z
        if perturbations.latent is not None:
            z, p = perturbations.latent(z, p, rng)
        return pixels(self(z, p), self.likelihood).view(-1, *self.shape), p


def _log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return -0.5 * (math.log(2 * math.pi) + log_variance + (z - mean).square() / log_variance.exp())

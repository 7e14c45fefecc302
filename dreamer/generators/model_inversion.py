"""Dreams inverted out of the learner alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators._activations import Activations, Moments, has_running_moments, pooled, watched, widths
from dreamer.generators._inverter import Shape, inverter
from dreamer.generators.base import Generator, GeneratorSnapshot
from dreamer.networks.base import copied


class ModelInversion(Generator):
    """A small network that learns at dusk to make samples which the learner takes for those it was trained on.

    DeepInversion (Yin et al. 2020, arXiv 1912.08795) with a network instead of single images, as in Always Be Dreaming
    (Smith et al. 2021, arXiv 2106.09701; official code ``learners/datafree_helper.py``). With a frozen copy
    of the learner, q its softmax among the C classes seen, it minimises::

        content * CE(q, class) + balance * (1 + sum_c mean(q_c) log mean(q_c) / log C)
        + statistics * KL(layers for real samples || layers for dreams)
        + smoothness * |x - blurred x|^2 + diversity * |z1 - z2| / |x1 - x2|

    The third term looks at mean and variance of every channel, as Gaussians. A learner with batch normalisation carries
    them; of any other they are measured at dusk for each linear and convolutional layer, and pooled over experiences,
    each weighted by its number of classes. They are all that is kept of the data, and those of old days age with the
    learner. The fourth term is for images. The last, which is not in the papers, keeps two dreams of a class apart (the
    mode seeking of Mao et al. 2019, arXiv 1903.05628, as a reciprocal): for a class, the network would else make
    the same of every noise, because prototypes of the classes have the right moments too.

    Only the newest network is kept, and goes on from the one before it, so bytes are constant. Its ``iterations`` are
    no optimiser steps of the run; their seconds belong to the dusk, and :attr:`iterated` counts them. The learner is
    left as it was.

    Args:
        conditional: dream of chosen classes; False leaves them to chance, sharpens whatever class the learner
            sees, and lets a teacher name the dream, as the official code does.
        network: ``mlp`` for samples of any shape, or ``conv`` for images.
        width: of its hidden layers, or channels of its first image; official for ``conv``: 128.
        latent_dim: D numbers of noise; official: 1000.
        values: ``unit`` for samples in [0, 1], ``any`` for others.
        iterations: steps at each dusk; official: 10000.
        batch_size: dreams per step, rounded down to pairs; official: 128.
        lr: of its Adam; official: 0.001.
        temperature: divides the logits in the first term; official: 1000, which leaves it next to no weight.
        content: weight of the first term; official.
        balance: weight of the second; official.
        statistics: weight of the third; official: 50.
        smoothness: weight of the fourth; official.
        diversity: weight of the last; official: 0.

    Where a default is not the official value it is what a twentieth of the official iterations needs with a
    perceptron on MNIST digits: larger steps, and a class that counts beside the statistics.

    Attributes:
        iterated: scalar int64, the steps of all dusks so far.

    Raises:
        ValueError: when a size is too small, a weight is negative, or ``conv`` cannot make such samples.
    """

    spaces = frozenset({"latent", "noise"})
    needs_classes = True
    kept: Tensor
    mass: Tensor
    newest: Tensor
    iterated: Tensor

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        conditional: bool = True,
        network: Shape = "mlp",
        width: int = 256,
        latent_dim: int = 64,
        values: Literal["unit", "any"] = "unit",
        iterations: int = 500,
        batch_size: int = 128,
        lr: float = 1e-2,
        temperature: float = 1.0,
        content: float = 1.0,
        balance: float = 1.0,
        statistics: float = 10.0,
        smoothness: float = 1e-3,
        diversity: float = 0.1,
    ):
        super().__init__(sample_shape, num_classes, "rehearse")
        at_least(1, width=width, latent_dim=latent_dim, iterations=iterations)
        at_least(2, batch_size=batch_size)
        weights = (content, balance, statistics, smoothness, diversity)
        if min(weights) < 0:
            raise ValueError(f"expected weights of at least 0, got {weights}")
        if temperature <= 0 or lr <= 0:
            raise ValueError(f"expected temperature and lr above 0, got {temperature} and {lr}")
        self.conditional = conditional
        self.network: Shape = network
        self.width = width
        self.latent_dim = latent_dim
        self.values = values
        self.bounds = (0.0, 1.0) if values == "unit" else None
        self.iterations = iterations
        self.batch_size = batch_size
        self.lr = lr
        self.temperature = temperature
        self.weights = weights
        # inside a tuple: the learner must not become a part of the generator
        self._learner: tuple[nn.Module, ...] = ()
        # what it cannot make is refused here, and not at the first dusk
        self.new_network(seed=0)
        # of the experiences before the newest one and of the newest one: mean and variance of the channels, and classes
        self.register_buffer("kept", torch.zeros(2, 2, 0))
        self.register_buffer("mass", torch.zeros(2))
        self.register_buffer("newest", torch.tensor(-1))
        self.register_buffer("iterated", torch.tensor(0))

    def attach(self, learner: nn.Module) -> None:
        """Take the learner that is inverted; a ``ValueError`` when it has no layer that can be watched."""
        layers = watched(learner)
        if not layers:
            name = type(learner).__name__
            raise ValueError(f"expected a learner with linear, convolutional or batch normalisation layers, got {name}")
        self._learner = (learner,)
        # batch normalisation keeps its moments itself
        channels = 0 if has_running_moments(layers) else sum(widths(layers))
        self.kept = self.kept.new_zeros(2, 2, channels)

    def new_network(self, seed: int) -> nn.Sequential:
        """A network that has learnt nothing."""
        inputs = self.latent_dim + (self.num_classes if self.conditional else 0)
        return inverter(self.network, inputs, self.sample_shape, self.width, self.values == "unit", seed)

    def fit(self, seen: Dream, rng: torch.Generator) -> None:
        """Nothing: it learns at dusk."""
        return None

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Inverted(self, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        assert isinstance(snapshot, _Inverted)
        if not self._learner:
            raise ValueError("ModelInversion needs the learner: expected attach(learner) to come first")
        learner = Activations(copied(self._learner[0]).eval().requires_grad_(False))
        own = has_running_moments(learner.layers)
        real = learner.running() if own else self._measured(learner, list(day), int(snapshot.experience))
        seed = int(torch.randint(2**31, (1,), generator=rng, device=rng.device))
        earlier = self._snapshots()
        start = earlier[0].get_submodule("network") if earlier else self.new_network(seed)
        snapshot.network.load_state_dict(start.state_dict())
        self._learn(snapshot, learner, real, rng)
        self.iterated += self.iterations

    def _old_days(self, day: Sequence[Batch], rng: torch.Generator) -> list[Batch]:
        """None: the learner itself knows them better than an older inversion."""
        return []

    def _measured(self, learner: Activations, day: Sequence[Batch], experience: int) -> Moments:
        """Moments of all experiences so far; one that comes again replaces itself."""
        if experience != int(self.newest) and self.mass.any():
            self.kept[0] = torch.stack(pooled([Moments(*part) for part in self.kept], self.mass))
            self.mass[0] = self.mass.sum()
        self.newest.fill_(experience)
        self.kept[1] = torch.stack(learner.over(batch.x for batch in day))
        self.mass[1] = len(torch.cat([batch.groups for batch in day]).unique())
        return pooled([Moments(*part) for part in self.kept], self.mass)

    @torch.enable_grad()
    def _learn(self, snapshot: _Inverted, learner: Activations, real: Moments, rng: torch.Generator) -> None:
        network = snapshot.network.train().requires_grad_(True)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr)
        for _ in range(self.iterations):
            labels = torch.randint(len(snapshot.classes), (self.batch_size // 2,), generator=rng, device=rng.device)
            code = torch.randn(2 * len(labels), self.latent_dim, generator=rng, device=rng.device)
            optimizer.zero_grad()
            self._misfit(snapshot, learner, real, labels.repeat(2), code).backward()
            optimizer.step()

    def _misfit(self, snapshot: _Inverted, learner: Activations, real: Moments, labels: Tensor, code: Tensor) -> Tensor:
        """The loss of dreams from (B, D) noise; ``labels`` are (B,) positions of classes, the same in both halves."""
        content, balance, statistics, smoothness, diversity = self.weights
        p = functional.one_hot(snapshot.classes[labels], self.num_classes).float()
        x = snapshot.make(code, p)
        logits, dreamt = learner(x)
        logits = logits[:, snapshot.classes]
        wanted = labels if self.conditional else logits.argmax(dim=1)
        loss = content * functional.cross_entropy(logits / self.temperature, wanted) + balance * imbalance(logits)
        loss = loss + statistics * learner.divergence(dreamt, real) + diversity * sameness(code, x)
        return loss + smoothness * roughness(x) if is_image(self.sample_shape) else loss


class _Inverted(GeneratorSnapshot):
    """The network, and the classes that it can dream of."""

    def __init__(self, generator: ModelInversion, classes: Tensor):
        super().__init__(classes)
        self.network = generator.new_network(seed=0)
        self.latent_dim = generator.latent_dim
        self.conditional = generator.conditional

    def make(self, code: Tensor, p: Tensor) -> Tensor:
        """(B, *S) samples of (B, D) noise and (B, K) distributions."""
        return self.network(torch.cat([code, p], dim=1) if self.conditional else code)

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        code = torch.randn(len(y), self.latent_dim, generator=rng, device=y.device)
        for perturbation in (perturbations.noise, perturbations.latent):
            if perturbation is not None:
                code, p = perturbation(code, p, rng)
        # evaluation mode only while it runs: Lightning warns of modules that are found in it when a fit starts
        self.network.eval()
        made = self.make(code, p)
        self.network.train()
        return made, p


def is_image(sample_shape: Sequence[int]) -> bool:
    """Whether samples are (C, H, W) with sides that the blur can be laid on."""
    return len(sample_shape) == 3 and min(sample_shape[1:]) > 2


def imbalance(logits: Tensor) -> Tensor:
    """What the entropy of the mean softmax of (B, C) logits lacks of its largest value, as a fraction of that."""
    if logits.shape[1] == 1:
        return logits.new_zeros(())
    frequency = functional.softmax(logits, dim=1).mean(dim=0)
    return 1 + torch.special.xlogy(frequency, frequency).sum() / math.log(len(frequency))


def sameness(code: Tensor, x: Tensor) -> Tensor:
    """How much closer (B, *S) dreams are than their (B, D) noise, one half of the batch held against the other."""
    noise, dreams = ((first - second).abs().mean() for first, second in (code.chunk(2), x.chunk(2)))
    return noise / (dreams + 1e-5 * noise)


def roughness(x: Tensor) -> Tensor:
    """Mean squared distance of (B, C, H, W) images from themselves behind a Gaussian blur.

    Five pixels wide with a standard deviation of the root of 2, and mirrored at the edges, as in the official code of
    Always Be Dreaming, ``Gaussiansmoothing``, whose exponent divides by twice the deviation before it squares.
    """
    bell = torch.exp(-torch.arange(-2, 3, device=x.device, dtype=x.dtype).square() / 4)
    kernel = torch.outer(bell, bell) / bell.sum() ** 2
    padded = functional.pad(x, (2, 2, 2, 2), mode="reflect")
    blurred = functional.conv2d(padded, kernel.expand(x.shape[1], 1, 5, 5), groups=x.shape[1])
    return functional.mse_loss(x, blurred)

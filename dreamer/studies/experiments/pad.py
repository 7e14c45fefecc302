"""Perturbed and adversarial dreaming: an encoder learns without labels, awake and in two kinds of sleep.

Deperrois, Petrovici, Senn and Jordan 2022, "Learning cortical representations through perturbed and adversarial
dreaming", eLife 11:e76384; protocol as in the official code, NicoZenith/PAD, ``main_PAD.py`` and ``network.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.limits import at_least
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch
from dreamer.metrics.continual import accuracy
from dreamer.perturbations import Occlusion
from dreamer.streams import registry as streams
from dreamer.studies.experiments.base import CellResult, Experiment, Measure
from dreamer.studies.experiments.gallery import write_gallery
from dreamer.studies.experiments.real_data import HeldOut, real_data, tensors
from dreamer.studies.experiments.training import initialise

Phase = Literal["wake", "nrem", "rem"]

_COARSEST = 4
_SLOPE = 0.2
_WEIGHT = 0.02
"""Standard deviation of first weights, as of Radford et al. 2015 (arXiv 1511.06434)."""
_BATCH = 1000
_PROBE_EPOCHS, _PROBE_LR = 20, 0.2
_OCCLUDED = Occlusion(rate=0.6, tile=4)
"""Under which unseen images are probed too; the figure 5 of the paper has tiles of 4 pixels."""


class Encoder(nn.Module):
    """Maps images to their codes, and to a logit of being real: convolutions of 4 x 4 that halve the side, down to 4.

    Args:
        sample_shape: (C, H, W), square, with a side of 4 times a power of two, at least 8.
        filters: of the first convolution; each next one has twice as many.

    Raises:
        ValueError: for other shapes.
    """

    def __init__(self, sample_shape: Sequence[int], filters: int, latent_dim: int):
        super().__init__()
        channels = _channels(sample_shape, filters)
        layers: list[nn.Module] = []
        for into, out in zip(channels, channels[1:], strict=False):
            layers += [nn.Conv2d(into, out, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        self.trunk = nn.Sequential(*layers)
        self.code = nn.Conv2d(channels[-1], latent_dim, _COARSEST)
        self.real = nn.Conv2d(channels[-1], 1, _COARSEST)
        _small(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, H, W) images in [-1, 1] to (B, Z) codes and (B,) logits of their being real."""
        h = self.trunk(x)
        return self.code(h).flatten(1), self.real(h).flatten()


class Decoder(nn.Sequential):
    """Maps codes (B, Z) to images (B, C, H, W) in [-1, 1]: the encoder's mirror, of transposed convolutions."""

    def __init__(self, sample_shape: Sequence[int], filters: int, latent_dim: int):
        finest, *channels = _channels(sample_shape, filters)
        layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1))]
        layers += [nn.ConvTranspose2d(latent_dim, channels[-1], _COARSEST), nn.LeakyReLU(_SLOPE)]
        for into, out in zip(channels[:0:-1], channels[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(into, out, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        layers += [nn.ConvTranspose2d(channels[0], finest, 4, stride=2, padding=1), nn.Tanh()]
        super().__init__(*layers)
        _small(self)


def spread(codes: Tensor) -> Tensor:
    """How far the codes of a batch are from a standard normal distribution: a mean over dimensions.

    ``(s^2 + m^2) / 2 - log s - 1/2`` of their mean m and standard deviation s over the batch: the Kullback-Leibler
    divergence of a normal distribution with these moments.

    Args:
        codes: (B, Z), B of at least 2.
    """
    deviation, mean = torch.std_mean(codes, dim=0)
    return ((deviation.square() + mean.square()) / 2 - deviation.log() - 0.5).mean()


def wake(encoder: Encoder, decoder: nn.Module, x: Tensor, noise: Tensor, discriminate: bool) -> tuple[Tensor, Tensor]:
    """Wake: images are to be recognised as real, and encoded so that they can be reconstructed.

    Args:
        x: (B, C, H, W) real images in [-1, 1].
        noise: (B, Z), added to the codes from which images are reconstructed.
        discriminate: whether the encoder learns that they are real; of no use without dreams to compare with.

    Returns:
        The loss, and (B, Z) codes without noise, detached.
    """
    codes, real = encoder(x)
    loss = functional.mse_loss(decoder(codes + noise), x) + spread(codes)
    if discriminate:
        loss = loss + functional.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    return loss, codes.detach()


def nrem(encoder: Encoder, decoder: nn.Module, codes: Tensor, occlusion: Occlusion, rng: torch.Generator) -> Tensor:
    """Perturbed dreaming: what is replayed is occluded, and the encoder alone learns to recover its codes."""
    with torch.no_grad():
        replayed = decoder(codes)
        occluded, _ = occlusion(replayed, codes, rng)
    return functional.mse_loss(encoder(occluded)[0], codes)


def rem(encoder: Encoder, decoder: nn.Module, codes: Tensor) -> Tensor:
    """Adversarial dreaming: the encoder learns to distinguish dreams from real images, the decoder to prevent it.

    Both learn by one loss, whose gradient changes its sign on the way to the decoder.
    """
    _, real = encoder(_Reversed.apply(decoder(codes)))
    return functional.binary_cross_entropy_with_logits(real, torch.zeros_like(real))


def combined(codes: Tensor, earlier: Tensor, noise: Tensor) -> Tensor:
    """The codes of REM: half the mean of two memories, half noise; all are (B, Z)."""
    return (codes + earlier) / 4 + noise / 2


def gradient_probe(codes: Tensor, y: Tensor, batch_size: int, rng: torch.Generator) -> nn.Linear:
    """A linear classifier of codes as they are, trained by cross-entropy and plain gradient descent.

    Twenty epochs at a learning rate of 0.2, as in ``fig4_linear_classif.py`` of the official code. What it has learnt
    by then depends on the scale of the codes: gradients shrink with them, and the learning rate is fixed.

    Args:
        batch_size: of a step, at most N.
    """
    reader = nn.utils.skip_init(nn.Linear, codes.shape[1], int(y.max()) + 1)
    bound = codes.shape[1] ** -0.5  # torch's own first weights
    for weight in reader.parameters():
        nn.init.uniform_(weight, -bound, bound, generator=rng)
    optimizer = torch.optim.SGD(reader.parameters(), lr=_PROBE_LR, fused=True)
    with torch.enable_grad():
        for index in islice(_batches(len(y), batch_size, rng), _PROBE_EPOCHS * (len(y) // batch_size)):
            optimizer.zero_grad()
            functional.cross_entropy(reader(codes[index]), y[index]).backward()
            optimizer.step()
    return reader


@dataclass(eq=False)
class PerturbedAdversarialDreaming(Experiment):
    """An encoder learns images without labels, in turns awake, in NREM and in REM; its codes are then probed.

    Each phase is one optimiser step, and a turn takes one of each that there is, about the same batch of images. All
    arms take the same number of steps: what a missing phase would have taken, further turns take, so that an arm which
    sleeps less sees more real images.

    Args:
        stream: where real data come from: ``name`` of a stream of square images, and its options; one experience.
        phases: of a turn; ``wake`` is the first.
        samples: images to learn from, drawn by the seed from the training data; None takes all.
        steps: of the optimiser, all phases together.
        filters: of the first convolution. PAD: 64.
        latent_dim: numbers of a code. PAD: 256.
        latent_noise: standard deviation of what is added to codes awake. PAD: 0, and where there is no REM 0.7.
        nrem_weight: of the loss in NREM. PAD: 1, and where there is no REM 0.5.
        batch_size: images of a turn. PAD: 64.
        lr: of Adam, with a first beta of 0.5. PAD: 0.0002.
        looks: how often codes are probed on the way, the end included.
        evaluate: what codes are probed with: ``test``, or held-out ``validation`` data while settings are being chosen.

    Raises:
        ValueError: when a number is below its least, or phases do not begin with ``wake`` or come twice.
    """

    measures = {
        "accuracy": Measure(
            "linear probe",
            "larger",
            fraction=True,
            hint="Accuracy on unseen real images of a linear classifier by least squares (ridge regression), which "
            "learnt the standardised codes of those images that the encoder learnt from.",
        ),
        "occluded": Measure(
            "probe under occlusion",
            "larger",
            fraction=True,
            hint="The same when up to 60 % of the tiles of unseen images are missing, as in none that it learnt from.",
        ),
        "published": Measure(
            "probe as published",
            "larger",
            fraction=True,
            hint="The same of a linear classifier by twenty epochs of gradient descent on codes as they are.",
        ),
        "rescaled": Measure(
            "probe as published, codes rescaled",
            "larger",
            fraction=True,
            hint="The same on codes divided by one number, their standard deviation over all dimensions and images.",
        ),
        "scale": Measure(
            "scale of codes", "larger", hint="Standard deviation of the codes of training images, over all dimensions."
        ),
        "error": Measure(
            "reconstruction error", "smaller", hint="Mean squared, of unseen real images, pixels in [-1, 1]."
        ),
    }
    axis = "step"
    pictured = (
        "A row per class, in groups of columns unseen real images, what the decoder makes of their codes, the same "
        "occluded as in NREM, and dreams of REM about them."
    )

    stream: Mapping[str, Any]
    phases: Sequence[Phase] = ("wake", "nrem", "rem")
    samples: int | None = None
    steps: int = 1000
    filters: int = 64
    latent_dim: int = 256
    latent_noise: float = 0.0
    nrem_weight: float = 1.0
    batch_size: int = 64
    lr: float = 0.0002
    looks: int = 5
    evaluate: HeldOut = "test"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, filters=self.filters, latent_dim=self.latent_dim, looks=self.looks)
        at_least(2, batch_size=self.batch_size)
        if not self.phases or self.phases[0] != "wake" or len(set(self.phases)) < len(self.phases):
            raise ValueError(f"expected phases that begin with wake, each once, got {list(self.phases)}")
        at_least(0, latent_noise=self.latent_noise, nrem_weight=self.nrem_weight)
        streams.resolve(str(self.stream.get("name")))

    def run(self, seed: int, folder: Path) -> CellResult:
        """Train turn after turn; probe the codes on the way and at the end."""
        *parts, classes = real_data(self.stream, seed, self.samples, self.evaluate)
        seen, unseen = (_centred(tensors(part)) for part in parts[1:])
        if len(seen.y) < self.batch_size:
            raise ValueError(f"expected at least one batch of {self.batch_size} images, got {len(seen.y)}")
        shape: dict[str, Any] = {
            "sample_shape": tuple(seen.x.shape[1:]),
            "filters": self.filters,
            "latent_dim": self.latent_dim,
        }
        encoder = initialise(partial(Encoder, **shape), seed, 1)
        decoder = initialise(partial(Decoder, **shape), seed, 2)
        places = [round(self.steps * look / self.looks) for look in range(self.looks + 1)]
        rows = []
        for step in self._train(encoder, decoder, seen.x, seed):
            if step in places:
                rows.append(self._evaluate(encoder, decoder, seen, unseen, seed))
        curves: dict[str, list[float | None]] = {name: [row[name] for row in rows] for name in self.measures}
        result: CellResult = {
            "outcomes": rows[-1],
            "curves": {self.axis: [float(step) for step in dict.fromkeys(places)], **curves},
        }
        picture = write_gallery(self._pictures(encoder, decoder, unseen, seed), classes, folder)
        return result if picture is None else {**result, "picture": picture}

    def _train(self, encoder: Encoder, decoder: Decoder, x: Tensor, seed: int) -> Iterator[int]:
        """Learn; yields the number of steps taken, before the first and after each."""
        optimizer = torch.optim.Adam(
            [*encoder.parameters(), *decoder.parameters()], lr=self.lr, betas=(0.5, 0.999), fused=True
        )
        batches = _batches(len(x), self.batch_size, randoms(seed, Purpose.ORDER))
        dreaming, perturbing = randoms(seed, Purpose.DREAM), randoms(seed, Purpose.PERTURB)
        codes = earlier = torch.zeros(0)
        yield 0
        for step in range(self.steps):
            turn, place = divmod(step, len(self.phases))
            phase = self.phases[place]
            if phase == "wake":
                noise = self.latent_noise * torch.randn(self.batch_size, self.latent_dim, generator=dreaming)
                earlier = codes
                loss, codes = wake(encoder, decoder, x[next(batches)], noise, discriminate="rem" in self.phases)
            elif phase == "nrem":
                loss = self.nrem_weight * nrem(encoder, decoder, codes, _occlusion(x), perturbing)
            else:
                noise = torch.randn(self.batch_size, self.latent_dim, generator=dreaming)
                loss = rem(encoder, decoder, combined(codes, earlier if turn else codes, noise))
            # weights that a phase does not train have no gradient, and Adam leaves them and their averages alone
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield step + 1

    @torch.no_grad()
    def _evaluate(
        self, encoder: nn.Module, decoder: nn.Module, seen: Batch, unseen: Batch, seed: int
    ) -> dict[str, float | None]:
        """All measures."""
        occluded, _ = _OCCLUDED(unseen.x, unseen.y, randoms(seed, Purpose.EVALUATION))
        trained, tested, hidden = (_codes(encoder, x) for x in (seen.x, unseen.x, occluded))
        reader = make_pipeline(StandardScaler(), RidgeClassifier()).fit(trained.numpy(), seen.y.numpy())
        scale = trained.std()
        published, rescaled = (
            gradient_probe(codes, seen.y, self.batch_size, randoms(seed, Purpose.EVALUATION, 1))
            for codes in (trained, trained / scale)
        )
        error = sum(
            float(functional.mse_loss(decoder(codes), x, reduction="sum"))
            for codes, x in zip(tested.split(_BATCH), unseen.x.split(_BATCH), strict=True)
        )
        return {
            "accuracy": float(reader.score(tested.numpy(), unseen.y.numpy())),
            "occluded": float(reader.score(hidden.numpy(), unseen.y.numpy())),
            "published": accuracy(published(tested).argmax(dim=1), unseen.y),
            "rescaled": accuracy(rescaled(tested / scale).argmax(dim=1), unseen.y),
            "scale": float(scale),
            "error": error / unseen.x.numel(),
        }

    @torch.no_grad()
    def _pictures(self, encoder: nn.Module, decoder: nn.Module, unseen: Batch, seed: int) -> list[Batch]:
        """Some unseen images and what becomes of them, with pixels in [0, 1]."""
        rng = randoms(seed, Purpose.GALLERY)
        chosen = torch.randperm(len(unseen.y), generator=rng)[: 2 * _BATCH]  # of all classes, however they are ordered
        x, y = unseen.x[chosen], unseen.y[chosen]
        codes = _codes(encoder, x)
        others = codes[torch.randperm(len(codes), generator=rng)]
        replayed = decoder(codes)
        occluded, _ = _occlusion(x)(replayed, y, rng)
        dreamt = decoder(combined(codes, others, torch.randn(codes.shape, generator=rng)))
        return [Batch((images + 1) / 2, y) for images in (x, replayed, occluded, dreamt)]


class _Reversed(torch.autograd.Function):
    """Passes values on as they are, and gradients with the other sign (Ganin and Lempitsky 2015, arXiv 1409.7495)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


def _channels(sample_shape: Sequence[int], filters: int) -> list[int]:
    """From the finest to the coarsest."""
    height, width = sample_shape[1:] if len(sample_shape) == 3 else (0, 0)
    halvings = max(1, (height // _COARSEST).bit_length() - 1)
    if height != width or height != _COARSEST << halvings:
        raise ValueError(
            f"expected square images with a side of 8, 16, 32 ... pixels, got samples of shape {tuple(sample_shape)}"
        )
    return [sample_shape[0], *(filters << number for number in range(halvings))]


def _small(network: nn.Module) -> None:
    for name, weight in network.named_parameters():
        if name.endswith("weight"):
            nn.init.normal_(weight, 0.0, _WEIGHT)


def _occlusion(x: Tensor) -> Occlusion:
    """Tiles of up to a quarter of the side of (N, C, H, W) images, any fraction of them: 8 of 32 pixels, as in PAD."""
    return Occlusion(rate=1.0, tile=x.shape[-1] // 4)


def _centred(samples: Batch) -> Batch:
    """Pixels in [-1, 1] instead of [0, 1]."""
    return Batch(samples.x * 2 - 1, samples.y)


def _batches(count: int, size: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Positions of whole batches, epoch after epoch, each in a new order."""
    while True:
        yield from torch.randperm(count, generator=rng)[: count // size * size].split(size)


def _codes(encoder: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([encoder(part)[0] for part in x.split(_BATCH)])

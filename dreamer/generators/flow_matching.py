"""Flow matching: noise flows along straight lines to samples of a class."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators._denoisers import FlatDenoiser, UNet
from dreamer.generators._precision import in_float32
from dreamer.generators._span import Span
from dreamer.generators.base import Distilled, Generator, GeneratorSnapshot, Store

_END = 0.05


class FlowMatching(Generator):
    """A network learns the velocity with which noise turns into samples of a class; a dream follows it in few steps.

    Conditional flow matching (Lipman et al. 2023, arXiv 2210.02747, eq. 23 with ``sigma_min = 0``) with independent
    pairs of noise and sample (Tong et al. 2024, arXiv 2302.00482, section 3.2.2), which is the first rectified flow
    (Liu et al. 2023, arXiv 2209.03003, eq. 1): at time t the network sees ``(1 - t) noise + t x``, and the squared
    error of its velocity against ``x - noise`` is the loss. What the network puts out is the sample that it expects;
    its velocity is the way there over the time that is left, which spares a narrow network from carrying the noise
    through (Li and He 2025, arXiv 2511.13720, section 4). A dusk keeps the network. With ``continual="distil"`` the
    network learns the velocities of its frozen copy, wherever noise is on its way to a dream of the copy, instead of
    the way to that dream (generative distillation, Masip et al. 2024, arXiv 2311.14028).

    Args:
        net: ``mlp`` for samples of any shape, ``unet`` for images (better, and far slower on a CPU).
        hidden: widths of the MLP.
        channels: of the U-Net, from fine to coarse, multiples of 4; the side halves between them.
        times: mean and standard deviation of a normal number whose sigmoid is t; None draws t uniformly, as Lipman et
            al. do. (-0.8, 0.8), of Li and He, looks more often at noisy samples, where the class is decided.
        steps: of the solver, equally long; each costs one pass of the network (``heun``: two, but for the last).
        solver: ``euler`` or ``heun``, whose error falls with the square of the step. Heun, with Euler in the last step,
            is that of Karras et al. (2022, arXiv 2206.00364, algorithm 1), 15 passes as in our 8 steps among theirs.
        span: lowest and highest value of a sample's elements, where dreams end; None where they have no bounds.
        temperature: scale of the noise when dreaming; 1 as in training.

    Raises:
        ValueError: for less than one step, no layers, or samples that the U-Net cannot make.

    >>> generator, rng = FlowMatching((3,), 2, hidden=(8,), span=None), torch.Generator().manual_seed(0)
    >>> generator.end_experience([Batch(torch.rand(20, 3), torch.arange(20) % 2)], 0, rng)
    >>> generator.dream(torch.tensor([0, 1, 1]), rng).x.shape
    torch.Size([3, 3])
    """

    spaces = frozenset({"noise"})

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        net: Literal["mlp", "unet"] = "mlp",
        hidden: Sequence[int] = (512, 512, 512),
        channels: Sequence[int] = (16, 32, 64),
        times: Sequence[float] | None = (-0.8, 0.8),
        steps: int = 8,
        solver: Literal["euler", "heun"] = "heun",
        span: Sequence[float] | None = (0.0, 1.0),
        temperature: float = 1.0,
        store: Store = "float16",
        continual: Distilled = "grow",
    ):
        super().__init__(sample_shape, num_classes, continual, store)
        if steps < 1:
            raise ValueError(f"expected at least 1 step, got {steps}")
        if not hidden or not channels:
            raise ValueError(
                f"expected hidden and channels of at least one layer, got {list(hidden)} and {list(channels)}"
            )
        self.times = None if times is None else tuple(times)
        self.steps = steps
        self.solver = solver
        self.span = Span(span)
        self.bounds = None if span is None else (span[0], span[1])
        at_least(0, temperature=temperature)
        self.temperature = temperature
        self.denoiser: nn.Module = (
            FlatDenoiser(self.sample_shape, num_classes, hidden)
            if net == "mlp"
            else UNet(self.sample_shape, num_classes, channels)
        )

    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor:
        x = self.span.enter(seen.x)
        noise, on_way, t = self._on_way(x, rng)
        p = functional.one_hot(seen.groups, self.num_classes).to(x.dtype)
        return functional.mse_loss(_velocity(self.denoiser(on_way, t, p), on_way, t), x - noise)

    def agreement(self, snapshot: GeneratorSnapshot, y: Tensor, rng: torch.Generator) -> Tensor:
        assert isinstance(snapshot, _Flow)
        p = functional.one_hot(y, self.num_classes).to(torch.float32)
        with torch.no_grad():
            x = self.span.enter(snapshot.sample(y, p, rng, Perturbations())[0])
            _, on_way, t = self._on_way(x, rng)
            wanted = _velocity(in_float32(snapshot.denoiser, on_way, t, p), on_way, t)
        return functional.mse_loss(_velocity(self.denoiser(on_way, t, p), on_way, t), wanted)

    def _on_way(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noise for (B, *S) samples, where it is on its way to them, and the (B,) times."""
        t = self._times(len(x), rng)
        noise = torch.randn(x.shape, generator=rng, device=x.device)
        return noise, torch.lerp(noise, x, _along(t, x)), t

    def _times(self, count: int, rng: torch.Generator) -> Tensor:
        if self.times is None:
            return torch.rand(count, generator=rng, device=rng.device)
        mean, std = self.times
        return torch.sigmoid(mean + std * torch.randn(count, generator=rng, device=rng.device))

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Flow(self, classes)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        """Nothing is measured: a new snapshot has the network."""


class _Flow(GeneratorSnapshot):
    """A frozen network, followed from noise to samples."""

    def __init__(self, flow: FlowMatching, classes: Tensor):
        super().__init__(classes)
        self.denoiser = copy.deepcopy(flow.denoiser)
        self.sample_shape = flow.sample_shape
        self.steps = flow.steps
        self.solver = flow.solver
        self.temperature = flow.temperature
        self.span = flow.span

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(y), math.prod(self.sample_shape), generator=rng, device=y.device)
        if perturbations.noise is not None:
            noise, p = perturbations.noise(noise, p, rng)
        x = self.temperature * noise.view(-1, *self.sample_shape)
        for step in range(self.steps):
            x = self._onward(x, p, step)
        return self.span.leave(x), p

    def _onward(self, x: Tensor, p: Tensor, step: int) -> Tensor:
        """One step of the solver."""
        here = self._velocity(x, p, step)
        # at the end of the last step the velocity is not defined
        if self.solver == "euler" or step == self.steps - 1:
            return x + here / self.steps
        there = self._velocity(x + here / self.steps, p, step + 1)
        return x + (here + there) / (2 * self.steps)

    def _velocity(self, x: Tensor, p: Tensor, step: int) -> Tensor:
        t = torch.full((len(x),), step / self.steps, device=x.device)
        return _velocity(in_float32(self.denoiser, x, t, p), x, t)


def _velocity(clean: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Where (B, *S) ``x``, at the (B,) times, is heading, given the sample that it will be."""
    return (clean - x) / (1 - _along(t, x)).clamp_min(_END)


def _along(t: Tensor, x: Tensor) -> Tensor:
    return t.view(-1, *[1] * (x.ndim - 1))

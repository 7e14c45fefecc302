"""A moving average of the learner's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.types import Kind
from dreamer.networks.base import Frozen
from dreamer.plasticity.base import Plasticity


class MovingAverage(Plasticity):
    """The exponential moving average of the learner's weights.

    A semantic memory of CLS-ER (Arani et al. 2022, arXiv 2201.12604; ``models/clser.py`` of NeurAI-Lab/CLS-ER). After a
    step, with probability ``rate``, ``average = a * average + (1 - a) * learner`` with
    ``a = min(1 - 1 / (t + 1), decay)``, where t counts all steps of the run, this one included: an average over few
    steps forgets the initial weights quickly. It follows the learner asleep as well as awake.

    CLS-ER keeps two: a plastic one, which follows quickly, and a stable one, which follows more rarely; the one that is
    surer of a replayed sample teaches. Statistics of batch normalisation are copied at every update; the official code
    leaves each copy to gather its own.

    Args:
        rate: probability of an update after a step, in (0, 1]; 0.9 is the stable model's on Split MNIST with 500 stored
            samples in ``utils/best_args.py`` of the official code, which gives the plastic model 1.
        decay: what is left of the average at an update, in [0, 1); 0.99 for both models there (0.999 on CIFAR-10).

    Raises:
        ValueError: when ``rate`` or ``decay`` is out of its range.
    """

    steps: Tensor

    @checked
    def __init__(self, rate: float = 0.9, decay: float = 0.99):
        super().__init__()
        if not 0 < rate <= 1:
            raise ValueError(f"expected a rate in (0, 1], got {rate}")
        if not 0 <= decay < 1:
            raise ValueError(f"expected a decay in [0, 1), got {decay}")
        self.rate = rate
        self.decay = decay
        self.follower: Frozen | None = None

    def prepare(self, network: nn.Module) -> None:
        self.follower = Frozen(network)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def after_step(self, network: nn.Module, kind: Kind, rng: torch.Generator) -> None:
        assert self.follower is not None
        self.steps += 1
        # always one number, so that parts that draw after this one draw the same whatever its rate
        if float(torch.rand((), generator=rng)) >= self.rate:
            return
        # 1 - a, kept on the device: reading its value would make a GPU wait at every step
        update = (1 / (self.steps + 1)).clamp(min=1 - self.decay)
        for average, weight in zip(self.follower.network.parameters(), network.parameters(), strict=True):
            average.lerp_(weight, update.to(average.dtype))
        for kept, statistic in zip(self.follower.network.buffers(), network.buffers(), strict=True):
            kept.copy_(statistic)

    @property
    def average(self) -> nn.Module | None:
        return self.follower

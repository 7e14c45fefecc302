"""Synaptic downscaling: sleep scales down weights that grew while awake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.types import Kind
from dreamer.plasticity.base import Plasticity, synapses


class Downscaling(Plasticity):
    """Scale every neuron's incoming weights down in sleep, until their norm is what it was at dawn.

    The synaptic homeostasis hypothesis: learning makes synapses grow on balance, and slow-wave sleep renormalises them,
    at best the weakest first (Tononi and Cirelli 2006, doi 10.1016/j.smrv.2005.05.002; 2014, "Sleep and the price of
    plasticity", doi 10.1016/j.neuron.2013.12.025). After every step of such sleep each neuron whose incoming weights
    have a larger Euclidean norm than at dawn gets them multiplied by ``1 - rate``, or by the factor that just reaches
    that norm.

    Plain decay in every night would end in a silent network, and one factor for all would change little but the
    learner's confidence. So the norm at dawn is the floor, and every neuron has its own: relative strengths within a
    neuron stay, while neurons that grew more than others fall back, the outputs of the new classes first of all.
    Neurons that lost strength get nothing back. Biases and other weights with one dimension do not change.

    Args:
        rate: largest fraction that a weight loses in a step, in [0, 1); 0.001 takes at most 18 % in 200 steps.
        protect: fraction of each neuron's strongest weights that lose nothing, in [0, 1); the weaker ones then lose
            more.
        during: the kind of sleep; ``nrem`` is where the hypothesis places it, ``both`` adds ``rem``.

    Raises:
        ValueError: when ``rate`` or ``protect`` is out of its range.
    """

    @checked
    def __init__(self, rate: float = 0.001, protect: float = 0.0, during: Literal["nrem", "rem", "both"] = "nrem"):
        super().__init__()
        for name, fraction in {"rate": rate, "protect": protect}.items():
            if not 0 <= fraction < 1:
                raise ValueError(f"expected {name} in [0, 1), got {fraction}")
        self.rate = rate
        self.protect = protect
        self.during = during

    def prepare(self, network: nn.Module) -> None:
        for name, weight in _weights(network):
            self.register_buffer(f"norm__{name}", weight.detach().flatten(1).norm(dim=1))

    @torch.no_grad()
    def dawn(self, network: nn.Module) -> None:
        for name, weight in _weights(network):
            self.get_buffer(f"norm__{name}").copy_(weight.flatten(1).norm(dim=1))

    @torch.no_grad()
    def after_step(self, network: nn.Module, kind: Kind, rng: torch.Generator) -> None:
        if kind == "wake" or self.during not in (kind, "both"):
            return
        for name, weight in _weights(network):
            rows = weight.flatten(1)
            spared = self._spared(rows)
            square = rows.square()
            held = square.where(spared, 0).sum(dim=1)
            loose = (square.sum(dim=1) - held).clamp(min=torch.finfo(rows.dtype).tiny)
            allowed = (self.get_buffer(f"norm__{name}").square() - held).clamp(min=0)
            factor = (allowed / loose).sqrt().clamp(1 - self.rate, 1)
            weight.copy_(rows.where(spared, rows * factor[:, None]).view_as(weight))

    def _spared(self, rows: Tensor) -> Tensor:
        """(out, in) bool, the strongest weights of each row."""
        spared = torch.zeros_like(rows, dtype=torch.bool)
        count = int(self.protect * rows.shape[1])
        if count:
            spared.scatter_(1, rows.abs().topk(count, dim=1).indices, True)
        return spared


def _weights(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters of which each row along the first dimension enters one neuron."""
    return ((name, parameter) for name, parameter in synapses(network) if parameter.ndim > 1)

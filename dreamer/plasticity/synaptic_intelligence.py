"""Synaptic intelligence: a penalty holds weights that mattered for earlier experiences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import above, at_least
from dreamer.core.types import Kind
from dreamer.plasticity.base import Plasticity, synapses


class SynapticIntelligence(Plasticity):
    """Penalise the change of a weight by how much it has lowered the loss so far.

    Synaptic intelligence (Zenke et al. 2017, arXiv 1703.04200). Awake, every weight adds up its contribution to the
    fall of the loss, ``w -= gradient * change``, after every step (eq. 3). At dusk its importance grows by
    ``w / (D^2 + epsilon)``, where D is how far it moved since dawn, or since it last slept (eq. 5), and the penalty
    ``c * sum importance * (weight - reference)^2`` (eq. 4) holds it to where it then is.

    As van de Ven et al. (2020) use it (``models/cl/continual_learner.py``, ``train.py`` of
    GMvandeVen/brain-inspired-replay): gradients are those of the whole loss, replay and penalty among it, and an
    importance may be negative. Zenke et al. take the gradients without the penalty and cut negative importance off
    (``pathint/protocols.py`` of ganguli-lab/pathint).

    It is inactive in sleep: there is no penalty, nothing is added up, and the reference follows the weights. Dreams
    already stand for earlier experiences, and what is held during the next experience is the learner after the night.

    Args:
        c: strength of the penalty; 0.1 is van de Ven et al.'s for class-incremental Split MNIST, found by grid search
            (task-incremental: 10; permuted MNIST: 10; CIFAR-100: 1, with brain-inspired replay 1e8).
        epsilon: keeps the importance of weights that hardly moved within bounds, in squared weights, above 0; 0.1 in
            both codes.

    Raises:
        ValueError: when ``c`` is negative or ``epsilon`` not positive.
    """

    @checked
    def __init__(self, c: float = 0.1, epsilon: float = 0.1):
        super().__init__()
        at_least(0, c=c)
        above(0, epsilon=epsilon)
        self.c = c
        self.epsilon = epsilon

    def prepare(self, network: nn.Module) -> None:
        for name, weight in synapses(network):
            self.register_buffer(f"importance__{name}", torch.zeros_like(weight, requires_grad=False))
            self.register_buffer(f"path__{name}", torch.zeros_like(weight, requires_grad=False))
            self.register_buffer(f"reference__{name}", weight.detach().clone())
            self.register_buffer(f"before__{name}", weight.detach().clone())

    def dawn(self, network: nn.Module) -> None:
        self._move_reference(network)

    def penalty(self, network: nn.Module, kind: Kind) -> Tensor | None:
        if kind != "wake":
            return None
        terms = [
            (self.get_buffer(f"importance__{name}") * (weight - self.get_buffer(f"reference__{name}")).square()).sum()
            for name, weight in synapses(network)
        ]
        return self.c * torch.stack(terms).sum() if terms else None

    @torch.no_grad()
    def after_step(self, network: nn.Module, kind: Kind, rng: torch.Generator) -> None:
        if kind != "wake":
            self._move_reference(network)
            return
        for name, weight in synapses(network):
            before = self.get_buffer(f"before__{name}")
            if weight.grad is not None:
                moved = weight - before
                # a step that mixed precision skips leaves infinite gradients, and weights that did not move
                self.get_buffer(f"path__{name}").sub_((weight.grad * moved).masked_fill(moved == 0, 0))
            before.copy_(weight)

    @torch.no_grad()
    def dusk(self, network: nn.Module) -> None:
        for name, weight in synapses(network):
            path = self.get_buffer(f"path__{name}")
            moved = weight - self.get_buffer(f"reference__{name}")
            self.get_buffer(f"importance__{name}").add_(path / (moved.square() + self.epsilon))
            path.zero_()
        self._move_reference(network)

    @torch.no_grad()
    def _move_reference(self, network: nn.Module) -> None:
        """Measure the path and the penalty from the present weights from here on."""
        for name, weight in synapses(network):
            self.get_buffer(f"reference__{name}").copy_(weight)
            self.get_buffer(f"before__{name}").copy_(weight)

"""The contract of the family, and the weights that its parts act on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dreamer.core.types import Kind
from dreamer.networks.base import module_bytes, plain_name


class Plasticity(nn.Module):
    """Follows the learner's weights through the run: penalises their change, averages them, scales them.

    Every hook does nothing by default; a part overrides those that it needs. Its state lies in buffers and submodules,
    all made in :meth:`prepare`, so it moves to the training device, is saved in checkpoints, and has a known size.
    Nothing in it is trained. Hooks may be called between any two steps, and are called again in the same order when a
    killed run is resumed.
    """

    def prepare(self, network: nn.Module) -> None:
        """Register the state, once, when the run is built."""

    def dawn(self, network: nn.Module) -> None:
        """An experience begins."""

    def penalty(self, network: nn.Module, kind: Kind) -> Tensor | None:
        """A scalar that is added to the loss of a step, or None."""
        return None

    def after_step(self, network: nn.Module, kind: Kind, rng: torch.Generator) -> None:
        """Called after an optimiser step; gradients are still there."""

    def dusk(self, network: nn.Module) -> None:
        """A wake stage has ended (an experience may have several)."""

    @property
    def average(self) -> nn.Module | None:
        """A moving average of the learner that can teach and be evaluated, or None."""
        return None

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return module_bytes(self)


def synapses(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The learner's trainable parameters, each with a name that a buffer may bear: ``trunk__1__weight``."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            yield plain_name(name).replace(".", "__"), parameter

"""The contract of the family, and what its parts go over."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dreamer.core.types import Kind
from dreamer.networks.base import module_bytes, plain_name


class Plasticity(nn.Module):
    """Follows the learner's weights through the life: penalises their change, averages them, scales them.

    Every hook does nothing by default; a part overrides those that it is about. Its state lies in buffers and
    submodules, all made in :meth:`prepare`, so it moves to the training device, is saved with the life, and has a known
    size. Nothing in it is trained. Hooks may be called between any two steps, and are called again in the same order
    when a killed life is lived on.
    """

    def prepare(self, network: nn.Module) -> None:
        """Make room for the state, once, when the life is built.

        Args:
            network: the learner, newborn.
        """

    def dawn(self, network: nn.Module) -> None:
        """An experience begins."""

    def penalty(self, network: nn.Module, kind: Kind) -> Tensor | None:
        """A scalar that is added to the loss of a step, or None.

        Args:
            network: the learner.
            kind: of the stage.
        """
        return None

    def after_step(self, network: nn.Module, kind: Kind, rng: torch.Generator) -> None:
        """The optimiser has made a step; gradients are still there.

        Args:
            network: the learner; its weights may be changed in place, without gradients.
            kind: of the stage.
            rng: generator on the CPU, seeded by the place of the step.
        """

    def dusk(self, network: nn.Module) -> None:
        """A stretch of wake has ended (an experience may have several)."""

    @property
    def average(self) -> nn.Module | None:
        """A moving copy of the learner that can teach and be examined, or None."""
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

"""Wake without gradients: every sample goes into the learner's statistics, once."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dreamer.core.arguments import checked
from dreamer.core.types import Losses, SleepContext, Step
from dreamer.stages.wake import Wake


class Absorb(Wake):
    """Pass every real sample of the experience to the learner's ``absorb(x, y)``, in one pass; nothing is replayed.

    For learners whose output has a closed form in statistics of what they have seen, such as
    :class:`dreamer.networks.random_fourier_lda.RandomFourierLDA` (Prabhu et al. 2024, arXiv 2402.08823). Statistics are
    not gathered across processes: such a run needs one device.

    Args:
        batch_size: real samples per step (per device). It does not change what is learnt; with larger batches the
            statistics are updated less often.

    Raises:
        ValueError: when ``batch_size`` is not positive.
    """

    by_gradient = False

    @checked
    def __init__(self, batch_size: int = 512):
        super().__init__(batch_size=batch_size, objectives=())

    def check(self, network: nn.Module) -> None:
        """Raise a ValueError when a learner cannot absorb."""
        if not callable(getattr(network, "absorb", None)):
            raise ValueError(
                "wake: Absorb expects a network with the method absorb(x, y), as random_fourier_lda has it, "
                f"got {type(network).__name__}"
            )

    def losses(self, context: SleepContext, step: Step, rng: torch.Generator) -> Losses:
        """Let the learner absorb the real batch; there is no loss to differentiate."""
        assert step.real is not None
        self.check(context.network)
        absorb: Any = context.network.absorb
        absorb(step.real.x, step.real.y)
        return Losses.of()

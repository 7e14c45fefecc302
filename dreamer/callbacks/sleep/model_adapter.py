"""A user's own module as a night needs it: samples in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.modes import evaluating

Logits = Callable[[Any, Tensor], Tensor]


def forward_logits(module: Any, x: Tensor) -> Tensor:
    """What the module's own ``forward`` gives for (B, *S) samples."""
    logits: Tensor = module(x)
    return logits


class ModelAdapter(nn.Module):
    """Calls a module for logits, in the Trainer's precision.

    Args:
        logits: maps the module and (B, *S) samples to (B, K) logits.
        rests: call it in evaluation mode and without gradients, as a teacher.
        outputs: K; a module whose outputs grow has fewer at first, and those to come are ``-inf``.
    """

    def __init__(self, module: nn.Module, logits: Logits, rests: bool = False, outputs: int = 0):
        super().__init__()
        self.module = module
        self.logits = logits
        self.rests = rests
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) to (B, K); a ``ValueError`` when ``logits`` gives something else."""
        if not self.rests:
            return self._call(x)
        with evaluating(self.module), torch.no_grad():
            return self._call(x)

    def _call(self, x: Tensor) -> Tensor:
        module: Any = self.module
        with module.trainer.precision_plugin.forward_context():
            output = self.logits(module, x.to(module.device))
        if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(x):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"logits: expected ({len(x)}, K) logits of {type(module).__name__}, got {shape}; "
                "say how to get them with logits=lambda module, x: ..."
            )
        missing = self.outputs - output.shape[1]
        return functional.pad(output, (0, missing), value=-torch.inf) if missing > 0 else output

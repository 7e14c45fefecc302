"""What classifiers in closed form have in common: logits that follow from gathered statistics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least


class ClosedForm(nn.Module, ABC):
    """Base of classifiers that absorb each sample once and solve for what their logits need when these are wanted.

    Children call :meth:`gathered` at the end of their ``absorb``.

    Args:
        num_classes: K.
    """

    needs_classes = True
    count: Tensor

    @checked
    def __init__(self, num_classes: int):
        super().__init__()
        at_least(1, num_classes=num_classes)
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))
        self._solved = False

    @abstractmethod
    def absorb(self, x: Tensor, y: Tensor) -> None:
        """Take (B, *S) samples with their (B,) int64 labels into the statistics, each of them once."""

    @abstractmethod
    def logits(self, h: Tensor) -> Tensor:
        """(B, K) logits of (B, H) features, by what was solved for last."""

    def solve(self) -> None:
        """Compute what :meth:`logits` needs; nothing where it is the statistics themselves."""

    def gathered(self, fresh: Tensor) -> None:
        """Count (K,) samples more of each class: what was solved for is outdated."""
        self.count += fresh.to(self.count.dtype)
        self._solved = False

    def features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, H) features."""
        return x.flatten(1).float()

    def classify(self, h: Tensor) -> Tensor:
        """Map (B, H) features to (B, K) logits; those of classes that were never absorbed are the lowest number."""
        if not self._solved:
            with torch.no_grad():
                self.solve()
            self._solved = True
        # half precision would leave nothing of what differs little
        with torch.autocast(h.device.type, enabled=False):
            logits = self.logits(h)
        return logits.masked_fill(self.count == 0, torch.finfo(logits.dtype).min)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, K) logits."""
        return self.classify(self.features(x))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        self._solved = False
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

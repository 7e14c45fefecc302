"""What a SleepCallback prints: its plan at the start, and what each night has changed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from dreamer.callbacks.sleep.batch_fields import BatchFields
from dreamer.callbacks.sleep.model_adapter import Logits, ModelAdapter

_BATCHES = 20
"""Batches of validation data that are looked at."""


class NightReport:
    """Prints lines through Lightning's logger, on the first process alone; training comes out the same.

    Args:
        trainer: whose validation data, if it has any, are looked at before and after a night.
        module: what is trained.
    """

    def __init__(self, trainer: Any, module: Any, fields: BatchFields, logits: Logits):
        self.trainer = trainer
        self.fields = fields
        self._model = ModelAdapter(module, logits, rests=True)
        self._before: float | None = None

    def plan(self, nights: list[bool | None], each: list[int], kinds: Sequence[str], day: int | None) -> None:
        """Say which nights come, and how many steps they add.

        Args:
            nights: of each epoch, whether one follows; None where that is open.
            each: steps of each stage of a night.
            kinds: of these stages.
            day: batches of an epoch without its night.
        """
        sure, still_open = nights.count(True), nights.count(None)
        stages = " and ".join(f"{count:,} {kind}" for kind, count in zip(kinds, each, strict=True))
        comes = f"after {sure} of {len(nights)} epochs" if sure or not still_open else ""
        if still_open:
            comes += (
                f"{', and ' if comes else ''}perhaps after {still_open} of {len(nights)} epochs, decided on the way"
            )
        batches = "an unknown number of batches" if day is None else f"{len(nights) * day:,} batches"
        most = (sure + still_open) * sum(each)
        adds = f"; they add {'up to ' if still_open else ''}{most:,} batches to {batches}" if most else ""
        rank_zero_info(f"SleepCallback: a night of {stages} steps comes {comes}{adds}")

    def begin(self) -> None:
        """A night begins."""
        self._before = self._accuracy()

    def end(self, night: int, steps: int) -> None:
        """A night is over."""
        after = self._accuracy()
        line = f"SleepCallback: night {night} of {steps:,} steps is over"
        if self._before is not None and after is not None:
            line += f"; accuracy on validation data {100 * self._before:.1f} % before it, {100 * after:.1f} % after it"
        rank_zero_info(line)

    def _accuracy(self) -> float | None:
        """On the first validation data; None where there are none, or no logits that could be scored."""
        loaders = self.trainer.val_dataloaders
        if not loaders or not self.trainer.is_global_zero or not self.trainer.limit_val_batches:
            return None
        loader = (
            next(iter(loaders.values() if isinstance(loaders, dict) else loaders)) if _several(loaders) else loaders
        )
        right = total = 0
        try:
            # loaders draw their seeds from torch's global generator
            with torch.random.fork_rng():
                for batch in itertools.islice(loader, _BATCHES):
                    x, y = self.fields.read(self.trainer.strategy.batch_to_device(batch, dataloader_idx=0))
                    if y.ndim != 1 or y.is_floating_point():
                        return None
                    right += int((self._model(x).argmax(dim=1) == y).sum())
                    total += len(y)
        except Exception:  # whatever a module of somebody else's raises: it was not asked for logits
            return None
        return right / total if total else None


def _several(loaders: Any) -> bool:
    return isinstance(loaders, list | tuple | dict)

"""What a SleepCallback prints: its plan at the start, and what each night has changed on validation data."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import nn

from dreamer.callbacks.sleep.batch_fields import BatchFields
from dreamer.callbacks.sleep.model_adapter import Logits, ModelAdapter
from dreamer.core.modes import evaluating

_BATCHES = 20
"""Batches of validation data that are looked at."""


class Score(Protocol):
    """Sums something up over batches of validation data.

    Attributes:
        higher_is_better: whether more of it is better.
    """

    higher_is_better: bool

    def of(self, batch: Any) -> tuple[float, int] | None:
        """The sum over a batch on the device, and over how many; None where it cannot be told."""

    def changed(self, before: float, after: float) -> str:
        """The two means in words."""


class Accuracy:
    """The fraction of samples whose largest logit is that of their label.

    Args:
        module: what is trained.
    """

    higher_is_better = True

    def __init__(self, module: Any, fields: BatchFields, logits: Logits):
        self.fields = fields
        self._model = ModelAdapter(module, logits, rests=True)

    def of(self, batch: Any) -> tuple[float, int] | None:
        """Right answers; None where targets are no labels."""
        x, y = self.fields.read(batch)
        if y.ndim != 1 or y.is_floating_point():
            return None
        return int((self._model(x).argmax(dim=1) == y).sum()), len(y)

    def changed(self, before: float, after: float) -> str:
        """In percent."""
        return f"accuracy on validation data {100 * before:.1f} % before it, {100 * after:.1f} % after it"


class TokenLoss:
    """The loss of a language model of ``transformers`` for a token, in nats.

    Args:
        module: what is trained.
        model: the language model in it.
    """

    higher_is_better = False

    def __init__(self, module: Any, model: nn.Module):
        self.module = module
        self.model = model

    def of(self, batch: Any) -> tuple[float, int] | None:
        """The loss of all tokens that have labels."""
        given = {key: batch[key] for key in ("input_ids", "attention_mask", "labels") if key in batch}
        # the first token of a text is not predicted
        count = int((batch["labels"][:, 1:] != -100).sum())
        with evaluating(self.model), torch.no_grad(), self.module.trainer.precision_plugin.forward_context():
            return float(self.model(**given).loss) * count, count

    def changed(self, before: float, after: float) -> str:
        """In nats."""
        return f"loss on validation data {before:.3f} before it, {after:.3f} after it"


class NightReport:
    """Looks at the validation data before and after a night, and prints lines through Lightning's logger.

    Training comes out the same.

    Args:
        trainer: whose validation data, if it has any, are looked at.
        score: of them.
        verbose: print on the first process; else nothing is printed.
        before: the score before the night in which a fit is resumed.
    """

    def __init__(self, trainer: Any, score: Score, verbose: bool = True, before: float | None = None):
        self.trainer = trainer
        self.score = score
        self.verbose = verbose
        self.before = before

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
        self._print(f"a night of {stages} steps comes {comes}{adds}")

    def begin(self) -> None:
        """A night begins."""
        self.before = self._mean()

    def end(self, night: int, steps: int) -> float | None:
        """A night is over; by how much it made the score worse, below 0 where it made it better."""
        before, after = self.before, self._mean()
        line = f"night {night} of {steps:,} steps is over"
        if before is None or after is None:
            self._print(line)
            return None
        self._print(f"{line}; {self.score.changed(before, after)}")
        return before - after if self.score.higher_is_better else after - before

    def rolled_back(self, night: int) -> None:
        """A night is undone."""
        self._print(f"night {night} is rolled back")

    def _print(self, line: str) -> None:
        if self.verbose:
            rank_zero_info(f"SleepCallback: {line}")

    def _mean(self) -> float | None:
        """On the first validation data; None where there are none, or nothing that could be scored."""
        loader = _first(self.trainer.val_dataloaders)
        if loader is None or not self.trainer.is_global_zero or not self.trainer.limit_val_batches:
            return None
        whole, total = 0.0, 0
        try:
            # loaders draw their seeds from torch's global generator
            with torch.random.fork_rng():
                for batch in itertools.islice(loader, _BATCHES):
                    found = self.score.of(self.trainer.strategy.batch_to_device(batch, dataloader_idx=0))
                    if found is None:
                        return None
                    whole, total = whole + found[0], total + found[1]
        except Exception:  # whatever a module of somebody else's raises: it was not asked for logits
            return None
        return whole / total if total else None


def _first(loaders: Any) -> Any:
    """The first of several loaders, or the only one, whose length may be unknown; None without any."""
    several = loaders.values() if isinstance(loaders, dict) else loaders
    return next(iter(several), None) if isinstance(loaders, list | tuple | dict) else loaders

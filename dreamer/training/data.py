"""The stream as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from dreamer.core.types import Batch, Step
from dreamer.streams.base import Experience, Samples, Stream

if TYPE_CHECKING:
    from dreamer.loop.batches import StageLoader
    from dreamer.training.module import WakeSleepModule


class StreamDataModule(pl.LightningDataModule):
    """Gives the Trainer the current stage's loader, and one evaluation loader per experience.

    Args:
        stream: what the life will meet.
        examination_batch: samples per batch when the network is examined.
        resident: keep the experiences on the training device; switch it off for streams that do not fit there.
    """

    def __init__(self, stream: Stream, examination_batch: int = 1000, resident: bool = True):
        super().__init__()
        self.stream = stream
        self.examination_batch = examination_batch
        self.resident = resident
        self._moved: dict[tuple[int, str], Samples] = {}
        self._validation_limit: float | None = None

    def setup(self, stage: str) -> None:
        """Ask the Trainer for a new loader with every stage, and leave examinations to the module.

        Raises:
            ValueError: when the Trainer was told to reload more rarely.
        """
        if stage != "fit" or self.trainer is None:
            return
        trainer: Any = self.trainer
        if trainer.reload_dataloaders_every_n_epochs > 1:
            raise ValueError(
                "a life needs Trainer(reload_dataloaders_every_n_epochs=1), because every epoch is one stage; "
                f"got {trainer.reload_dataloaders_every_n_epochs}"
            )
        trainer.reload_dataloaders_every_n_epochs = 1
        # the module examines itself after each wake and each night, so the Trainer's own validation loop rests
        self._validation_limit = self.trainer.limit_val_batches
        self.trainer.limit_val_batches = 0

    def teardown(self, stage: str) -> None:
        """Give the Trainer its validation loop back."""
        if self._validation_limit is not None and self.trainer is not None:
            self.trainer.limit_val_batches, self._validation_limit = self._validation_limit, None

    def on_exception(self, exception: BaseException) -> None:
        """The same when a fit ends badly."""
        self.teardown("fit")

    @property
    def validation_limit(self) -> float | None:
        """The Trainer's ``limit_val_batches`` as the user set it."""
        return 1.0 if self._validation_limit is None else self._validation_limit

    def experience(self, index: int, device: torch.device | str) -> Experience:
        """An experience, moved to the device once when it may stay there."""
        experience = self.stream.experiences[index]
        if not self.resident:
            return experience
        held = experience.validation
        return replace(
            experience,
            train=self._at(experience.train, device),
            test=self._at(experience.test, device),
            validation=None if held is None else self._at(held, device),
        )

    def _at(self, samples: Samples, device: torch.device | str) -> Samples:
        """Samples on a device; what several experiences share is moved once."""
        key = (id(samples), str(device))
        if key not in self._moved:
            self._moved[key] = samples.to(device)
        return self._moved[key]

    def examination(self, samples: Samples, limit: float | None = 1.0) -> ExaminationLoader:
        """A loader over all samples in order, cut to a Lightning limit (a share, or a number of batches)."""
        batches = -(-len(samples) // self.examination_batch)
        if limit is not None:
            batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        return ExaminationLoader(samples, self.examination_batch, batches)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Steps are drawn on the training device; only samples that cannot live there travel."""
        if isinstance(batch, Step):
            present = [part for part in (batch.day, batch.dream) if part is not None]
            if all(part.x.device == device for part in present):
                return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def train_dataloader(self) -> StageLoader:
        """The loader of the stage whose number is the Trainer's epoch."""
        assert self.trainer is not None
        module: WakeSleepModule = self.trainer.lightning_module  # type: ignore[assignment]
        return module.stage_loader(min(self.trainer.current_epoch, len(module.hypnogram) - 1))

    def val_dataloader(self) -> list[ExaminationLoader]:
        """One loader of held-out training data per experience, for ``trainer.validate``."""
        held = [experience.validation for experience in self.stream.experiences]
        return [self.examination(samples) for samples in held if samples is not None]

    def test_dataloader(self) -> list[ExaminationLoader]:
        """One loader of test data per experience."""
        return [self.examination(experience.test) for experience in self.stream.experiences]


class ExaminationLoader:
    """Batches of samples in order.

    Args:
        samples: what to read.
        batch_size: samples per batch.
        batches: how many batches to read from the start.
    """

    def __init__(self, samples: Samples, batch_size: int, batches: int):
        self._samples = samples
        self._batch_size = batch_size
        self._batches = batches

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        order = torch.arange(min(len(self._samples), self._batches * self._batch_size))
        return self._samples.batches(order.split(self._batch_size) if len(order) else [])

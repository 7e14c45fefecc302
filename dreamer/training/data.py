"""The stream as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.types import Batch, Stage, Step
from dreamer.loop.batches import RankInfo, local_count, seen_batches
from dreamer.loop.plan import training_samples
from dreamer.stages import Wake
from dreamer.streams.base import Experience, Samples, Stream

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule


class StreamDataModule(pl.LightningDataModule):
    """Gives the Trainer the current stage's loader, and one evaluation loader per experience.

    Args:
        stream: the experiences, in order.
        evaluation_batch: samples per batch when the network is evaluated.
        resident: keep the experiences on the training device; switch it off for streams that do not fit there.

    Raises:
        ValueError: when ``evaluation_batch`` is below 1.
    """

    @checked
    def __init__(self, stream: Stream, evaluation_batch: int = 1000, resident: bool = True):
        super().__init__()
        at_least(1, evaluation_batch=evaluation_batch)
        self.stream = stream
        self.evaluation_batch = evaluation_batch
        self.resident = resident
        self._moved: dict[tuple[int, str], Samples] = {}
        self._validation_limit: float | None = None

    def setup(self, stage: str) -> None:
        """Make the Trainer request a new loader with every stage, and leave evaluation to the module."""
        if stage != "fit" or self.trainer is None:
            return
        trainer: Any = self.trainer  # its stubs lack the attribute, which a connector sets
        if trainer.reload_dataloaders_every_n_epochs > 1:
            raise ValueError(
                "a run needs Trainer(reload_dataloaders_every_n_epochs=1), because every epoch is one stage; "
                f"got {trainer.reload_dataloaders_every_n_epochs}"
            )
        trainer.reload_dataloaders_every_n_epochs = 1
        # the module evaluates after each wake stretch and each night, so the Trainer's own validation loop rests
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

    @property
    def held_out(self) -> list[int]:
        """The experiences that have held-out training data."""
        return [experience.index for experience in self.stream.experiences if experience.validation is not None]

    def experience(self, index: int, device: torch.device | str) -> Experience:
        """An experience, moved to the device once where it may stay there."""
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

    def training_samples(self, index: int, wake: Wake, device: torch.device | str) -> Samples:
        """What the learner trains on in an experience, on the device where it may stay there."""

        def read(number: int) -> Samples:
            return self.experience(number, device).train

        return training_samples(self.stream, index, wake, read)

    def seen_batches(self, stage: Stage, wake: Wake, info: RankInfo) -> Iterator[Batch] | None:
        """What has been trained on of an experience by the end of a wake stage, on the training device.

        Args:
            info: of one process, or, with one rank, of all together.

        Returns:
            Batches; None where there are fewer samples than processes, and this one has had none.
        """
        trainer: Any = self.trainer
        samples = self.training_samples(stage.experience, wake, info.device)
        if not local_count(len(samples), info):
            return None
        batch_size = wake.batch_size * trainer.world_size // info.ranks
        dev_steps = int(trainer.fast_dev_run)
        few = wake.batch_size * dev_steps if dev_steps else None
        found = seen_batches(stage, batch_size, samples, info, few)
        return (trainer.strategy.batch_to_device(batch, info.device) for batch in found)

    def _at(self, samples: Samples, device: torch.device | str) -> Samples:
        """Samples on a device; what several experiences have in common is moved once."""
        key = (id(samples), str(device))
        if key not in self._moved:
            self._moved[key] = samples.to(device)
        return self._moved[key]

    def evaluation_loader(self, samples: Samples, limit: float | None = 1.0) -> EvaluationLoader:
        """A loader over all samples in order, cut to a Lightning limit (a fraction, or a number of batches)."""
        batches = -(-len(samples) // self.evaluation_batch)
        if limit is not None:
            batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        return EvaluationLoader(samples, self.evaluation_batch, batches)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Steps are drawn on the training device; only samples that do not fit there travel."""
        if isinstance(batch, Step):
            present = [part for part in (batch.real, batch.dream) if part is not None]
            if all(part.x.device == device for part in present):
                return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def train_dataloader(self) -> StageLoader:
        """The loader of the stage whose number is the Trainer's epoch."""
        assert self.trainer is not None
        module: WakeSleepModule = self.trainer.lightning_module  # type: ignore[assignment]
        return module.stage_loader(min(self.trainer.current_epoch, len(module.hypnogram) - 1))

    def val_dataloader(self) -> list[EvaluationLoader]:
        """One loader for each experience with held-out training data, for ``trainer.validate``."""
        held = [self.stream.experiences[index].validation for index in self.held_out]
        return [self.evaluation_loader(samples) for samples in held if samples is not None]

    def test_dataloader(self) -> list[EvaluationLoader]:
        """One loader of test data per experience."""
        return [self.evaluation_loader(experience.test) for experience in self.stream.experiences]


class EvaluationLoader:
    """Batches of samples in order."""

    def __init__(self, samples: Samples, batch_size: int, batches: int):
        self._samples = samples
        self._batch_size = batch_size
        self._batches = batches

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        order = torch.arange(min(len(self._samples), self._batches * self._batch_size))
        return self._samples.batches(order.split(self._batch_size) if len(order) else [])


class StageLoader:
    """Yields the steps of one stage, beginning where the run stands.

    Its length is known, so Lightning fetches nothing ahead: a batch is drawn after the step before it is done.

    Args:
        steps: gives the steps that are left; called for the first batch.
    """

    def __init__(self, stage: Stage, steps: Callable[[], Iterator[Step]]):
        self.stage = stage
        self._steps = steps

    def __len__(self) -> int:
        return self.stage.steps

    def __iter__(self) -> Iterator[Step]:
        # a generator: nothing is drawn before the first batch, and by then a checkpoint has been loaded
        yield from self._steps()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the position lies in the ledger. This method marks the loader as one that can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load, see :meth:`state_dict`."""

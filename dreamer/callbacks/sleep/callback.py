"""Nights for any LightningModule: the one callback that a training script needs."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dreamer.callbacks.sleep.batch_fields import BatchFields, Extras, Place, Where
from dreamer.callbacks.sleep.epochs import Epochs, SleepOptions
from dreamer.callbacks.sleep.generator_trainer import GeneratorTrainer
from dreamer.callbacks.sleep.lightning_trees import callback_bases, is_checkpoint, join_trees, keep_logger, reduced
from dreamer.callbacks.sleep.loader import with_nights
from dreamer.callbacks.sleep.model_adapter import Logits, forward_logits
from dreamer.callbacks.sleep.own_text import Copies, OwnText
from dreamer.callbacks.sleep.report import NightReport
from dreamer.callbacks.sleep.roll_back import RollBack
from dreamer.callbacks.sleep.schedule import NEVER, comes
from dreamer.callbacks.sleep.stages import DreamStage, check_parts, check_schedule, without_objectives
from dreamer.callbacks.sleep.state import SleepState
from dreamer.callbacks.sleep.text_epochs import TextEpochs
from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.generators import Generator
from dreamer.memory import ClassBalanced, Memory, Reservoir
from dreamer.schedules import Schedule
from dreamer.training.distributed import all_gather, restore
from dreamer.training.rates import check_total_steps
from dreamer.training.resume import reopen_epoch


class SleepCallback(*callback_bases()):  # type: ignore[misc]
    """Adds nights to the training of a module of your own: ``Trainer(callbacks=[SleepCallback()])``.

    An epoch is a day. Its batches are offered to a memory, and teach a generator, before anything is done to them on
    the device. Where the schedule says so, a night follows in the same epoch: batches of dreams in the structure of
    the day's, through the module's own ``training_step``. To the Trainer they are batches like any other, so steps,
    precision, clipping, accumulation, learning rates, loggers and further callbacks are its own, with automatic and
    manual optimisation. The target of a dream is its label, of a mixed one the label with the largest weight.

    Works with ``lightning.pytorch`` and ``pytorch_lightning``. Memory, generator, counters and schedule are saved with
    every checkpoint, with several devices those of all of them. Each device keeps a memory of its own samples, and the
    capacity is that of all together.

    Args:
        stages: what a night consists of; None for NREM as long as the day, but of 200 steps at least, in batches as
            large as the day's. Their objectives are left out: the module computes the loss of the dreams.
        memory: what is kept of the days; one that chooses while awake, without logits. None for 200 samples,
            class-balanced, or any 200 where ``targets`` is None. It is offered every day whole: whether a loader brings
            the same samples again is not known here.
        generator: what makes dreams beside it; learns the day by an optimiser of its own. Or an
            :class:`dreamer.callbacks.sleep.own_text.OwnText`: frozen copies of the module's language model write, and
            it learns their distributions; memory, ``inputs``, ``targets`` and ``logits`` are not needed then, and by
            default every epoch is followed by a night, or, with replay by day, none.
        schedule: when a night follows an epoch: None after a day whose classes are not all those seen before it (so
            never on data that stay the same, and not after the first day); a number n after every n-th; or a
            :class:`dreamer.schedules.Schedule`, for which an epoch is an experience.
        inputs: where a batch has its samples: an index, a key, the name of an attribute, or a callable on the batch.
            Several tensors of one shape there, as views, stay together; stages perturb each for itself. A list of keys
            names several; where they are no views, the first is the sample.
        targets: where it has its targets, in the same way; None where it has none.
        logits: maps module and (B, *S) samples to (B, K) logits, for generators whose dreams have no labels, and for
            perturbations that need the learner's outputs.
        extras: what dreams have in further fields with an entry for every sample, such as masks and names: ``keep``
            those of their sample, in the memory too, or ``repeat`` what the day's last batch has there.
        generator_optimizer: called with the generator's parameters, and otherwise with its own defaults.
        day_capacity: samples of a day that are kept until dusk, for the generator; a checkpoint within a day has them.
        day_bytes: of these samples together, in the type in which the loader gives them.
        seed: of all that is drawn here.
        verbose: print, through Lightning's logger, the plan at the start, and after each night the accuracy before and
            after it on the first validation data (20 batches at most), where there are any; of a language model with
            ``OwnText`` its loss.
        roll_back: by how much a night may make that score worse, in fractions of 1 for accuracies and in nats for
            losses; weights and optimisers are brought back from before one that does more harm. None undoes nothing.

    Raises:
        ValueError: when parts make no sense together, here or at the first batch, with the reason.
    """

    @checked
    def __init__(
        self,
        stages: Sequence[DreamStage] | None = None,
        memory: Memory | None = None,
        generator: Generator | OwnText | None = None,
        schedule: Schedule | int | None = None,
        inputs: Where = 0,
        targets: Place | None = 1,
        logits: Logits = forward_logits,
        extras: Extras = "keep",
        generator_optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        day_capacity: int = 5000,
        day_bytes: int = 2**28,
        seed: int = 0,
        verbose: bool = True,
        roll_back: float | None = None,
    ):
        super().__init__()
        join_trees(self)
        at_least(1, day_capacity=day_capacity, day_bytes=day_bytes)
        own_text, generator = (generator, None) if isinstance(generator, OwnText) else (None, generator)
        if own_text is not None:
            memory, schedule = own_text.memory, _nights_of(own_text) if schedule is None else schedule
            inputs, targets, extras = "input_ids", None, "repeat"
        check_schedule(schedule, targets)
        if memory is None:
            memory = Reservoir(200) if targets is None else ClassBalanced(200)
        check_parts(memory, generator)
        self.memory = memory
        self.schedule = schedule
        self.seed = seed
        self.verbose = verbose
        self.state = SleepState()
        self._generator_trainer = (
            None if generator is None else GeneratorTrainer(generator, generator_optimizer, day_capacity, day_bytes)
        )
        self._own_text = own_text
        self._copies = Copies()
        writer = generator if own_text is None else own_text.writer
        self.options = SleepOptions(
            stages=None if stages is None else without_objectives(stages, writer),
            memory=memory,
            generator_trainer=self._generator_trainer,
            schedule=schedule,
            fields=BatchFields(inputs, targets, extras),
            logits=logits,
            seed=seed,
        )
        self._epochs: Epochs | None = None
        self._report: NightReport | None = None
        self._roll_back = None if roll_back is None else RollBack(roll_back)
        self._loader: Any = None

    @property
    def asleep(self) -> bool:
        """True while the module is given a batch of dreams."""
        return self.state.asleep

    def __reduce__(self) -> Any:
        return reduced(self)

    # ---------------------------------------------------------------- Lightning's hooks

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wrap the Trainer's train loader, so that nights follow its days."""
        if stage != "fit":
            return
        keep_logger(trainer)
        self.memory.distribute(trainer.global_rank, trainer.world_size)
        # what saves comes last, also where this callback was appended later: it saves what this one has counted
        trainer.callbacks = sorted(trainer.callbacks, key=is_checkpoint)
        # where an earlier fit was stopped within an epoch, a new one begins; a checkpoint, if any, is loaded after this
        self.state.epoch_over = True
        epochs = self._epochs = self._made(trainer, pl_module)
        if trainer.fast_dev_run and comes(self.schedule):
            # the Trainer allows the steps of the day alone; it stops after one epoch all the same
            trainer.fit_loop.epoch_loop.max_steps = -1
        source = trainer.fit_loop._data_source
        loaders = functools.partial(type(source).dataloader, source)

        def with_our_nights() -> Any:
            self._loader = with_nights(trainer, loaders(), epochs)
            return self._loader

        source.dataloader = with_our_nights

    def _made(self, trainer: Any, pl_module: Any) -> Epochs:
        if self._own_text is None:
            return Epochs(self.options, self.state, trainer, pl_module)
        return TextEpochs(self.options, self.state, trainer, pl_module, self._own_text, self._copies)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Move the memory to the device where dreams are made, and define the axis of nights for W&B."""
        self.memory.to(self._running.sleeper.info.device)
        define_axis(trainer.loggers)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a learning rate schedule that would run out of steps in a night to come."""
        if isinstance(self._epochs, TextEpochs):
            self._epochs.prepare(nights=comes(self.schedule))
        certain = trainer.max_steps < 0 and self._running.nights_foreseen()
        advice = "total_steps=trainer.estimated_stepping_batches"
        planned = trainer.estimated_stepping_batches
        if planned != float("inf"):
            check_total_steps(trainer, planned, certain, "nights", advice)
        if self.verbose or self._roll_back is not None:
            before = None if self._roll_back is None else self._roll_back.before
            self._report = NightReport(trainer, self._running.score(), self.verbose, before)
            if 0 < (trainer.max_epochs or 0):
                self._report.plan(*self._running.outlook(self._loader.day_length))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Dawn, unless a checkpoint was resumed in the middle of an epoch."""
        epochs = self._running
        epochs.running = True
        epochs.begin()
        if self._loader.day_length is not None:
            epochs.announce(epochs.epoch_length(self._loader.day_length))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Look at the validation data before the first batch of a night."""
        if self._report is not None and self.asleep and self.state.trained == self.state.awake:
            self._report.begin()
            if self._roll_back is not None:
                self._roll_back.begin(trainer, pl_module, self._report)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch; show a day's loss to a schedule that watches, log a night's on its own axis."""
        state, asleep = self.state, self.asleep
        state.trained += 1
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        loss = loss.detach() if isinstance(loss, Tensor) else None
        if asleep:
            state.slept += 1
            values: dict[str, Any] = {"sleep/step": float(state.slept), "sleep/night": float(state.nights - 1)}
            if loss is not None:
                values["sleep/loss"] = loss
            pl_module.log_dict(values, on_step=True, on_epoch=False, batch_size=1)
        elif isinstance(self.schedule, Schedule) and self.schedule.data_driven:
            if loss is None:
                name = type(self.schedule).__name__
                raise ValueError(f"{name} watches the loss, but the module's training_step returned none")
            self.schedule.observe(float(trainer.strategy.reduce(loss, reduce_op="mean")), None)
        if self._report is not None and asleep and state.trained == state.awake + sum(state.night):
            worse = self._report.end(state.nights - 1, sum(state.night))
            if self._roll_back is not None and self._roll_back.end(trainer, pl_module, worse):
                self._report.rolled_back(state.nights - 1)
        if trainer.is_last_batch:
            state.epoch_over = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """The epoch is over, also where a module has skipped the rest of it; not where the Trainer stops within it."""
        enough = 0 <= trainer.max_steps <= trainer.global_step
        if (trainer.should_stop or enough) and not trainer.is_last_batch:
            # from a checkpoint of now, Lightning goes on within the epoch
            return
        if self.state.awake and not self.state.day_over:
            self._running.end_day()
        self.state.epoch_over = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Warn when the default schedule had no night in the whole training."""
        state = self.state
        if self.schedule is None and state.epochs > 1 and not state.nights and trainer.is_global_zero:
            classes = ", ".join(map(str, state.seen))
            warnings.warn(
                f"no night came in {state.epochs} days: each had all the classes seen before it ({classes}), so "
                "nothing was to be forgotten; SleepCallback(schedule=1) sleeps after every epoch",
                stacklevel=2,
            )

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the Trainer as it was."""
        self._leave(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._leave(trainer)

    def _leave(self, trainer: Any) -> None:
        vars(trainer.fit_loop._data_source).pop("dataloader", None)
        if isinstance(self._epochs, TextEpochs):
            self._epochs.leave()
        self._epochs = self._loader = self._report = None

    @property
    def _maker(self) -> GeneratorTrainer | Copies | None:
        """What makes dreams beside the memory, and is saved."""
        return self._generator_trainer if self._own_text is None else self._copies

    @property
    def _running(self) -> Epochs:
        assert self._epochs is not None, "between setup and teardown"
        return self._epochs

    # ---------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Memory, generator, counters and schedule of every device, as tensors and plain containers."""
        state = self.state.state_dict()
        if not self.state.day_over:
            # what was fetched ahead will be fetched again
            state["drawn"] -= self.state.awake - self.state.trained
            state["awake"] = self.state.trained
        own = {
            "ledger": state,
            "memory": self.memory.state_dict(),
            "generator": None if self._maker is None else self._maker.state_dict(),
            "schedule": dict(self.schedule.state_dict()) if isinstance(self.schedule, Schedule) else {},
            "roll_back": None if self._roll_back is None else self._roll_back.state_dict(),
        }
        return {"seed": self.seed, "ranks": all_gather(own)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a state.

        With another number of devices the memories are dealt out anew, and each takes one of the generators.
        """
        if state_dict["seed"] != self.seed:
            raise ValueError(f"the checkpoint's nights have seed {state_dict['seed']}, these have {self.seed}")
        ranks = state_dict["ranks"]
        own = ranks[self.memory.rank % len(ranks)]
        if (own["generator"] is None) != (self._maker is None):
            has = "no" if own["generator"] is None else "a"
            raise ValueError(f"the checkpoint's SleepCallback has {has} generator, this one differs")
        self.state.load_state_dict(own["ledger"])
        if len(ranks) != self.memory.ranks:
            for classes in ("seen", "classes", "previous"):
                setattr(self.state, classes, sorted({label for each in ranks for label in each["ledger"][classes]}))
        restore(self.memory, [each["memory"] for each in ranks])
        if self._maker is not None:
            self._maker.load_state_dict(own["generator"])
        if isinstance(self.schedule, Schedule):
            self.schedule.load_state_dict(own["schedule"])
        if self._roll_back is not None:
            self._roll_back.load_state_dict(own.get("roll_back"))

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Let Lightning resume within a night in which its Trainer was stopped."""
        saved = checkpoint.get("callbacks", {}).get(self.state_key)
        if saved is not None and "loops" in checkpoint:
            ledger = saved["ranks"][0]["ledger"]
            if ledger["day_over"] and not ledger["epoch_over"]:
                reopen_epoch(checkpoint["loops"]["fit_loop"])


def _nights_of(own_text: OwnText) -> Schedule | int:
    """After every epoch, unless the copy of the model writes by day."""
    return NEVER if own_text.replay else 1


def define_axis(loggers: Sequence[Any]) -> None:
    """Give what is logged at night an axis of its own in W&B's loggers."""
    for logger in loggers:
        if type(logger).__name__ == "WandbLogger":
            logger.experiment.define_metric("sleep/*", step_metric="sleep/step")

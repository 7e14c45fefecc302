"""Nights for any LightningModule: the one callback that somebody else's training script needs."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dreamer.callbacks.sleep.batch_fields import BatchFields, Extras, Where
from dreamer.callbacks.sleep.generator_trainer import GeneratorTrainer
from dreamer.callbacks.sleep.lightning_trees import callback_bases, is_checkpoint
from dreamer.callbacks.sleep.loader import with_nights
from dreamer.callbacks.sleep.model_adapter import Logits, ModelAdapter, forward_logits
from dreamer.callbacks.sleep.schedule import Day, sleeps
from dreamer.callbacks.sleep.stages import Asleep, looks, perturbs, willing
from dreamer.callbacks.sleep.state import SleepState
from dreamer.callbacks.sleep.views import view_by_view
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Dream, SleepContext, Stage
from dreamer.generators import Generator
from dreamer.loop.batches import RankInfo, stage_steps
from dreamer.memory import ClassBalanced, Memory, Reservoir
from dreamer.memory.base import Buffer
from dreamer.schedules import Schedule
from dreamer.stages import NREM
from dreamer.streams.base import TensorSamples
from dreamer.training.distributed import all_gather, rebalance, restore
from dreamer.training.resume import reopen_epoch


class SleepCallback(*callback_bases()):  # type: ignore[misc]
    """Lets a module of your own sleep: ``Trainer(callbacks=[SleepCallback()])``.

    An epoch is a day. Its batches are offered to a memory, and teach a generator, before anything is done to them on
    the device. Where the schedule says so, a night follows in the same epoch: batches of dreams in the structure of
    the day's, through the module's own ``training_step``. To the Trainer they are batches like any other, so steps,
    precision, clipping, accumulation, learning rates, loggers and further callbacks are its own, with automatic and
    manual optimisation. A dream is taught by its label; a mixed one bears the label that has most of it.

    Works with ``lightning.pytorch`` and ``pytorch_lightning``. Memory, generator, counters and schedule are saved with
    every checkpoint, with several devices those of all of them: each keeps a memory of what it met itself, and the
    capacity is that of all together.

    Args:
        stages: what a night consists of; None for NREM as long as the day, but of 200 steps at least, in batches as
            large as the day's. Their objectives are left out: the module judges the dreams.
        memory: what is kept of the day; one that chooses while awake. None for 200 samples, class-balanced, or any 200
            where ``targets`` is None.
        generator: what makes dreams beside it; learns the day by an optimiser of its own.
        schedule: when a night follows an epoch: None after a day whose classes are not all those met before it (so
            never on data that stay the same, and not after the first day); a number n after every n-th; or a
            :class:`dreamer.schedules.Schedule`, for which an epoch is an experience.
        inputs: where a batch has its samples: an index, a key, the name of an attribute, or a callable on the batch.
            Several tensors of one shape there, as views, stay together; stages bend each for itself.
        targets: where it has its targets, in the same way; None where it has none.
        logits: maps module and (B, *S) samples to (B, K) logits, for generators whose dreams have no labels, and for
            perturbations that look at the learner.
        extras: what dreams have in further fields with an entry for every sample: ``refuse`` such batches, or
            ``repeat`` what the day's last batch has there.
        generator_optimizer: called with the generator's parameters, and otherwise with its own defaults.
        day_capacity: samples of a day that are kept until dusk, when a generator settles what it learnt.
        seed: of all that is drawn here.

    Raises:
        ValueError: when parts make no sense together, here or at the first batch, with the reason.
    """

    def __init__(
        self,
        stages: Sequence[Asleep] | None = None,
        memory: Memory | None = None,
        generator: Generator | None = None,
        schedule: Schedule | int | None = None,
        inputs: Where = 0,
        targets: Where | None = 1,
        logits: Logits = forward_logits,
        extras: Extras = "refuse",
        generator_optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        day_capacity: int = 5000,
        seed: int = 0,
    ):
        super().__init__()
        _check_schedule(schedule, targets)
        if memory is None:
            memory = Reservoir(200) if targets is None else ClassBalanced(200)
        _check_parts(memory, generator)
        self.memory = memory
        self.generator = generator
        self.stages = None if stages is None else willing(stages, memory, generator)
        self.schedule = schedule
        self.fields = BatchFields(inputs, targets, extras)
        self.logits = logits
        self.seed = seed
        self.diary = SleepState()
        self._generator_trainer = (
            None if generator is None else GeneratorTrainer(generator, generator_optimizer, day_capacity)
        )
        self._trainer: Any = None
        self._module: Any = None
        self._loader: Any = None
        self._running = False
        self._shape: tuple[int, ...] | None = None
        self._like: Any = None
        self._classes = targets is not None

    @property
    def asleep(self) -> bool:
        """True while the module is given a batch of dreams."""
        diary = self.diary
        return diary.dusk and not diary.finished and diary.done >= diary.awake

    # ---------------------------------------------------------------- Lightning's hooks

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Stand between the Trainer and its train loader."""
        if stage != "fit":
            return
        self._trainer, self._module, self._running = trainer, pl_module, False
        self.memory.share(trainer.global_rank, trainer.world_size)
        # what saves comes last, also where this callback was appended later: it saves what this one has counted
        trainer.callbacks = sorted(trainer.callbacks, key=is_checkpoint)
        # where an earlier fit was stopped within an epoch, a new one begins; a checkpoint, if any, is loaded after this
        self.diary.finished = True
        if self.generator is not None:
            self.generator.to(trainer.strategy.root_device)
            self.generator.attach(ModelAdapter(pl_module, self.logits))
        if trainer.fast_dev_run:
            # the Trainer allows the steps of the day alone; it stops after one epoch all the same
            trainer.fit_loop.epoch_loop.max_steps = -1
        source = trainer.fit_loop._data_source
        asked = functools.partial(type(source).dataloader, source)
        source.dataloader = lambda: self._between(asked())

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Bring the memory to where dreams are made, and name the axis of the night to W&B."""
        self.memory.to(self._home)
        for logger in trainer.loggers:
            if type(logger).__name__ == "WandbLogger":
                logger.experiment.define_metric("sleep/*", step_metric="sleep/step")

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Dawn, unless a checkpoint brought us into the middle of an epoch."""
        self._running = True
        self._rise()
        if self._loader.day_length is not None:
            self._announce(self.epoch_length(self._loader.day_length))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch; show a day's loss to a schedule that watches, log a night's on its own axis."""
        diary, asleep = self.diary, self.asleep
        diary.done += 1
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        loss = loss.detach() if isinstance(loss, Tensor) else None
        if asleep:
            diary.slept += 1
            values: dict[str, Any] = {"sleep/step": float(diary.slept), "sleep/night": float(diary.nights - 1)}
            if loss is not None:
                values["sleep/loss"] = loss
            pl_module.log_dict(values, on_step=True, on_epoch=False, batch_size=1)
        elif isinstance(self.schedule, Schedule) and self.schedule.data_driven:
            if loss is None:
                name = type(self.schedule).__name__
                raise ValueError(f"{name} watches the loss, but the module's training_step returned none")
            self.schedule.observe(float(trainer.strategy.reduce(loss, reduce_op="mean")), None)
        if trainer.is_last_batch:
            diary.finished = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """The epoch is over, also where a module has skipped the rest of it; not where the Trainer stops within it."""
        enough = 0 <= trainer.max_steps <= trainer.global_step
        if (trainer.should_stop or enough) and not trainer.is_last_batch:
            # from a checkpoint of now, Lightning goes on within the epoch
            return
        if self.diary.awake and not self.diary.dusk:
            self._dusk()
        self.diary.finished = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Say so when the default schedule has never found a reason to sleep."""
        diary = self.diary
        if self.schedule is None and diary.days > 1 and not diary.nights and trainer.is_global_zero:
            classes = ", ".join(map(str, diary.met))
            warnings.warn(
                f"no night came in {diary.days} days: each had all the classes met before it ({classes}), so nothing "
                "was to be forgotten; SleepCallback(schedule=1) sleeps after every epoch",
                stacklevel=2,
            )

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the Trainer as it was."""
        self._leave(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the Trainer as it was."""
        self._leave(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Memory, generator, counters and schedule of every device, as tensors and plain containers."""
        diary = self.diary.state_dict()
        if not self.diary.dusk:
            # what was fetched ahead will be fetched again
            diary["lived"] -= self.diary.awake - self.diary.done
            diary["awake"] = self.diary.done
        own = {
            "diary": diary,
            "memory": self.memory.state_dict(),
            "generator": None if self._generator_trainer is None else self._generator_trainer.state_dict(),
            "schedule": dict(self.schedule.state_dict()) if isinstance(self.schedule, Schedule) else {},
        }
        return {"seed": self.seed, "ranks": all_gather(own)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state.

        With another number of devices the memories are dealt out anew, and each takes one of the generators.

        Raises:
            ValueError: when it was saved with another seed, or with other parts.
        """
        if state_dict["seed"] != self.seed:
            raise ValueError(f"the checkpoint's nights have seed {state_dict['seed']}, these have {self.seed}")
        ranks = state_dict["ranks"]
        own = ranks[self.memory.rank % len(ranks)]
        if (own["generator"] is None) != (self._generator_trainer is None):
            has = "no" if own["generator"] is None else "a"
            raise ValueError(f"the checkpoint's SleepCallback has {has} generator, this one differs")
        self.diary = SleepState.from_state(own["diary"])
        if len(ranks) != self.memory.ranks:
            for met in ("met", "today", "yesterday"):
                setattr(self.diary, met, sorted({label for state in ranks for label in state["diary"][met]}))
        restore(self.memory, [state["memory"] for state in ranks])
        if self._generator_trainer is not None:
            self._generator_trainer.load_state_dict(own["generator"])
        if isinstance(self.schedule, Schedule):
            self.schedule.load_state_dict(own["schedule"])

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Let Lightning go on within a night in which its Trainer was stopped."""
        saved = checkpoint.get("callbacks", {}).get(self.state_key)
        if saved is not None and "loops" in checkpoint:
            diary = SleepState.from_state(saved["ranks"][0]["diary"])
            if diary.dusk and not diary.finished:
                reopen_epoch(checkpoint["loops"]["fit_loop"])

    # ---------------------------------------------------------------- between Trainer and loader

    def _between(self, loaders: Any) -> Any:
        self._loader = with_nights(self._trainer, loaders, self)
        return self._loader

    def _leave(self, trainer: Any) -> None:
        vars(trainer.fit_loop._data_source).pop("dataloader", None)
        self._trainer = self._module = self._loader = self._like = self._shape = None

    def epoch_length(self, day: int) -> int:
        """Batches of the epoch of a day whose length is known; at most so many while the night is open.

        Before the first epoch it is the mean over all, rounded up, so that learning rates that are planned by
        ``Trainer.estimated_stepping_batches`` reach to the end.
        """
        diary = self.diary
        if self._trainer is None:
            # the Trainer asks once more when it clears up after an exception
            return day
        if diary.dusk and not diary.finished:
            return diary.awake + sum(diary.night)
        night = sum(self._night_steps(day))
        if self._running or not diary.finished:
            begun = 0 if diary.finished else diary.awake
            return day + night * (self._foresee(day, diary.lived - begun) is not False)
        epochs = max(1, self._trainer.max_epochs or 1)
        nights = sum(self._foresee(day, diary.lived + ahead * day, ahead) is not False for ahead in range(epochs))
        return day - (-nights * night // epochs)

    def epoch_batches(self, day: Iterator[Any], length: int | None) -> Iterator[Any]:
        """The day's batches, and the night's behind them; see :class:`dreamer.callbacks.sleep.loader.EpochSource`."""
        self._rise()
        diary = self.diary
        while not diary.dusk:
            batch = next(day, None)
            if batch is not None:
                self._live(batch)
            if batch is None or diary.awake == length:
                self._fall_asleep(self._dusk())
                if diary.night or batch is not None:
                    self._announce(diary.awake + sum(diary.night))
            if batch is not None:
                yield batch
        if diary.night:
            # resumed within a night, there is no batch of the day to build dreams like, until one is fetched
            self._like = next(day, None) if self._like is None else self._like
            yield from self._night()

    def _announce(self, length: int) -> None:
        """Tell the Trainer how many batches the epoch has, where it counts them."""
        trainer = self._trainer
        loop, fetcher = trainer.fit_loop, trainer.fit_loop._data_fetcher
        if fetcher is None or fetcher.length is None:
            return
        loop.max_batches = fetcher.length = length
        if isinstance(trainer.val_check_interval, float) and trainer.val_check_batch is not None:
            trainer.val_check_batch = max(1, int(length * trainer.val_check_interval))

    # ---------------------------------------------------------------- the day

    def _rise(self) -> None:
        """Begin a new day where the last epoch is over."""
        if not self.diary.finished:
            return
        self.diary.wake()
        if self._generator_trainer is not None:
            self._generator_trainer.dawn()

    def _live(self, batch: Any) -> None:
        x, y = self.fields.read(batch)
        if self._shape is None:
            self._meet(batch, x, y)
        if tuple(x.shape[1:]) != self._shape:
            raise ValueError(f"expected samples of one shape, got {self._shape} first and {tuple(x.shape[1:])} now")
        diary, rank = self.diary, self._trainer.global_rank
        where = (diary.days, diary.awake, rank)
        x, y = x.to(self._home), y.to(self._home)
        self.memory.add(x, y, randoms(self.seed, Purpose.MEMORY, *where))
        if self._generator_trainer is not None:
            rng = randoms(self.seed, Purpose.PERTURB, *where, device=self._home)
            self._generator_trainer.live(x, y, rng, randoms(self.seed, Purpose.SETTLE, *where))
        if self._classes:
            diary.today = sorted({*diary.today, *y.unique().tolist()})
        self._like = batch
        diary.rows = max(diary.rows, len(x))
        diary.awake += 1
        diary.lived += 1

    def _meet(self, batch: Any, x: Tensor, y: Tensor) -> None:
        """Refuse at the first batch what could not be slept on."""
        self.fields.rebuild(batch, x, y)
        held = getattr(self.memory, "held", {}).get("x", x)
        self._shape = tuple(held.shape[1:])
        self._recipes(batch, self.stages or ())
        whole = not (y.is_floating_point() or y.is_complex())
        self._classes = self.fields.targets is not None and y.ndim == 1 and whole
        if self._classes or self.fields.targets is None:
            return
        needs = {
            "the schedule, which by default watches classes": self.schedule is None,
            "ClassBalanced": isinstance(self.memory, ClassBalanced),
            "the generator": self.generator is not None,
            "a stage that bends its dreams": any(map(perturbs, self.stages or ())),
        }
        for what, needed in needs.items():
            if needed:
                raise ValueError(
                    f"{what} needs (B,) whole numbers as targets, got {y.dtype} of shape {tuple(y.shape)}: say where "
                    "classes are with targets=, or choose another part"
                )

    def _dusk(self) -> frozenset[int]:
        """The day is over: the generator settles. Gives the classes that were met before the day."""
        diary = self.diary
        met = frozenset(diary.met)
        diary.end_day()
        if self._generator_trainer is not None and diary.awake:
            rng = randoms(self.seed, Purpose.SETTLE, diary.days, device=self._home)
            self._generator_trainer.end_experience(diary.experience, rng)
        return met

    def _fall_asleep(self, met: frozenset[int]) -> None:
        """Let the schedule decide whether a night follows the day that has just ended."""
        diary, trainer = self.diary, self._trainer
        lived = diary.lived - diary.awake
        day = Day(diary.awake, lived, diary.days - 1, self._is_last(0), met, frozenset(diary.today))
        tired = bool(trainer.fast_dev_run) or self._any(bool(sleeps(self.schedule, day)))
        if tired and diary.awake:
            if isinstance(self.schedule, Schedule):
                self.schedule.slept()
            rebalance(self.memory, self._home)
            diary.night = self._night_steps(diary.awake)
            diary.nights += 1

    def _any(self, tired: bool) -> bool:
        """Whether any device wants to sleep: all must do the same."""
        if self._trainer.world_size == 1:
            return tired
        wish = torch.tensor(float(tired), device=self._trainer.strategy.root_device)
        return float(self._trainer.strategy.reduce(wish, reduce_op="sum")) > 0

    def _foresee(self, steps: int, lived: int, ahead: int = 0) -> bool | None:
        """Whether a day of so many batches will be slept on, as far as that is known.

        Args:
            steps: batches of the day.
            lived: batches of all days before it.
            ahead: days between now and it.
        """
        if self._trainer.fast_dev_run:
            return True
        if self.schedule is None and ahead:
            return None
        number, met = self.diary.days + ahead, frozenset(self.diary.met)
        return sleeps(self.schedule, Day(steps, lived, number, self._is_last(ahead), met))

    def _is_last(self, ahead: int) -> bool:
        return self._trainer.current_epoch + ahead + 1 == self._trainer.max_epochs

    # ---------------------------------------------------------------- the night

    def _night_steps(self, day: int) -> list[int]:
        """Steps of each stage of a night behind a day of so many batches."""
        steps = [max(day, NREM().steps)] if self.stages is None else [stage.steps for stage in self.stages]
        most = int(self._trainer.fast_dev_run)
        return [min(count, most) if most else count for count in steps]

    def _night(self) -> Iterator[Any]:
        """Batches of the night, from where it stands: what was trained on already is left out."""
        diary = self.diary
        night, done = diary.nights - 1, max(0, diary.done - diary.awake)
        stages = self._recipes(self._like, self.stages or (self._plain_stage(),))
        place = RankInfo(self.seed, self._home, self._trainer.global_rank, self._trainer.world_size)
        context = self._context(night)
        for part, (spec, steps) in enumerate(zip(stages, diary.night, strict=True)):
            stage = Stage(
                night * len(stages) + part, spec.kind, max(0, diary.experience), steps, night, index_in_night=part
            )
            start, done = min(done, steps), max(0, done - steps)
            for step in stage_steps(stage, spec, context, _NOTHING, place, start):
                assert step.dream is not None
                yield self.fields.rebuild(self._like, step.dream.x, _label(step.dream))

    def _recipes(self, batch: Any, stages: tuple[Asleep, ...]) -> tuple[Asleep, ...]:
        """The stages of a night, for samples as those of a batch."""
        return tuple(map(view_by_view, stages)) if self.fields.views(batch) else stages

    def _plain_stage(self) -> Asleep:
        return willing([NREM(batch_size=self.diary.rows)], self.memory, self.generator)[0]

    def _context(self, night: int) -> SleepContext:
        """The life so far as the stages see it: all classes met, and the module to look at."""
        met = self.diary.met or [0]
        count = max(met) + 1 if self.generator is None else self.generator.num_classes
        known = torch.zeros(count, dtype=torch.bool, device=self._home)
        known[met] = True
        if self.generator is not None:
            known &= self.generator.dreamable
        learner = ModelAdapter(self._module, self.logits, outputs=count)
        namer = ModelAdapter(self._module, self.logits, rests=True, outputs=count)
        none = torch.zeros_like(known)
        days = self.diary.experience + 1
        return SleepContext(learner, None, namer, (), self.memory, self.generator, known, none, None, days, night)

    @property
    def _home(self) -> torch.device:
        """Where memory lies and dreams are made: with the loader's batches, or where a network has to see them."""
        if self._generator_trainer is not None:
            return self._generator_trainer.device
        if any(map(looks, self.stages or ())):
            return self._trainer.strategy.root_device
        return torch.device("cpu")


_NOTHING = TensorSamples(torch.empty(0, 1), torch.empty(0, dtype=torch.int64))
"""A night has no real samples."""


def _label(dream: Dream) -> Tensor:
    return dream.y if dream.p is None else dream.p.argmax(dim=1)


def _check_schedule(schedule: Schedule | int | None, targets: Where | None) -> None:
    if schedule is None and targets is None:
        raise ValueError("the default schedule watches classes: with targets=None say when to sleep, e.g. schedule=1")
    if isinstance(schedule, bool) or (isinstance(schedule, int) and schedule < 1):
        raise ValueError(f"expected a night after every n-th epoch with n of at least 1, got schedule={schedule}")
    if isinstance(schedule, Schedule) and schedule.wants_features:
        raise ValueError(
            f"{type(schedule).__name__} watches features, which a module of your own does not give: watch the loss"
        )


def _check_parts(memory: Memory, generator: Generator | None) -> None:
    chooses = isinstance(memory, Buffer) and type(memory).end_experience is Buffer.end_experience
    if not chooses or memory.is_features or memory.logits:
        what = "one that keeps the learner's logits" if memory.logits else type(memory).__name__
        raise ValueError(
            f"expected a memory that chooses samples while awake (ClassBalanced, Reservoir, Ring or Greedy), got {what}"
        )
    if generator is not None and generator.is_features:
        raise ValueError(
            f"{type(generator).__name__} dreams features of the learner, which a training_step of your own cannot take"
        )

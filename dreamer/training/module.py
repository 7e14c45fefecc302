"""A network that lives through a stream and sleeps on it, as one LightningModule and one ``Trainer.fit``."""

from __future__ import annotations

import functools
import math
import operator
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

from dreamer import metrics
from dreamer.core.hypnogram import Hypnogram
from dreamer.core.ledger import Ledger
from dreamer.core.randomness import Purpose, mix, randoms
from dreamer.core.types import Batch, Dream, Losses, SleepContext, Stage, Step
from dreamer.generators import Generator
from dreamer.loop.batches import RankInfo, StageLoader, local_count, pass_order, stage_steps
from dreamer.loop.checks import (
    ActiveOutputs,
    Parts,
    SleepStage,
    StageSpec,
    a_few,
    active_classes,
    check_learner,
    check_parts,
    class_mask,
    day_of,
    days_kept,
    plan_life,
)
from dreamer.memory import Memory
from dreamer.networks.base import Frozen, dummy_input, forward, module_bytes, plain_name, reset_parameters
from dreamer.networks.heads import add_classes
from dreamer.plasticity import Plasticity
from dreamer.schedules import Boundary, Schedule
from dreamer.stages import NREM, REM, Wake
from dreamer.streams.base import JoinedSamples, Samples, Stream
from dreamer.training.data import StreamDataModule
from dreamer.training.distributed import all_gather, held_elsewhere, rebalance, restore
from dreamer.training.evaluation import evaluate
from dreamer.training.resume import align_loops, change_devices

OptimizerFactory = Callable[..., torch.optim.Optimizer]


class WakeSleepModule(pl.LightningModule):
    """Alternates wake stages on the stream's experiences with nights.

    One life is one ``Trainer.fit`` with a :class:`dreamer.training.data.StreamDataModule`; one Lightning epoch is one stage.
    Sleep batches come through the loader and :meth:`training_step` like any other, so steps, logs, clipping,
    accumulation, precision and checkpoints are the Trainer's own. Killed and resumed with ``ckpt_path``, a life ends
    as if it had not been.

    Args:
        network: the learner; maps (B, *S) to (B, K) logits.
        wake: how an experience is lived through; by default one pass.
        night: the sleep stages of one cycle, in order, empty for no sleep; by default NREM and REM where there is a
            memory or a generator.
        memory: what is kept of the day, or None.
        generator: what makes dreams, or None.
        plasticity: what follows the learner's weights: penalties, moving averages, homeostasis.
        schedule: when nights come; by default after every experience.
        cycles: how often a night repeats its stages.
        optimizer: called with two parameter groups (learner; generator, where there is one); gives the one optimiser,
            by default Adam with a learning rate of 0.001.
        generator_lr: learning rate of the generator where it differs from the learner's.
        active_outputs: the softmax runs over ``all`` outputs, those of classes ``seen`` so far, or those of the
            sample's own ``task`` (which must then be known at test time).
        evaluated: what is evaluated: the ``network``, or the slowest of its moving averages (``average``).
        seed: of everything that is drawn in this life.

    Raises:
        ValueError: (in ``setup``) when parts make no sense together, with the reason.
    """

    def __init__(
        self,
        network: nn.Module,
        wake: Wake | None = None,
        night: Sequence[SleepStage] | None = None,
        memory: Memory | None = None,
        generator: Generator | None = None,
        plasticity: Sequence[Plasticity] = (),
        schedule: Schedule | None = None,
        cycles: int = 1,
        optimizer: OptimizerFactory = torch.optim.Adam,
        generator_lr: float | None = None,
        active_outputs: ActiveOutputs = "all",
        evaluated: Literal["network", "average"] = "network",
        seed: int = 0,
    ):
        super().__init__()
        sleeps = memory is not None or generator is not None
        self.network = network
        self.wake = Wake() if wake is None else wake
        self.night = tuple(night) if night is not None else (NREM(), REM()) if sleeps else ()
        self.memory = memory
        self.generator = generator
        self.plasticity = nn.ModuleList(plasticity)
        self.schedule = Boundary() if schedule is None else schedule
        self.cycles = cycles
        self.optimizer = optimizer
        self.generator_lr = generator_lr
        self.active_outputs = active_outputs
        self.evaluated = evaluated
        self.seed = seed
        self._attach_parts()
        asked = self._parts.teachers()
        self.dawn = Frozen(network) if "dawn" in asked else None
        self.dusk = Frozen(network) if "dusk" in asked else None
        self.ledger = Ledger()
        self._hypnogram: Hypnogram | None = None
        self._context: tuple[int, SleepContext] | None = None
        self._last_row: dict[str, Any] | None = None
        self._clock = 0.0
        self._held_elsewhere = 0
        self._rested = dict(self.schedule.state_dict())

    def _attach_parts(self) -> None:
        """Parts that look at each other meet before anything is planned."""
        meet = getattr(self.network, "attach", None)
        if self.generator is not None:
            self.generator.attach(self.network)
        if meet is not None:
            if self.generator is None:
                raise ValueError(f"{type(self.network).__name__} answers with a generator, but the life has none")
            meet(self.generator)
        for part in self._plastic:
            part.prepare(self.network)
        if self.evaluated == "average" and not self._averages:
            raise ValueError("evaluated='average' needs a plasticity part that keeps a moving average of the learner")

    @property
    def _plastic(self) -> tuple[Plasticity, ...]:
        return tuple(part for part in self.plasticity if isinstance(part, Plasticity))

    @property
    def _averages(self) -> tuple[nn.Module, ...]:
        return tuple(part.average for part in self._plastic if part.average is not None)

    @property
    def _parts(self) -> Parts:
        return Parts(
            self.network,
            self.wake,
            self.night,
            self.memory,
            self.generator,
            self._plastic,
            self.schedule,
            self.active_outputs,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the running hook on the module some forty times a step; torch would search every registry
        # each time
        if name in self.__dict__ and not isinstance(value, (Tensor, nn.Module)):
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, K) logits."""
        return self.network(x)

    # ---------------------------------------------------------------- the plan

    @property
    def hypnogram(self) -> Hypnogram:
        """The plan of the life.

        Raises:
            RuntimeError: before the Trainer has set the module up.
        """
        if self._hypnogram is None:
            raise RuntimeError(
                "the life is planned when Trainer.fit sets the module up; call plan(stream) to see it before"
            )
        return self._hypnogram

    @property
    def stream(self) -> Stream:
        """What this life meets."""
        return self._data.stream

    def plan(self, stream: Stream, devices: int = 1) -> Hypnogram:
        """Lay out a life on a stream, or refuse it.

        Args:
            stream: what will be met.
            devices: processes that share each experience.

        Raises:
            ValueError: when parts make no sense together, with the reason.
        """
        few = a_few(stream)
        check_parts(stream, self._parts, few)
        check_learner(stream, self._parts, few)
        return plan_life(stream, self._parts, self.cycles, devices)

    def check_trainer(self, trainer: pl.Trainer) -> None:
        """Refuse a Trainer under which no life can be lived.

        Raises:
            ValueError: when weights would not be float32, or gradients could not be clipped.
        """
        if not (trainer.precision == "32-true" or trainer.precision.endswith("-mixed")):
            raise ValueError(
                "a life keeps weights and dreams in float32: expected Trainer(precision=...) of '32-true', "
                f"'bf16-mixed' or '16-mixed', got {trainer.precision!r}"
            )
        if trainer.gradient_clip_val and trainer.precision.endswith("-mixed"):
            if any(group.get("fused") for group in self.configure_optimizers().param_groups):
                raise ValueError(
                    f"Lightning clips no gradients for a fused optimizer under {trainer.precision!r}: expected "
                    f"optimizer.fused=false or no gradient_clip_val, got {trainer.gradient_clip_val}"
                )

    def feature_shape(self, sample_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(H,), the shape of the learner's features for samples of shape *S."""
        features = forward(Frozen(self.network), dummy_input(self.network, sample_shape), features=True).features
        assert features is not None
        return tuple(features.shape[1:])

    def setup(self, stage: str) -> None:
        """Plan the life and tell the Trainer how many stages it has."""
        if stage != "fit":
            return
        if not isinstance(getattr(self.trainer, "datamodule", None), StreamDataModule):
            raise ValueError(
                "a life needs its stream: call trainer.fit(module, datamodule=StreamDataModule(stream)), "
                f"got datamodule={getattr(self.trainer, 'datamodule', None)!r}"
            )
        self.check_trainer(self.trainer)
        plan = self.plan(self.stream, self.trainer.world_size)
        loop = self.trainer.fit_loop
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            plan = plan.sampled(int(self.trainer.fast_dev_run))  # type: ignore[attr-defined]
            # the Trainer asked for one epoch; the shortest life that shows every kind of stage has up to three
            loop.max_epochs, loop.epoch_loop.max_steps = len(plan), -1
        elif loop.max_epochs is None or loop.max_epochs < 0 or loop.max_epochs >= len(plan):
            loop.max_epochs = len(plan)
        else:
            warnings.warn(
                f"Trainer(max_epochs={loop.max_epochs}) ends the life early: its plan has {len(plan)} stages "
                "(one epoch is one stage)",
                stacklevel=2,
            )
        self._hypnogram = plan
        if self.memory is not None:
            self.memory.share(self.global_rank, self.trainer.world_size)
        self._let_parts_rest()
        # a fit is a life of its own; a checkpoint, where there is one, is loaded after this hook and brings its record
        self.ledger, self._context, self._last_row = Ledger(), None, None
        self.schedule.load_state_dict(self._rested)
        if not self.wake.objectives or not all(spec.by_gradient for spec in (self.wake, *self.night)):
            # on purpose: such a stage changes weights itself, and a loss of zero would stir the optimiser's momentum
            warnings.filterwarnings("ignore", "`training_step` returned `None`")

    def _let_parts_rest(self) -> None:
        """Keep DDP from waiting for the gradients of what rests in a stage: the generator at night, say."""
        recalled = [part for part in (self.memory, self.generator) if part is not None]
        learns = self.generator is not None and any(p.requires_grad for p in self.generator.parameters())
        rests = learns or not self.wake.objectives or any(part.is_features for part in recalled)
        strategy = self.trainer.strategy
        if rests and isinstance(strategy, DDPStrategy):
            # Lightning has no public way once the Trainer is built; a word of the user's own counts
            strategy._ddp_kwargs.setdefault("find_unused_parameters", True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser; learner and generator are groups whose losses lie on disjoint graphs."""
        groups: list[dict[str, Any]] = [{"params": [p for p in self.network.parameters() if p.requires_grad]}]
        if self.generator is not None:
            own = [p for p in self.generator.parameters() if p.requires_grad]
            groups.append({"params": own} | ({} if self.generator_lr is None else {"lr": self.generator_lr}))
        # a life may have nothing to optimise (a closed-form learner), but Lightning counts steps by an optimiser
        inert = [{"params": [nn.Parameter(torch.zeros(()))]}]
        return self.optimizer([group for group in groups if group["params"]] or inert)

    # ---------------------------------------------------------------- one batch

    def stage_loader(self, index: int) -> StageLoader:
        """The loader of one stage."""
        stage = self.hypnogram[index]

        def steps() -> Iterator[Step]:
            # asked for at the first batch, when a checkpoint has been loaded: the ledger says where to begin
            done = self.ledger.step if self.ledger.stage == stage.index else 0
            where = replace(stage, first_step=stage.first_step + self.ledger.ahead)
            return stage_steps(where, self._spec(stage), self._context_at(stage), self._day(stage), self._place, done)

        return StageLoader(stage, steps)

    def training_step(self, batch: Step, batch_idx: int) -> Tensor | None:
        """Let the stage judge the batch; Lightning calls backward, unless there is nothing to differentiate."""
        stage = self.hypnogram[batch.stage]
        where = (stage.index, batch.step, self.global_rank)
        self._seed_network(mix(self.seed, Purpose.NETWORK, *where))
        self._anneal(stage, batch.step)
        rng = randoms(self.seed, Purpose.PERTURB, *where, device=self.device)
        losses = self._spec(stage).losses(self._context_at(stage), batch, rng)
        losses = self._with_penalties(losses, stage)
        if batch.day is not None:
            self._note_day(stage, batch, losses)
        self._account(stage, batch)
        with torch.no_grad():
            for weight, delta in losses.changes:
                weight.add_(delta)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (self.trainer.fit_loop.total_batch_idx + 1) % every == 0:
            named = {f"{stage.kind}/{name}": value for name, value in losses.parts.items()}
            if losses.total is not None:
                named[f"{stage.kind}/loss"] = losses.total.detach()
            self.log_dict(named, batch_size=1)
        return losses.total

    def _with_penalties(self, losses: Losses, stage: Stage) -> Losses:
        found = [part.penalty(self.network, stage.kind) for part in self._plastic]
        penalties = [penalty for penalty in found if penalty is not None]
        if not penalties or losses.total is None:
            return losses
        penalty = functools.reduce(operator.add, penalties)
        return replace(losses, total=losses.total + penalty, parts={**losses.parts, "penalty": penalty.detach()})

    def _note_day(self, stage: Stage, batch: Step, losses: Losses) -> None:
        """Offer the day's batch to the memory, once, and show the step to a schedule that watches."""
        assert batch.day is not None
        new = self._never_offered(stage, batch.step)
        if self.memory is not None and new:
            rng = randoms(self.seed, Purpose.MEMORY, stage.index, batch.step, self.global_rank)
            kept = losses.answer if self.memory.logits else None
            self.memory.add(batch.day.x[:new], batch.day.y[:new], rng, None if kept is None else kept[:new])
        if self.schedule.data_driven:
            loss = torch.zeros(()) if losses.surprise is None else self._shared(losses.surprise)
            features = None
            if self.schedule.wants_features:
                with torch.no_grad():
                    seen = forward(self.network, batch.day.x, features=True).features
                features = None if seen is None else self._shared(seen.float().mean(dim=0)).cpu()
            self.schedule.observe(float(loss), features)

    def _shared(self, value: Tensor) -> Tensor:
        """The mean over all processes, so that each of them decides the same."""
        return self.trainer.strategy.reduce(value.detach().clone(), reduce_op="mean")

    def _anneal(self, stage: Stage, step: int) -> None:
        """Set the learning rate of the step; what it would be is kept in the optimiser, so that it is saved with it."""
        share = self._spec(stage).anneal
        factor = share + (1 - share) * 0.5 * (1 + math.cos(math.pi * step / stage.steps))
        for group in self._optimizer.param_groups:
            if share < 1:
                group.setdefault("full_lr", group["lr"])
            if "full_lr" in group:
                group["lr"] = factor * group["full_lr"]

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make the step, then show it to the plasticity parts; with accumulation there are fewer of them than batches.

        A hook at the batch's end would come too late: callbacks, which save, have their turn before the module there.
        """
        super().optimizer_step(*args, **kwargs)
        if self.plasticity:
            stage = self.hypnogram[self.ledger.stage]
            rng = randoms(self.seed, Purpose.PLASTICITY, stage.index, self.ledger.step)
            with torch.no_grad():
                for part in self._plastic:
                    part.after_step(self.network, stage.kind, rng)

    def _never_offered(self, stage: Stage, step: int) -> int:
        """How many of the batch, from its start, the memory is offered, so that each sample is offered once.

        Not in later passes, nor what fills up the last batch of one process with what another has met.
        """
        own = local_count(len(day_of(self.stream, stage.experience, self.wake)), self._place)
        done = (stage.first_step + step + self.ledger.ahead) * self.wake.batch_size
        return min(max(own - done, 0), self.wake.batch_size)

    def _day(self, stage: Stage) -> Samples:
        """What the stage's experience is lived through with, on the training device where it may stay there."""
        if self.wake.data == "experience":
            return self._data.experience(stage.experience, self.device).train
        last = len(self.stream) if self.wake.data == "joint" else stage.experience + 1
        return JoinedSamples([self._data.experience(index, self.device).train for index in range(last)])

    @property
    def _place(self) -> RankInfo:
        return RankInfo(self.seed, self.device, self.global_rank, self.trainer.world_size)

    def _account(self, stage: Stage, batch: Step) -> None:
        ledger, ranks = self.ledger, self.trainer.world_size
        if batch.day is not None:
            ledger.samples["wake"] += ranks * len(batch.day.y)
        if batch.dream is not None:
            ledger.samples["replayed" if stage.kind == "wake" else stage.kind] += ranks * len(batch.dream.y)
        ledger.step = batch.step + 1
        ledger.finished = self.trainer.is_last_batch
        now = time.perf_counter()
        ledger.seconds[stage.kind] += now - self._clock
        self._clock = now

    def _spec(self, stage: Stage) -> StageSpec:
        return self.wake if stage.kind == "wake" else self.night[stage.index_in_night]

    def _context_at(self, stage: Stage) -> SleepContext:
        if self._context is None or self._context[0] != stage.index:
            active = active_classes(self.stream, stage.experience, self.active_outputs)
            awake = stage.kind == "wake"
            context = SleepContext(
                self.network,
                self.dawn if stage.experience > 0 else None,
                None if awake else self.dusk,
                self._averages,
                self.memory,
                self.generator,
                class_mask(self.stream, range(stage.experience)).to(self.device),
                class_mask(self.stream, [stage.experience]).to(self.device),
                None if active is None else active.to(self.device),
                stage.experience + 1,
                stage.night,
            )
            self._context = (stage.index, context)
        return self._context[1]

    def _seed_network(self, seed: int) -> None:
        # dropout and the like draw from the global generators; seeding them per step makes them resumable
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    # ---------------------------------------------------------------- between stages

    def on_fit_start(self) -> None:
        """Examine the newborn network, or finish what a killed process left pending.

        No later hook would do: Lightning leaves a fit whose epochs are all counted without calling any.
        """
        if self.memory is not None:
            self.memory.to(self.device)
            self._held_elsewhere = held_elsewhere(self.memory)
        self._clock = time.perf_counter()
        if not self.ledger.rows:
            self.ledger.rows.append(self._row("birth", -1, -1, -1, 0))
        if self.ledger.finished:
            self._close(self.hypnogram[self.ledger.stage], self.ledger.saved_at)

    def on_train_epoch_start(self) -> None:
        """Dawn: the teacher of the old classes is copied before the day overwrites them."""
        stage = self.hypnogram[self.current_epoch]
        # older Lightning calls this hook again when it resumes within an epoch
        if self.ledger.step == 0:
            self.ledger.opened_at = self.global_step
            if stage.opens:
                self._open_day(stage)
            if self._spec(stage).from_scratch:
                self._be_reborn(stage)
        self._clock = time.perf_counter()

    def _open_day(self, stage: Stage) -> None:
        self.ledger.ahead = 0
        if stage.experience > 0 and self.dawn is not None:
            self.dawn.copy_from(self.network)
        last = len(self.stream) if self.wake.data == "joint" else stage.experience + 1
        add_classes(self.network, class_mask(self.stream, range(last)))
        for part in self._plastic:
            part.dawn(self.network)

    def _be_reborn(self, stage: Stage) -> None:
        """New weights, and an optimiser that has forgotten the old ones."""
        self._seed_network(mix(self.seed, Purpose.INIT, stage.index))
        reset_parameters(self.network)
        for parameter in self.network.parameters():
            self._optimizer.state.pop(parameter, None)

    def on_train_epoch_end(self) -> None:
        """Close the stage, unless the Trainer stopped it half-way."""
        if self.ledger.finished:
            self._close(self.hypnogram[self.ledger.stage], self.global_step)
            held = self._seen(self.ledger.rows[-1], "validation")
            if held is not None:
                # only held-out training data may steer callbacks; test accuracies go to the loggers alone
                self.log("val/accuracy", held, batch_size=1, sync_dist=True)

    def on_train_end(self) -> None:
        """Examine a life that was stopped between two examinations, so that its results say where it got."""
        if self.ledger.rows[-1]["global_step"] != self.global_step:
            stage = self.hypnogram[self.ledger.stage - (self.ledger.step == 0)]
            after = "wake" if stage.kind == "wake" else "night"
            self._last_row = self._row(after, stage.experience, stage.night, stage.index, self.global_step)

    def _close(self, stage: Stage, global_step: int) -> None:
        ledger = self.ledger
        if stage.kind == "wake":
            stage = self._decide(stage)
            if self._ends_day(stage):
                self._dusk(stage)
        if stage.evaluated:
            after = "wake" if stage.kind == "wake" else "night"
            ledger.rows.append(self._row(after, stage.experience, stage.night, stage.index, global_step))
            self._log_row(ledger.rows[-1])
        ledger.optimizer_steps[stage.kind] += global_step - ledger.opened_at
        ledger.stage, ledger.step, ledger.finished, ledger.opened_at = stage.index + 1, 0, False, global_step
        self._clock = time.perf_counter()

    def _decide(self, stage: Stage) -> Stage:
        """Ask the schedule whether the night that may follow does, and keep the plan in line with its answer."""
        plan, following = self.hypnogram, stage.index + 1
        sleeps = following < len(plan) and plan[following].kind != "wake"
        if sleeps and plan[following].tentative:
            night = plan[following].night
            sleeps = self.schedule.decide()
            self._hypnogram = plan.granted(night) if sleeps else plan.dropped(night)
            loop = self.trainer.fit_loop
            if loop.max_epochs == len(plan):
                loop.max_epochs = len(self.hypnogram)
        if sleeps:
            self.schedule.slept()
        return self.hypnogram[stage.index]

    def _ends_day(self, stage: Stage) -> bool:
        """True when a night follows a wake stage, or another experience, or nothing."""
        following = stage.index + 1
        return following == len(self.hypnogram) or self.hypnogram[following].first_step == 0

    def _dusk(self, stage: Stage) -> None:
        """Copy the teacher of the day's own classes, and let memory and generator keep what they need of the day."""
        for part in self._plastic:
            part.dusk(self.network)
        if self.dusk is not None:
            self.dusk.copy_from(self.network)
        if self.memory is not None:
            self._settle(self.memory, stage)
            rebalance(self.memory, self.device)
            self._held_elsewhere = held_elsewhere(self.memory)
        if self.generator is not None:
            rng = randoms(self.seed, Purpose.SETTLE, stage.index, device=self.device)
            self.generator.end_experience(self._met(stage, everywhere=True), stage.experience, rng)
        self.ledger.seconds["wake"] += time.perf_counter() - self._clock

    def _settle(self, memory: Memory, stage: Stage) -> None:
        if not local_count(len(self._day(stage)), self._place):
            # fewer samples than processes: this one has met none of its own
            return
        rng = randoms(self.seed, Purpose.MEMORY, stage.index, -1, self.global_rank)
        modes = [(module, module.training) for module in self.network.modules()]
        self.network.eval()
        with torch.no_grad():
            memory.end_experience(
                self._met(stage), self.network, self.dawn if stage.experience else None, stage.experience, rng
            )
        for module, mode in modes:
            module.training = mode

    def _met(self, stage: Stage, everywhere: bool = False) -> Iterator[Batch]:
        """What has been met of the experience so far, in order; ``everywhere`` adds what other processes met."""
        samples = self._day(stage)
        place = RankInfo(self.seed, self.device) if everywhere else self._place
        batch = self.wake.batch_size * (self.trainer.world_size if everywhere else 1)
        steps = stage.first_step + stage.steps + self.ledger.ahead
        count = min(steps * batch, local_count(len(samples), place))
        index = pass_order(len(samples), stage.experience, 0, place)[:count]
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            few = self.wake.batch_size * int(self.trainer.fast_dev_run)  # type: ignore[attr-defined]
            y = samples.y.cpu()
            index = torch.cat([(y == label).nonzero().flatten()[:few] for label in y.unique()])
        read = samples.batches(index.sort().values.split(1024))
        return (self.trainer.strategy.batch_to_device(batch, self.device) for batch in read)

    # ---------------------------------------------------------------- examinations

    def _row(self, after: str, experience: int, night: int, stage: int, global_step: int) -> dict[str, Any]:
        """Examine the network on every experience: one row of the accuracy matrix."""
        started = time.perf_counter()
        candidate = self._averages[-1] if self.evaluated == "average" else self.network
        tested, held = evaluate(candidate, self._data, self.active_outputs, experience, self.device)
        self.ledger.seconds["examination"] += time.perf_counter() - started
        return {
            "after": after,
            "experience": experience,
            "night": night,
            "stage": stage,
            "global_step": global_step,
            "accuracy": tested,
            "validation": held or None,
        }

    def _log_row(self, row: Any) -> None:
        (whole,) = metrics.whole_rows([row], self.stream.origins)
        named = {f"test/accuracy/experience_{index}": value for index, value in enumerate(whole["accuracy"])}
        named |= {"stream/experience": row["experience"], "stream/average_accuracy": self._seen(row, "accuracy")}
        if row["night"] >= 0:
            named |= {"sleep/night": row["night"], "sleep/gain": metrics.night_gains(self._whole_rows)[-1]}
        present = {name: float(value) for name, value in named.items() if value is not None}
        for logger in self.loggers:
            logger.log_metrics(present, step=row["global_step"])

    def _seen(self, row: Any, split: Literal["accuracy", "validation"]) -> float | None:
        """Average over the experiences met so far; None where nothing was measured."""
        (whole,) = metrics.whole_rows([row], self.stream.origins)
        accuracies = whole[split]
        return None if accuracies is None else metrics.average_seen(accuracies, whole["experience"])

    @property
    def _whole_rows(self) -> list[metrics.AccuracyRow]:
        return metrics.whole_rows(self.ledger.rows, self.stream.origins)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """For ``trainer.validate``: accuracy on held-out training data per experience."""
        self._log_accuracy("val", batch, dataloader_idx)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """For ``trainer.test``: accuracy on test data per experience."""
        self._log_accuracy("test", batch, dataloader_idx)

    def _log_accuracy(self, split: str, batch: Batch, index: int) -> None:
        logits = self.network(batch.x)
        if self.active_outputs == "task":
            classes = class_mask(self.stream, [index]).to(logits.device)
            logits = logits.masked_fill(~classes, -torch.inf)
        share = (logits.argmax(dim=1) == batch.y).float().mean()
        name = f"{split}/accuracy/experience_{index}"
        self.log(name, share, on_epoch=True, add_dataloader_idx=False, batch_size=len(batch.y), sync_dist=True)

    # ---------------------------------------------------------------- what it leaves

    def gallery(self, per_class: int) -> Dream | None:
        """Dreams (or, without a generator, memories) to look at, on the CPU; None when there is nothing to show yet.

        Drawn with random numbers of their own: looking changes nothing.

        Args:
            per_class: how many of each class.
        """
        rng = randoms(self.seed, Purpose.GALLERY, self.ledger.stage, device=self.device)
        if self.generator is not None and self.generator.dreamable.any() and not self.generator.is_features:
            y = self.generator.dreamable.nonzero().flatten().repeat_interleave(per_class)
            dream = self.generator.dream(y, rng)
            named = y if self.generator.conditional else self._names(dream.x)
            return Dream(dream.x.cpu(), named.cpu())
        if self.memory is None or not len(self.memory):
            return None
        if self.memory.is_features:
            return None
        x, y = self.memory.draw(len(self.memory), rng)[:2]
        chosen = torch.cat([(y == label).nonzero().flatten()[:per_class] for label in y.unique()])
        return Dream(x[chosen].cpu(), y[chosen].cpu())

    def _names(self, x: Tensor) -> Tensor:
        """What the learner sees in (B, *S) dreams that nobody asked for."""
        with torch.no_grad():
            return Frozen(self.network)(x).argmax(dim=1)

    def results(self) -> dict[str, Any]:
        """The life so far as plain numbers: protocol, hypnogram, accuracy matrix, metrics and cost.

        Accuracies are fractions of 1. A row of the matrix holds, after one wake or one night, the test accuracy on
        every experience, met or not; ``birth`` is the network before its first step.
        """
        ledger = self.ledger
        rows = [*ledger.rows, *([] if self._last_row is None else [self._last_row])]
        steps = dict(ledger.optimizer_steps)
        if ledger.step:
            steps[self.hypnogram[ledger.stage].kind] += self.global_step - ledger.opened_at
        held = [experience.validation for experience in self.stream.experiences]
        lived = self.hypnogram[min(ledger.stage, len(self.hypnogram) - 1)].experience
        sizes = self.bytes()
        sizes["memory"] += days_kept(self.stream, lived, self.wake)
        origins = self.stream.origins
        return {
            "complete": ledger.stage == len(self.hypnogram),
            "seed": self.seed,
            "protocol": {
                "stream": self.stream.name,
                "scenario": self.stream.scenario,
                "experiences": len(self.stream),
                "class_order": [list(classes) for classes in self.stream.class_order],
                "active_outputs": self.active_outputs,
                "train_samples": [len(experience.train) for experience in self.stream.experiences],
                "validation_samples": [0 if samples is None else len(samples) for samples in held],
                "test_samples": [len(experience.test) for experience in self.stream.experiences],
                "sample_shape": list(self.stream.sample_shape),
                "num_classes": self.stream.num_classes,
                **({"origins": list(origins)} if self.stream.in_pieces else {}),
            },
            "hypnogram": self.hypnogram.as_records(),
            "accuracy_matrix": {"rows": rows},
            "metrics": dict(metrics.summarise(rows, origins)),
            "cost": {
                "optimizer_steps": steps,
                "samples": dict(ledger.samples),
                "seconds": dict(ledger.seconds),
                "bytes": sizes,
            },
        }

    def bytes(self) -> dict[str, int]:
        """Bytes held now: network, generator, teachers, plasticity on each process, memory on all together."""
        teachers = [teacher for teacher in (self.dawn, self.dusk) if teacher is not None]
        return {
            "network": module_bytes(self.network),
            "memory": 0 if self.memory is None else self.memory.nbytes + self._held_elsewhere,
            "generator": 0 if self.generator is None else self.generator.nbytes,
            "teacher": sum(teacher.nbytes for teacher in teachers),
            "plasticity": sum(part.nbytes for part in self._plastic),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add ledger, plan and the memories of all processes: plain containers and tensors, for safe loading.

        Each process has to call it, as Lightning does in ``Trainer.save_checkpoint``.
        """
        self.ledger.saved_at = self.global_step
        checkpoint["state_dict"] = {plain_name(name): value for name, value in checkpoint["state_dict"].items()}
        checkpoint["dreamer"] = {
            "ledger": self.ledger.state_dict(),
            "hypnogram": None if self._hypnogram is None else self._hypnogram.as_records(),
            "memory": None if self.memory is None else all_gather(self.memory.state_dict()),
            "devices": self.trainer.world_size,
            "schedule": dict(self.schedule.state_dict()),
            "seed": self.seed,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back, and bring Lightning's counters in line with the ledger.

        Raises:
            ValueError: when the checkpoint belongs to a life with another plan or seed.
        """
        saved = checkpoint["dreamer"]
        mine = {plain_name(name): name for name in self.state_dict()}
        checkpoint["state_dict"] = {mine.get(name, name): value for name, value in checkpoint["state_dict"].items()}
        self.schedule.load_state_dict(saved["schedule"])
        self.ledger = Ledger.from_state(saved["ledger"])
        if self._hypnogram is not None:
            self._take_over(saved["hypnogram"] or [], saved["seed"], saved["devices"])
        self._context = None
        if self.memory is not None and saved["memory"] is not None:
            restore(self.memory, saved["memory"])
        if "loops" in checkpoint:
            ledger = self.ledger
            position = (ledger.stage + 1, 0) if ledger.finished else (ledger.stage, ledger.step)
            align_loops(checkpoint["loops"]["fit_loop"], *position)

    def _take_over(self, records: list[dict[str, Any]], seed: int, devices: int) -> None:
        """Go on with a saved plan: this one, or, where nights were left open, what has become of it.

        On another number of devices a day may have another number of steps; then this plan is the one that counts.
        """
        mine = self.hypnogram.as_records()
        here = self.trainer.world_size
        theirs = mine if devices == here else self.plan(self.stream, devices).as_records()
        if seed != self.seed or (records != theirs and not (records and self.schedule.data_driven)):
            raise ValueError(
                "the checkpoint belongs to another life: "
                f"expected seed {self.seed} and the {len(theirs)} stages of this plan, "
                f"got seed {seed} and {len(records)} stages"
            )
        if theirs == mine != records:
            loop = self.trainer.fit_loop
            self._hypnogram = Hypnogram.from_records(records)
            if loop.max_epochs == len(mine):
                loop.max_epochs = len(records)
        if devices != here:
            change_devices(self.ledger, Hypnogram.from_records(records), self.hypnogram, devices, here)

    @property
    def _data(self) -> StreamDataModule:
        return self.trainer.datamodule  # type: ignore[attr-defined]

"""The wake-sleep cycle as one LightningModule and one ``Trainer.fit``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dreamer.config.registry import name_of
from dreamer.core.arguments import checked
from dreamer.core.hypnogram import Hypnogram
from dreamer.core.ledger import Ledger
from dreamer.core.limits import at_least
from dreamer.core.randomness import Purpose, mix, seed_global
from dreamer.core.types import Batch, Dream, Stage, Step
from dreamer.generators import Generator
from dreamer.loop.batches import RankInfo
from dreamer.loop.checks import check_unused, checked_plan
from dreamer.loop.finite import FiniteWatch
from dreamer.loop.plan import (
    ActiveOutputs,
    Parts,
    SleepStage,
    classes_at,
    evaluated_classes,
    folds,
    kept_bytes,
    seen_classes,
    stored,
)
from dreamer.loop.sleeper import Sleeper
from dreamer.memory import Memory
from dreamer.metrics import AccuracyRow
from dreamer.metrics.record import protocol_record, results_record, seen_average
from dreamer.plasticity import Plasticity
from dreamer.problems import Classification, Problem
from dreamer.schedules import Boundary, Schedule
from dreamer.stages import NREM, REM, Wake
from dreamer.stages.replay import for_problem
from dreamer.streams.base import Stream
from dreamer.training.averaging import weight_sums
from dreamer.training.data import StageLoader, StreamDataModule
from dreamer.training.distributed import held_elsewhere, mean_over_ranks, rebalance
from dreamer.training.evaluation import Evaluation, accuracy_row, evaluate, tally
from dreamer.training.guard import NightGuard
from dreamer.training.logs import log_row, named_losses
from dreamer.training.monitors import count_evaluations, monitored, warn_of_early_stop
from dreamer.training.one_tree import OfOneTree
from dreamer.training.origin import Origin
from dreamer.training.rates import check_total_steps
from dreamer.training.resume import load_run, save_run
from dreamer.training.trainer import (
    change_plan,
    check_precision,
    fit_plan,
    optimizers_in,
    parameter_groups,
    planned_steps,
)

OptimizerFactory = Callable[..., torch.optim.Optimizer]


class WakeSleepModule(OfOneTree, pl.LightningModule):
    """Trains on a stream of experiences and sleeps between them: it replays and varies what it has seen.

    One run is one ``Trainer.fit`` with a :class:`dreamer.training.data.StreamDataModule`; one Lightning epoch is one
    stage. The :class:`dreamer.loop.sleeper.Sleeper` holds the cycle, this module gives it to Lightning::

        rows = [evaluate()]                                  # on_fit_start: the untrained network
        for stage in hypnogram:                              # wake, or a stage of a night
            if the stage opens an experience:                # on_train_epoch_start
                sleeper.begin_experience(stage)              # dawn: copy the teacher of the old classes
            for step in sleeper.steps(samples):              # stage_loader: a real batch, dreams, or both
                losses = sleeper.train_step(step)            # training_step: teachers, losses, memory, counts
                losses.total.backward(); optimizer.step()    # Lightning
                sleeper.after_step()                         # optimizer_step: plasticity
            if a wake stretch is over:                       # on_train_epoch_end
                hypnogram = sleeper.decide(hypnogram)        # the schedule: does the next night come?
                sleeper.end_day(stage, batches)              # dusk: new teacher, memory and generator
            if stage.evaluated:
                rows.append(evaluate())                      # a row of the accuracy matrix

    Sleep batches come through the loader and :meth:`training_step` like any other, so steps, logs, clipping,
    accumulation, precision and checkpoints are the Trainer's own. Killed and resumed with ``ckpt_path``, a run ends
    with the same numbers.

    Args:
        network: the learner; maps (B, *S) to (B, K) logits.
        wake: how the learner trains on an experience; by default one pass.
        night: the sleep stages of one cycle, in order, empty for no sleep; by default NREM and REM where there is a
            memory or a generator.
        memory: what is kept of the experiences, or None.
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
        problem: what the learner predicts; by default the class of a sample.
        roll_back: by how much a night may worsen the mean held-out score of the experiences seen so far, in its own
            unit; one that worsens it more is undone. None undoes nothing.
        seed: of everything that is drawn at random.

    Attributes:
        accept_changes: load a checkpoint of a run with other parts or another stream all the same.

    Raises:
        ValueError: (in ``setup``) when parts make no sense together, with the reason.
    """

    @checked
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
        problem: Problem | None = None,
        roll_back: float | None = None,
        seed: int = 0,
    ):
        super().__init__()
        at_least(0, generator_lr=generator_lr)
        replays = memory is not None or generator is not None
        night = night if night is not None else (NREM(), REM()) if replays else ()
        self.network = network
        self.problem = Classification() if problem is None else problem
        self.wake = for_problem(Wake() if wake is None else wake, self.problem)
        self.night = tuple(for_problem(stage, self.problem) for stage in night)
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
        self.sleeper = Sleeper(self.parts, RankInfo(seed, torch.device("cpu")))
        self.sleeper.attach()
        self.sleeper.make_teachers()
        # registered here too, so that they move to the training device and are saved
        self.dawn, self.dusk = self.sleeper.dawn, self.sleeper.dusk
        if evaluated == "average" and not self.parts.averages:
            raise ValueError("evaluated='average' needs a plasticity part that keeps a moving average of the learner")
        self._hypnogram: Hypnogram | None = None
        self._last_row: AccuracyRow | None = None
        self._stage_weights: Tensor | None = None
        self._schedule_start = dict(self.schedule.state_dict())
        self._trained = False
        self._watch = FiniteWatch()
        self.guard = NightGuard(roll_back)
        self.origin = Origin(self.parts)
        self.accept_changes = False

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

    @property
    def parts(self) -> Parts:
        """The parts of the run."""
        return Parts(
            network=self.network,
            wake=self.wake,
            night=self.night,
            memory=self.memory,
            generator=self.generator,
            plasticity=tuple(part for part in self.plasticity if isinstance(part, Plasticity)),
            schedule=self.schedule,
            active_outputs=self.active_outputs,
            problem=self.problem,
        )

    @property
    def ledger(self) -> Ledger:
        """Where the run stands, what it scored and what it cost."""
        return self.sleeper.ledger

    # ---------------------------------------------------------------- the plan

    @property
    def hypnogram(self) -> Hypnogram:
        """The plan of the run; a ``RuntimeError`` before the Trainer has set the module up."""
        if self._hypnogram is None:
            raise RuntimeError(
                "the run is planned when Trainer.fit sets the module up; call plan(stream) to see the plan before"
            )
        return self._hypnogram

    @property
    def planned(self) -> bool:
        """Whether the Trainer has set the module up to fit."""
        return self._hypnogram is not None

    @property
    def stream(self) -> Stream:
        """The experiences of this run."""
        return self._data.stream

    @property
    def _data(self) -> StreamDataModule:
        return self.trainer.datamodule  # type: ignore[attr-defined]

    @checked
    def plan(self, stream: Stream, devices: int = 1) -> Hypnogram:
        """Lay out a run on a stream, or refuse it.

        Args:
            devices: processes that divide each experience among them.

        Raises:
            ValueError: when parts make no sense together, with the reason.
        """
        return checked_plan(stream, self.parts, self.cycles, devices)

    def check_trainer(self, trainer: pl.Trainer) -> None:
        """Raise a ValueError when a Trainer's precision does not suit the run."""
        found = optimizers_in(self.configure_optimizers())
        check_precision(trainer, [group for optimizer in found for group in optimizer.param_groups])

    def setup(self, stage: str) -> None:
        """Plan the run and set the Trainer's number of epochs to that of its stages."""
        if stage != "fit":
            return
        self._hypnogram = fit_plan(self.trainer, self)
        self.guard.check(self)
        self._trained = self.ledger.experience >= 0
        # every fit is a run of its own; a checkpoint, if any, is loaded after this hook and brings its ledger
        self.sleeper.parts, self.sleeper.ledger = self.parts, Ledger()
        self._last_row = self._stage_weights = None
        self._watch = FiniteWatch()
        self.schedule.load_state_dict(self._schedule_start)
        if self.memory is not None:
            self.memory.distribute(self.global_rank, self.trainer.world_size)

    def _replan(self, plan: Hypnogram) -> None:
        """Go on with another plan, as open nights are decided."""
        change_plan(self.trainer, self.hypnogram, plan)
        self._hypnogram = plan

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser; learner and generator are groups whose losses lie on disjoint graphs."""
        return self.optimizer(parameter_groups(self.network, self.generator, self.generator_lr))

    # ---------------------------------------------------------------- one batch

    def stage_loader(self, index: int) -> StageLoader:
        """The loader of one stage."""
        stage = self.hypnogram[index]
        # no closure, which could not be pickled with the Trainer
        return StageLoader(stage, functools.partial(self._steps, stage))

    def _steps(self, stage: Stage) -> Iterator[Step]:
        """The steps that are left of a stage; called for the first batch, when a checkpoint has been loaded."""
        done = self.ledger.step if self.ledger.stage == stage.index else 0
        self.sleeper.enter(stage, classes_at(self.stream, stage.experience, self.active_outputs, self.device))
        samples = self._data.training_samples(stage.experience, self.wake, self.device)
        return self.sleeper.steps(samples if stage.kind == "wake" else None, done)

    def training_step(self, batch: Step, batch_idx: int) -> Tensor | None:
        """Compute the stage's loss of the batch; Lightning calls backward, unless there is nothing to differentiate."""
        sleeper = self.sleeper
        # dropout and the like draw from the global generators: seeded by the step, they can be resumed
        seed_global(mix(self.seed, Purpose.NETWORK, batch.stage, batch.step, self.global_rank), self.device)
        sleeper.anneal(self.trainer.optimizers[0], batch.step)
        mean = functools.partial(mean_over_ranks, self.trainer)
        if self._watch.due:
            self._look()
        losses = sleeper.train_step(batch, sleeper.offered(batch), mean_over_ranks=mean)
        self._watch.add(batch.step, losses.total)
        self.ledger.finished = self.trainer.is_last_batch
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # a Lightning connector sets it
        # a barebones Trainer logs nothing, and says so with 0
        if every and (self.trainer.fit_loop.total_batch_idx + 1) % every == 0:
            self.log_dict(named_losses(sleeper.stage, losses), batch_size=1)
        return losses.total

    def _look(self) -> None:
        """Raise ``Diverged`` when a loss since the last look, or a weight, is not finite."""
        stage = self.hypnogram[min(self.ledger.stage, len(self.hypnogram) - 1)]
        modules = (self.network,) if self.generator is None else (self.network, self.generator)
        self._watch.look(stage, self.ledger.step, modules)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make the step, then show it to the plasticity parts; with accumulation there are fewer of them than batches.

        A hook at the batch's end would come too late: callbacks, which save, have their turn before the module there.
        """
        super().optimizer_step(*args, **kwargs)
        self.sleeper.after_step()

    # ---------------------------------------------------------------- between stages

    def on_fit_start(self) -> None:
        """Evaluate the untrained network, or finish what a killed process left pending.

        No later hook would do: Lightning leaves a fit whose epochs are all counted without calling any.
        """
        where = self.global_rank, self.trainer.world_size
        self.sleeper.info = RankInfo(self.seed, self.device, *where, fold=folds(self.network))
        if self.memory is not None:
            self.memory.to(self.device)
            self.sleeper.bytes_elsewhere = held_elsewhere(self.memory)
        if not self.ledger.rows:
            check_unused(self.parts, self._trained)
            self.ledger.rows.append(self._row(None, 0))
        if self.ledger.finished:
            self._close(self.hypnogram[self.ledger.stage], self.ledger.saved_at)

    def on_train_start(self) -> None:
        """Refuse a learning rate schedule that would run out of steps in a stage to come."""
        steps = planned_steps(self.trainer, self.hypnogram)
        self.guard.resumed(self)
        certain = self.trainer.max_steps < 0 and not any(stage.tentative for stage in self.hypnogram)
        check_total_steps(self.trainer, steps, certain, "all stages", f"total_steps={steps}")

    def on_train_epoch_start(self) -> None:
        """Begin a stage, and an experience: the teacher of the old classes is copied before they are overwritten."""
        stage = self.hypnogram[self.current_epoch]
        # older Lightning calls this hook again when it resumes within an epoch
        if self.ledger.step == 0:
            self.ledger.opened_at = self.global_step
            if stage.opens:
                self.sleeper.begin_experience(stage, seen_classes(self.stream, stage.experience, self.wake))
            self.guard.begin(stage, self)
            if self.parts.spec(stage).from_scratch:
                seed_global(mix(self.seed, Purpose.INIT, stage.index), self.device)
            self.sleeper.move_weights(stage, self.trainer.optimizers[0], self.hypnogram.is_first_night(stage))
        self.ledger.tick()

    def on_train_epoch_end(self) -> None:
        """Close the stage, unless the Trainer stopped it half-way."""
        if self.ledger.finished:
            rows, key = len(self.ledger.rows), monitored(self.problem)
            self._close(self.hypnogram[self.ledger.stage], self.global_step)
            measured = len(self.ledger.rows) > rows
            held = seen_average(self.ledger.rows[-1], self.stream.origins, "validation")
            if held is not None and (measured or key not in self.trainer.callback_metrics):
                # only held-out training data may steer callbacks; test scores go to the loggers alone. After a resume
                # callbacks are shown the last score again, so _close logs it and not this
                self.log(key, held, batch_size=1, sync_dist=True, logger=False)
            count_evaluations(self.trainer, key, measured)
        self._stage_weights = weight_sums(self.evaluated_network)

    def on_train_end(self) -> None:
        """Evaluate once more where the run was stopped between two evaluations, or a callback has averaged weights.

        So the results describe the network that one has. Lightning calls this hook of callbacks before the module's.
        """
        self._look()
        warn_of_early_stop(self.trainer, self.ledger.stage, len(self.hypnogram))
        before, now = self._stage_weights, weight_sums(self.evaluated_network)
        changed = before is not None and not torch.equal(before, now)
        if changed or self.ledger.rows[-1]["global_step"] != self.global_step:
            stage = self.hypnogram[self.ledger.stage - (self.ledger.step == 0)]
            self._last_row = self._row(stage, self.global_step)

    def _close(self, stage: Stage, global_step: int) -> None:
        ledger = self.ledger
        self._look()
        if stage.kind == "wake":
            self._replan(self.sleeper.decide(self.hypnogram, stage))
            stage = self.hypnogram[stage.index]
            if self.hypnogram.ends_day(stage):
                self._end_day(stage)
        if stage.evaluated:
            ledger.rows.append(self.guard.judge(stage, self._row(stage, global_step), self))
            log_row(self.loggers, ledger.rows, self.stream.origins, self.problem, stage, global_step)
        ledger.nights += self.hypnogram.closes_night(stage)
        ledger.close(stage.kind, global_step - ledger.opened_at)
        ledger.opened_at = global_step

    def _end_day(self, stage: Stage) -> None:
        data, whole = self._data, RankInfo(self.seed, self.device, fold=folds(self.network))
        where = stage.shifted(self.ledger.ahead)
        own = data.seen_batches(where, self.wake, self.sleeper.info)
        self.sleeper.end_day(stage, own, data.seen_batches(where, self.wake, whole) or ())
        if self.memory is not None:
            rebalance(self.memory, self.device)
            self.sleeper.bytes_elsewhere = held_elsewhere(self.memory)
        self.ledger.tick("wake")

    # ---------------------------------------------------------------- evaluation

    @property
    def evaluated_network(self) -> nn.Module:
        """What is evaluated: the network, or the slowest of its moving averages."""
        return self.parts.averages[-1] if self.evaluated == "average" else self.network

    def _row(self, stage: Stage | None, global_step: int) -> AccuracyRow:
        """Evaluate on every experience, after a stage or before the first: one row of the accuracy matrix."""
        self.ledger.tick()
        found = self._evaluate(-1 if stage is None else stage.experience)
        self.ledger.tick("examination")
        return accuracy_row(stage, global_step, found)

    def step_row(self) -> AccuracyRow:
        """Evaluate within the current stage, on held-out data of the experiences seen so far.

        The run comes out the same: the network is called in evaluation mode, and global random states are restored.
        Its seconds count as those of evaluations.
        """
        stage = self.hypnogram[self.ledger.stage]
        self.ledger.tick(stage.kind)
        with torch.random.fork_rng():
            found = self._evaluate(stage.experience, held_out_alone=True)
        self.ledger.tick("examination")
        return accuracy_row(stage, self.global_step, found, within=True)

    def _evaluate(self, reached: int, held_out_alone: bool = False) -> Evaluation:
        how = (self.problem, self.active_outputs, reached, self.device, held_out_alone)
        return evaluate(self.evaluated_network, self._data, *how)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """For ``trainer.validate``: the score on held-out training data per experience."""
        self._log_score("val", batch, self._data.held_out[dataloader_idx])

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """For ``trainer.test``: the score on test data per experience."""
        self._log_score("test", batch, dataloader_idx)

    def _log_score(self, split: str, batch: Batch, experience: int) -> None:
        active = evaluated_classes(self.stream, self.active_outputs, experience, self.ledger.experience)
        score = tally(self.evaluated_network, batch, self.problem, active)[0].value
        assert score is not None, "a batch has samples"
        name = f"{split}/{self.problem.key}/experience_{experience}"
        self.log(name, score, on_epoch=True, add_dataloader_idx=False, batch_size=len(batch.y), sync_dist=True)

    # ---------------------------------------------------------------- what it leaves

    def gallery(self, per_class: int) -> Dream | None:
        """So many dreams (or, without a generator, memories) of each class, on the CPU; None before there are any."""
        return self.sleeper.gallery(per_class, self.device)

    def bytes(self) -> dict[str, int]:
        """Bytes held now: network, generator, teachers, plasticity on each process, memory on all together."""
        return self.sleeper.bytes()

    def results(self) -> dict[str, Any]:
        """The run so far as plain numbers: protocol, hypnogram, accuracy matrix, metrics and cost.

        Accuracies are fractions of 1. A row of the matrix holds, after a wake stretch or a night, the test score on
        every experience, seen or not; ``birth`` is the network before its first step.
        """
        ledger, stream, plan = self.ledger, self.stream, self.hypnogram
        now, sizes = plan[min(ledger.stage, len(plan) - 1)], self.bytes()
        sizes["memory"] += kept_bytes(stream, now.experience, self.wake)
        return results_record(
            complete=ledger.stage == len(plan),
            seed=self.seed,
            protocol=protocol_record(stream, self.problem, name_of(type(self.problem)), self.active_outputs),
            hypnogram=plan.as_records(),
            rows=[*ledger.rows, *([] if self._last_row is None else [self._last_row])],
            origins=stream.origins,
            cost=ledger.spent(now.kind, self.global_step)
            | {"bytes": sizes, "stores": stored(self.memory, self.generator, self.wake)},
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add ledger, plan and memories; each process has to call it, as in ``Trainer.save_checkpoint``.

        Nothing is saved of a run that has diverged: the checkpoint before is the last that can be used.
        """
        if self.planned:
            self._look()
        save_run(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back, and bring Lightning's counters in line; a ``ValueError`` for another plan or seed."""
        plan = load_run(self, checkpoint)
        if plan is not None:
            self._replan(plan)

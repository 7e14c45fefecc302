"""Our memories, generators and nights inside a strategy of Avalanche.

    from dreamer.interop.avalanche.plugin import DreamPlugin
    strategy = Naive(model=..., optimizer=..., plugins=[DreamPlugin(memory=ClassBalanced(200), wake_replay=32)])

Avalanche's import takes seconds, so it waits until a plugin is made: importing this file does not import Avalanche.
The cycle is that of :class:`dreamer.loop.sleeper.Sleeper`; this file calls it at the right moments.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.ledger import Ledger
from dreamer.core.sequences import nth_or_last
from dreamer.core.types import Batch, Classes, Dream, Output, Stage
from dreamer.generators import Generator
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.interop.avalanche.learners import TASK, AdaptedLearner, has_heads, is_watched, learner_of, show_tasks
from dreamer.interop.avalanche.refusals import check_heads, check_strategy
from dreamer.interop.avalanche.wiring import (
    CachedForward,
    CurrentBatch,
    extra_fields,
    join_optimizer,
    new_samples,
    probe,
    publish_loss,
    read_experience,
    take_step,
)
from dreamer.loop.batches import RankInfo
from dreamer.loop.checks import check_parts
from dreamer.loop.plan import Parts, SleepStage
from dreamer.loop.sleeper import Sleeper, restore_rates
from dreamer.loop.values import Values, generator_for, stage_for
from dreamer.memory import Memory
from dreamer.memory.base import Buffer
from dreamer.objectives import Objective
from dreamer.schedules import Boundary
from dreamer.stages import NREM, REM, Wake
from dreamer.stages.replay import wants_features
from dreamer.streams.base import Stream

_ENDLESS = 1 << 40
"""Steps of a wake stage whose end the strategy alone knows: it may be stopped early."""


class DreamPlugin:
    """Lets a strategy of Avalanche replay while awake, and sleep after every experience.

    It is a ``SupervisedPlugin``, for strategies that train a classifier with ``optimizer`` and ``criterion``. What
    happens is what happens in :class:`dreamer.training.module.WakeSleepModule` with a night after every experience:

    - An experience begins: the teacher of the old classes is copied (dawn).
    - Every training iteration: replayed samples go through the learner together with the strategy's own batch, and the
      strategy's loss (its criterion, and what plugins before this one have added) becomes the wake stage's loss on real
      samples. The generator learns in the same step: its parameters are a group of the strategy's optimizer (one that
      holds them already, as a learning rate scheduler needs it, is left as it is). The memory is offered every sample
      in the first pass over the experience, or in every pass where its ``every_pass`` says so.
    - An experience ends: the teacher of its classes is copied, memory and generator keep what they need (dusk), and the
      night's steps are made with the strategy's optimizer, before any evaluation that follows. Avalanche's clock counts
      them as training iterations, so they advance the axis of its metrics; the mean loss of each stage goes to its
      loggers as ``Loss_NREM/train_phase/train_stream``. No callbacks of other plugins are called at night.

    What is drawn for dreams and memory depends on ``seed`` and the position in the run. Dropout and the order of the
    samples are drawn from torch's global generator, as everything in Avalanche is.

    Samples are used as the benchmark's transforms give them: those of training for the memory, those of evaluation
    for what is read at dusk.

    Args:
        memory: what is kept of the experiences, or None.
        generator: what makes dreams, or None.
        wake_replay: samples replayed in every training iteration from the second experience on, 0 for none; or a
            :class:`dreamer.stages.Wake`, of which ``replay``, ``replay_weight``, ``source``, ``replay_objectives``,
            ``teacher``, ``replay_perturbations`` and ``steps_per_dream`` count. Passes, batches and the loss on real
            samples are the strategy's.
        night: the sleep stages of one cycle, in order, empty for no sleep; by default NREM and REM.
        cycles: how often a night repeats its stages.
        generator_lr: learning rate of the generator where it differs from the optimizer's default.
        seed: of what is drawn for dreams and memory.

    Attributes:
        ledger: where the run stands and what it cost: stages, nights, steps, samples.
        experiences: trained on so far, nights included.

    Raises:
        ValueError: when there is neither a memory nor a generator, or ``wake_replay`` sets what is the strategy's;
            in training, when parts, benchmark and learner make no sense together.
    """

    # what belongs to the current experience; nothing between two of them
    _classes: Any
    _steps: Any
    _step: Any
    _output: Any
    _entered: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> DreamPlugin:
        """Make a plugin that is one of Avalanche's too."""
        return object.__new__(_with_avalanche() if cls is DreamPlugin else cls)

    @checked
    def __init__(
        self,
        memory: Memory | None = None,
        generator: Generator | None = None,
        wake_replay: int | Wake = 0,
        night: Sequence[SleepStage] | None = None,
        cycles: int = 1,
        generator_lr: float | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if memory is None and generator is None:
            raise ValueError("DreamPlugin dreams from a memory or a generator, but was given neither")
        if cycles < 1:
            raise ValueError(f"a night needs at least one cycle, got cycles={cycles}")
        self.memory = memory
        self.generator = generator
        self.night: tuple[SleepStage, ...] = (NREM(), REM()) if night is None else tuple(night)
        self.cycles = cycles
        self.generator_lr = generator_lr
        self.seed = seed
        self._criterion = _Criterion()
        self.wake = _replaying(wake_replay, self._criterion)
        self.ledger = Ledger()
        self.experiences = 0
        self._sleeper: Sleeper | None = None
        self._old_classes = torch.empty(0, dtype=torch.bool)
        self._forget_experience()

    def __reduce__(self) -> Any:
        # the class that is both ours and Avalanche's has no name under which a checkpoint could find it
        return _blank, (), self.__dict__

    @property
    def optimizer_steps(self) -> dict[str, int]:
        return self.ledger.optimizer_steps

    @property
    def samples(self) -> dict[str, int]:
        """Samples shown so far: ``wake`` real ones, ``replayed`` while awake, ``nrem`` and ``rem`` dreamt ones."""
        return self.ledger.samples

    def bytes(self) -> dict[str, int]:
        """Bytes held now: memory, generator, teachers."""
        held = {} if self._sleeper is None else self._sleeper.bytes()
        return {name: held.get(name, 0) for name in ("memory", "generator", "teacher")}

    # ---------------------------------------------------------------- called by Avalanche

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Dawn: the parts see the learner, and the teacher of the old classes is copied."""
        check_strategy(strategy)
        check_heads(strategy, self.memory, self.generator, self.wake)
        learner = learner_of(strategy)
        sample, outputs = probe(strategy, learner)
        if self._sleeper is None:
            self._sleeper = self._make_sleeper(strategy, learner, sample, outputs)
        self._check_growth(learner, outputs, strategy.device)
        if self.generator is not None:
            join_optimizer(strategy.optimizer, self.generator, self.generator_lr)
        new = torch.zeros_like(self._old_classes)
        new[torch.as_tensor(list(strategy.experience.dataset.targets)).unique()] = True
        self._classes = Classes(self._old_classes.clone(), new)
        stage = Stage(self.ledger.stage, "wake", self.experiences, _ENDLESS, opens=True)
        sleeper = self._sleeper
        sleeper.parts = replace(sleeper.parts, network=learner)
        sleeper.begin_experience(stage)
        sleeper.enter(stage, self._classes)
        self._steps = sleeper.steps(self._batch)  # type: ignore[arg-type]

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Draw what is replayed, and let it enter the learner together with the strategy's batch."""
        rows = slice(new_samples(strategy))
        extras = extra_fields(strategy, rows)
        self._batch.current = Batch(strategy.mb_x[rows], strategy.mb_y[rows], fields=self._kept(strategy, extras, rows))
        self._step = next(self._steps)
        self._entered, past = list(strategy.mbatch), self._step.dream
        if past is None or past.is_features or wants_features(self.wake.replay_objectives):
            return
        if is_watched(strategy.model):
            # whoever watches the learner shall see the strategy's own batch, and last
            self._output = self._past_output(strategy, past)
            return
        strategy.mbatch[0] = torch.cat([strategy.mb_x, past.x])
        for name, column in (past.fields or {}).items():
            place = -1 if name == TASK else int(name)
            strategy.mbatch[place] = torch.cat([strategy.mbatch[place], column])

    def _kept(self, strategy: Any, extras: dict[int, Tensor], rows: slice) -> dict[str, Tensor] | None:
        """What the memory keeps with the samples: what else the benchmark gives, and the task where it has a head."""
        if not isinstance(self.memory, Buffer):
            return None
        tasks = {TASK: strategy.mb_task_id[rows]} if has_heads(strategy.model) else {}
        return {str(place): column for place, column in extras.items()} | tasks or None

    def _past_output(self, strategy: Any, past: Dream) -> Tensor:
        """The learner's (B, K) logits for what is replayed, in a pass of its own."""
        tasks = [past.fields[TASK]] if past.fields and TASK in past.fields else []
        output: Tensor = strategy.model(past.x, *tasks)
        return output

    def after_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the outputs for what is replayed for the loss; strategy and metrics see their own batch."""
        output, count, own = strategy.mb_output, len(self._entered[1]), len(self._batch.current.y)
        past = output[count:] if self._output is None else self._output
        self._output = torch.cat([output[:own], past]) if len(past) else output[:own]
        strategy.mbatch, strategy.mb_output = self._entered, output[:count]

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Compute the wake stage's losses of learner and generator, and offer the strategy's batch to the memory."""
        self._criterion.loss = strategy.loss
        assert self._sleeper is not None
        offered = len(self._step.real.y) if self._sleeper.offers(strategy.clock.train_exp_epochs) else 0
        if has_heads(strategy.model):
            show_tasks(self._sleeper, self._step, self._classes, strategy.mb_task_id[: len(self._step.real.y)])
        network = CachedForward(strategy.model, self._output)
        strategy.loss = self._sleeper.train_step(self._step, offered, network).total

    def after_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Count a step, and let go of its tensors."""
        self.ledger.optimizer_steps["wake"] += 1
        self._criterion.loss = self._output = self._step = self._entered = None
        self._batch.current = None

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Dusk, and the night."""
        assert self._sleeper is not None
        strategy.model.train()
        self._sleeper.end_day(self._sleeper.stage, read_experience(strategy), read_experience(strategy))
        self.ledger.close("wake", 0)
        for cycle, number in itertools.product(range(self.cycles), range(len(self.night))):
            self._sleep(strategy, self._sleeper, cycle, number)
        self._old_classes |= self._classes.new
        self.ledger.nights += 1
        self.experiences += 1
        self._forget_experience()

    # ---------------------------------------------------------------- dawn and night

    def _check_growth(self, learner: Any, outputs: int, device: torch.device) -> None:
        """Make room for the outputs that a learner has grown, where Avalanche adapts it."""
        known = len(self._old_classes)
        if isinstance(learner, AdaptedLearner):
            outputs = max(outputs, known)
            learner.outputs = outputs
        elif known and outputs != known:
            raise ValueError(
                f"the learner's outputs have changed from {known} to {outputs}: expected those of all classes from the "
                "first experience on, or a learner that Avalanche adapts (IncrementalClassifier)"
            )
        self._old_classes = torch.cat(
            [self._old_classes.to(device), torch.zeros(outputs - known, dtype=torch.bool, device=device)]
        )

    def _make_sleeper(self, strategy: Any, learner: Any, sample: Tensor, outputs: int) -> Sleeper:
        """Parts, learner and benchmark see each other, once."""
        x = next(read_experience(strategy)).x.cpu()
        values = Values.of(x)
        night = tuple(stage_for(stage, values) for stage in self.night)
        generator = generator_for(self.generator, values)
        parts = Parts(learner, stage_for(self.wake, values), night, self.memory, generator, (), Boundary())
        sleeper = Sleeper(parts, RankInfo(self.seed, strategy.device), self.ledger)
        if self.generator is not None:
            self.generator.to(strategy.device)
        sleeper.attach()
        check_parts(Stream("the benchmark", (), outputs, tuple(sample.shape)), parts, x)
        if self.memory is not None:
            self.memory.to(strategy.device)
        sleeper.make_teachers()
        return sleeper

    def _forget_experience(self) -> None:
        """Let go of what belongs to an experience: it is no part of a checkpoint."""
        self._batch = CurrentBatch()
        self._classes = self._steps = self._step = self._output = self._entered = self._criterion.loss = None

    def _sleep(self, strategy: Any, sleeper: Sleeper, cycle: int, number: int) -> None:
        """One stage of the night."""
        spec, optimizer = self.night[number], strategy.optimizer
        stage = Stage(
            self.ledger.stage,
            spec.kind,
            self.experiences,
            nth_or_last(spec.steps, self.experiences),
            night=self.ledger.nights,
            cycle=cycle,
            index_in_night=number,
        )
        sleeper.enter(stage, self._classes)
        sleeper.move_weights(stage, optimizer)
        losses: list[Tensor] = []
        for step in sleeper.steps():
            sleeper.anneal(optimizer, step.step)
            show_tasks(sleeper, step, self._classes)
            loss = sleeper.train_step(step).total
            if loss is not None:
                take_step(strategy, loss)
                losses.append(loss.detach())
            self.ledger.optimizer_steps[spec.kind] += 1
            strategy.clock.train_iterations += 1
            strategy.clock.train_exp_iterations += 1
            strategy.clock.total_iterations += 1
        restore_rates(optimizer)
        self.ledger.close(spec.kind, 0)
        publish_loss(strategy, spec, losses)


class _Criterion(Objective):
    """The strategy's own loss on its batch, as it stands when the plugin is called."""

    loss: Any = None

    def __call__(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        return self.loss


@functools.cache
def _with_avalanche() -> type[DreamPlugin]:
    """The class that is both ours and Avalanche's."""
    with quiet():
        from avalanche.core import SupervisedPlugin

    named = {"__doc__": DreamPlugin.__doc__, "__module__": __name__}
    return type("DreamPlugin", (DreamPlugin, SupervisedPlugin), named)


def _blank() -> DreamPlugin:
    """A plugin without attributes, which a checkpoint fills."""
    return DreamPlugin.__new__(DreamPlugin)


def _replaying(given: int | Wake, criterion: _Criterion) -> Wake:
    """The wake stage as given, with the strategy's criterion for real samples."""
    wake = Wake(replay=given) if isinstance(given, int) else copy.copy(given)
    theirs = {
        "perturbations": bool(wake.perturbations),
        "anneal": wake.anneal != 1,
        "warmup": wake.warmup > 0,
        "data": wake.data != "experience",
    }
    for name, wanted in theirs.items():
        if wanted:
            raise ValueError(
                f"wake_replay: {name} is not replay: augmentation is the benchmark's, learning rates and data are the "
                "strategy's"
            )
    if not wake.by_gradient:
        raise ValueError(f"wake_replay: {type(wake).__name__} learns without gradients, a strategy with them")
    wake.objectives = (criterion,)
    return wake

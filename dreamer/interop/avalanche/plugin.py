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

from dreamer.core.ledger import Ledger
from dreamer.core.limits import expect
from dreamer.core.types import Batch, Classes, Dream, Output, Stage
from dreamer.generators import Generator
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.interop.avalanche.wiring import (
    CachedForward,
    CurrentBatch,
    join_optimizer,
    probe,
    publish_loss,
    read_experience,
    take_step,
)
from dreamer.loop.batches import RankInfo
from dreamer.loop.checks import check_kinds, check_parts
from dreamer.loop.plan import Parts, SleepStage
from dreamer.loop.sleeper import Sleeper, restore_rates
from dreamer.loop.values import Values, generator_for, stage_for
from dreamer.memory import Memory
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

    def __new__(cls, *args: Any, **kwargs: Any) -> DreamPlugin:
        """Make a plugin that is one of Avalanche's too."""
        return object.__new__(_with_avalanche() if cls is DreamPlugin else cls)

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
        check_kinds(None, None, night, memory, generator)
        expect("wake_replay", wake_replay, (int, Wake), "32, or Wake(replay=32)")
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
        self._tasks: set[int] = set()
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
        self._check_tasks(strategy)
        sample, outputs = probe(strategy)
        if self._sleeper is None:
            self._sleeper = self._make_sleeper(strategy, sample, outputs)
            self._old_classes = torch.zeros(outputs, dtype=torch.bool, device=strategy.device)
        if outputs != len(self._old_classes):
            raise ValueError(
                f"the learner's outputs have grown from {len(self._old_classes)} to {outputs}: DreamPlugin needs those "
                "of all classes from the first experience on"
            )
        if self.generator is not None:
            join_optimizer(strategy.optimizer, self.generator, self.generator_lr)
        new = torch.zeros_like(self._old_classes)
        new[torch.as_tensor(list(strategy.experience.dataset.targets)).unique()] = True
        self._classes = Classes(self._old_classes.clone(), new)
        stage = Stage(self.ledger.stage, "wake", self.experiences, _ENDLESS, opens=True)
        sleeper = self._sleeper
        sleeper.parts = replace(sleeper.parts, network=strategy.model)
        sleeper.begin_experience(stage)
        sleeper.enter(stage, self._classes)
        self._steps = sleeper.steps(self._batch)  # type: ignore[arg-type]

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Draw what is replayed, and let it enter the learner together with the strategy's batch."""
        self._batch.current = Batch(strategy.mb_x, strategy.mb_y)
        self._step = next(self._steps)
        past = self._step.dream
        if past is not None and not past.is_features and not wants_features(self.wake.replay_objectives):
            strategy.mbatch[0] = torch.cat([strategy.mb_x, past.x])

    def after_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the outputs for what is replayed for the loss; strategy and metrics see their own batch."""
        real = self._batch.current
        self._output = strategy.mb_output
        strategy.mbatch[0], strategy.mb_output = real.x, self._output[: len(real.y)]

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Compute the wake stage's losses of learner and generator, and offer the strategy's batch to the memory."""
        self._criterion.loss = strategy.loss
        assert self._sleeper is not None
        offered = len(self._step.real.y) if self._sleeper.offers(strategy.clock.train_exp_epochs) else 0
        network = CachedForward(strategy.model, self._output)
        strategy.loss = self._sleeper.train_step(self._step, offered, network).total

    def after_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Count a step, and let go of its tensors."""
        self.ledger.optimizer_steps["wake"] += 1
        self._criterion.loss = self._output = self._step = None
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

    def _check_tasks(self, strategy: Any) -> None:
        with quiet():
            from avalanche.models import MultiTaskModule
        self._tasks |= set(getattr(strategy.experience, "task_labels", ()))
        wanted = "expected one head, and a benchmark made with task_labels=False"
        if isinstance(strategy.model, MultiTaskModule):
            raise ValueError(
                f"DreamPlugin works without task labels, but the learner has a head for each task: {wanted}"
            )
        if len(self._tasks) > 1:
            labels = ", ".join(map(str, sorted(self._tasks)))
            raise ValueError(
                f"DreamPlugin works without task labels, but those of the benchmark differ ({labels}): {wanted}"
            )
        mixing = [type(plugin).__name__ for plugin in strategy.plugins if hasattr(plugin, "storage_policy")]
        if mixing:
            raise ValueError(
                f"{mixing[0]} mixes old samples into the strategy's batches, which DreamPlugin would take for new "
                "ones: expected one of the two"
            )

    def _make_sleeper(self, strategy: Any, sample: Tensor, outputs: int) -> Sleeper:
        """Parts, learner and benchmark see each other, once."""
        x = next(read_experience(strategy)).x.cpu()
        values = Values.of(x)
        night = tuple(stage_for(stage, values) for stage in self.night)
        generator = generator_for(self.generator, values)
        parts = Parts(strategy.model, stage_for(self.wake, values), night, self.memory, generator, (), Boundary())
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
        self._classes = self._steps = self._step = self._output = self._criterion.loss = None

    def _sleep(self, strategy: Any, sleeper: Sleeper, cycle: int, number: int) -> None:
        """One stage of the night."""
        spec, optimizer = self.night[number], strategy.optimizer
        stage = Stage(
            self.ledger.stage,
            spec.kind,
            self.experiences,
            spec.steps,
            night=self.ledger.nights,
            cycle=cycle,
            index_in_night=number,
        )
        sleeper.enter(stage, self._classes)
        if spec.from_scratch:
            sleeper.reset_parameters(optimizer)
        losses: list[Tensor] = []
        for step in sleeper.steps():
            sleeper.anneal(optimizer, step.step)
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
    theirs = {"perturbations": bool(wake.perturbations), "anneal": wake.anneal != 1, "data": wake.data != "experience"}
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

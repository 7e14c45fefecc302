"""Our memories, generators and nights inside a strategy of Avalanche.

    from dreamer.interop.avalanche.plugin import DreamPlugin
    strategy = Naive(model=..., optimizer=..., plugins=[DreamPlugin(memory=ClassBalanced(200), wake_replay=32)])

Avalanche's import takes seconds, so it waits until a plugin is made: importing this file does not import Avalanche.
The stages themselves are those of :mod:`dreamer.stages`; this file only asks them at the right moments.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dreamer.core.modes import evaluating
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import KINDS, Batch, Dream, Output, SleepContext, Stage, Step
from dreamer.generators import Generator
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.loop.batches import RankInfo, stage_steps
from dreamer.loop.checks import check_parts
from dreamer.loop.plan import Parts, SleepStage, StageSpec
from dreamer.memory import Memory
from dreamer.networks.base import Frozen, featured, reset_parameters
from dreamer.objectives import Objective
from dreamer.schedules import Boundary
from dreamer.stages import NREM, REM, Wake
from dreamer.stages.replay import wants_features
from dreamer.streams.base import Stream

_ENDLESS = 1 << 40
"""Steps of a day whose end the strategy alone knows: it may be stopped early."""


class DreamPlugin:
    """Lets a strategy of Avalanche replay while awake, and sleep after every experience.

    It is a ``SupervisedPlugin``, for strategies that train a classifier with ``optimizer`` and ``criterion``. What
    happens is what happens in a life of :class:`dreamer.training.module.WakeSleepModule` with a night after every experience:

    - An experience begins: the teacher of the old classes is copied (dawn).
    - Every training iteration: replayed samples go through the learner together with the strategy's own batch, and the
      strategy's loss (its criterion, and what plugins before this one have added) becomes the day's part of the wake
      stage's loss. The generator learns in the same step: its parameters are a group of the strategy's optimizer (one
      that holds them already, as a learning rate scheduler needs it, is left as it is). In the first pass over the
      experience the memory is offered every sample once.
    - An experience ends: the teacher of its classes is copied, memory and generator settle (dusk), and the night's
      steps are made with the strategy's optimizer, before any evaluation that follows. Avalanche's clock counts them as
      training iterations, so they advance the axis of its metrics; the mean loss of each stage goes to its loggers as
      ``Loss_NREM/train_phase/train_stream``. No callbacks of other plugins are called at night.

    What is drawn for dreams and memory depends on ``seed`` and the place in the life. Dropout and the order of the
    samples are drawn from torch's global generator, as everything in Avalanche is.

    Samples are used as the benchmark's transforms give them: those of training for the memory, those of evaluation
    for what a dusk reads of the day.

    Args:
        memory: what is kept of the day, or None.
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
        days: experiences lived through, nights included.
        optimizer_steps: made so far, per kind of stage.
        samples: shown so far: ``wake`` real ones, ``replayed`` while awake, ``nrem`` and ``rem`` dreamt ones.

    Raises:
        ValueError: when there is neither a memory nor a generator, or ``wake_replay`` asks for what is the strategy's;
            in training, when parts, benchmark and learner make no sense together.
    """

    # what belongs to the experience at hand; nothing between two of them
    _today: Tensor
    _context: Any
    _wake: Any
    _step: Any
    _answer: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> DreamPlugin:
        """Make a plugin that is one of Avalanche's too."""
        return object.__new__(_grafted() if cls is DreamPlugin else cls)

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
        self.wake = _day(wake_replay, self._criterion)
        self.days = 0
        self.optimizer_steps = dict.fromkeys(KINDS, 0)
        self.samples = dict.fromkeys(("wake", "replayed", "nrem", "rem"), 0)
        self.dawn: Frozen | None = None
        self.dusk: Frozen | None = None
        self._stage = 0
        self._nights = 0
        self._known = torch.empty(0, dtype=torch.bool)
        self._tasks: set[int] = set()
        self._forget_step()

    def __reduce__(self) -> Any:
        # the class that is both ours and Avalanche's has no name under which a checkpoint could find it
        return _blank, (), self.__dict__

    def bytes(self) -> dict[str, int]:
        """Bytes held now: memory, generator, teachers."""
        teachers = [teacher for teacher in (self.dawn, self.dusk) if teacher is not None]
        return {
            "memory": 0 if self.memory is None else self.memory.nbytes,
            "generator": 0 if self.generator is None else self.generator.nbytes,
            "teacher": sum(teacher.nbytes for teacher in teachers),
        }

    # ---------------------------------------------------------------- called by Avalanche

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Dawn: parts meet the learner, and the teacher of the old classes is copied."""
        self._check_tasks(strategy)
        sample, outputs = _probe(strategy)
        if not len(self._known):
            self._attach_parts(strategy, sample, outputs)
        if outputs != len(self._known):
            raise ValueError(
                f"the learner's outputs have grown from {len(self._known)} to {outputs}: DreamPlugin needs those of "
                "all classes from the first experience on"
            )
        if self.generator is not None:
            _join_optimizer(strategy.optimizer, self.generator, self.generator_lr)
        if self.days and self.dawn is not None:
            self.dawn.copy_from(strategy.model)
        self._today = torch.zeros_like(self._known)
        self._today[torch.as_tensor(list(strategy.experience.dataset.targets)).unique()] = True
        stage = Stage(self._stage, "wake", self.days, _ENDLESS, opens=True)
        self._context = self._context_at(strategy, awake=True)
        self._wake = self._steps_of(stage, self.wake, self._context)

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Replayer what is replayed, and let it enter the learner together with the strategy's batch."""
        self._batch.now = Batch(strategy.mb_x, strategy.mb_y)
        self._step = next(self._wake)
        past = self._step.dream
        if past is not None and not past.is_features and not wants_features(self.wake.replay_objectives):
            strategy.mbatch[0] = torch.cat([strategy.mb_x, past.x])

    def after_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the answer to what is replayed for the loss; strategy and metrics see their own batch."""
        x, y = self._batch.now[:2]
        self._answer = strategy.mb_output
        strategy.mbatch[0], strategy.mb_output = x, self._answer[: len(y)]

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Let the wake stage judge learner and generator, and offer the day's batch to the memory."""
        step = self._step
        self._criterion.loss = strategy.loss
        context = replace(self._context, network=CachedForward(strategy.model, self._answer))
        rng = randoms(self.seed, Purpose.PERTURB, self._stage, step.step, 0, device=strategy.device)
        losses = self.wake.losses(context, step, rng)
        strategy.loss = losses.total
        x, y = step.day[:2]
        if self.memory is not None and strategy.clock.train_exp_epochs == 0:
            rng = randoms(self.seed, Purpose.MEMORY, self._stage, step.step, 0)
            self.memory.add(x, y, rng, losses.answer if self.memory.logits else None)
        self.samples["wake"] += len(y)
        self.samples["replayed"] += 0 if step.dream is None else len(step.dream.y)

    def after_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Count a step, and let go of its tensors."""
        self.optimizer_steps["wake"] += 1
        self._criterion.loss = self._answer = self._step = None
        self._batch.now = None

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Dusk, and the night."""
        strategy.model.train()
        self._settle(strategy)
        self._stage += 1
        for _, (part, spec) in itertools.product(range(self.cycles), enumerate(self.night)):
            self._sleep(strategy, part, spec)
            self._stage += 1
        self._known |= self._today
        self._nights += 1
        self.days += 1
        self._forget_step()

    # ---------------------------------------------------------------- dawn

    def _check_tasks(self, strategy: Any) -> None:
        with quiet():
            from avalanche.models import MultiTaskModule
        self._tasks |= set(getattr(strategy.experience, "task_labels", ()))
        if len(self._tasks) > 1 or isinstance(strategy.model, MultiTaskModule):
            raise ValueError(
                "DreamPlugin lives without task labels, but the learner has a head for each task, or the benchmark's "
                f"labels differ ({', '.join(map(str, sorted(self._tasks)))}): expected one head, and a benchmark made "
                "with task_labels=False"
            )

    def _attach_parts(self, strategy: Any, sample: Tensor, outputs: int) -> None:
        """Parts, learner and benchmark look at each other, once."""
        model, meet = strategy.model, getattr(strategy.model, "attach", None)
        if self.generator is not None:
            self.generator.to(strategy.device)
            self.generator.attach(model)
        if meet is not None:
            if self.generator is None:
                raise ValueError(f"{type(model).__name__} answers with a generator, but DreamPlugin has none")
            meet(self.generator)
        parts = Parts(model, self.wake, self.night, self.memory, self.generator, (), Boundary(), "all")
        check_parts(Stream("the benchmark", (), outputs, tuple(sample.shape)), parts, sample[None])
        if self.memory is not None:
            self.memory.to(strategy.device)
        asked = parts.teachers()
        self.dawn = Frozen(model) if "dawn" in asked else None
        self.dusk = Frozen(model) if "dusk" in asked else None
        self._known = torch.zeros(outputs, dtype=torch.bool, device=strategy.device)

    def _context_at(self, strategy: Any, awake: bool) -> SleepContext:
        return SleepContext(
            strategy.model,
            self.dawn if self.days else None,
            None if awake else self.dusk,
            (),
            self.memory,
            self.generator,
            self._known.clone(),
            self._today,
            None,
            self.days + 1,
            -1 if awake else self._nights,
        )

    def _steps_of(self, stage: Stage, spec: StageSpec, context: SleepContext) -> Iterator[Step]:
        place = RankInfo(self.seed, context.old_classes.device)
        return stage_steps(stage, spec, context, self._batch, place, 0)  # type: ignore[arg-type]

    def _forget_step(self) -> None:
        """No experience is lived through: what belongs to one is no part of a checkpoint."""
        self._batch = _Batch()
        self._today = torch.empty(0, dtype=torch.bool)
        self._context = self._wake = self._step = self._answer = self._criterion.loss = None

    # ---------------------------------------------------------------- dusk and night

    def _settle(self, strategy: Any) -> None:
        if self.dusk is not None:
            self.dusk.copy_from(strategy.model)
        if self.memory is not None:
            rng = randoms(self.seed, Purpose.MEMORY, self._stage, -1, 0)
            with evaluating(strategy.model), torch.no_grad():
                self.memory.end_experience(
                    _read(strategy), strategy.model, self.dawn if self.days else None, self.days, rng
                )
        if self.generator is not None:
            rng = randoms(self.seed, Purpose.SETTLE, self._stage, device=strategy.device)
            self.generator.end_experience(_read(strategy), self.days, rng)

    def _sleep(self, strategy: Any, part: int, spec: SleepStage) -> None:
        """Live through one sleep stage."""
        stage = Stage(self._stage, spec.kind, self.days, spec.steps, self._nights, index_in_night=part)
        optimizer = strategy.optimizer
        if spec.from_scratch:
            reset_parameters(strategy.model)
            for parameter in strategy.model.parameters():
                optimizer.state.pop(parameter, None)
        context = self._context_at(strategy, awake=False)
        rates = [group["lr"] for group in optimizer.param_groups]
        judged: list[Tensor] = []
        for step in self._steps_of(stage, spec, context):
            cooled = 0.5 * (1 + math.cos(math.pi * step.step / stage.steps))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (spec.anneal + (1 - spec.anneal) * cooled)
            rng = randoms(self.seed, Purpose.PERTURB, stage.index, step.step, 0, device=strategy.device)
            losses = spec.losses(context, step, rng)
            if losses.total is not None:
                _take_step(strategy, losses.total)
                judged.append(losses.total.detach())
            with torch.no_grad():
                for weight, delta in losses.changes:
                    weight.add_(delta)
            self.samples[spec.kind] += 0 if step.dream is None else len(step.dream.y)
            self._count(strategy, spec)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        _publish(strategy, spec, judged)

    def _count(self, strategy: Any, spec: SleepStage) -> None:
        self.optimizer_steps[spec.kind] += 1
        strategy.clock.train_iterations += 1
        strategy.clock.train_exp_iterations += 1
        strategy.clock.total_iterations += 1


class _Criterion(Objective):
    """The strategy's own loss on its batch, as it stands when the plugin has its turn."""

    loss: Any = None

    def __call__(self, answer: Output, target: Dream, active: Tensor | None) -> Tensor:
        return self.loss


class CachedForward(nn.Module):
    """The learner, whose answer to a batch the strategy has heard already; it is not asked again.

    Args:
        network: the learner.
        answer: (B, K) logits, the day's first, then those of what is replayed where that entered with it.
    """

    def __init__(self, network: nn.Module, answer: Tensor):
        super().__init__()
        self.network = network
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.answer

    def features(self, x: Tensor) -> Tensor:
        """(B, H) features, for which the learner is asked."""
        return featured(self.network).features(x)

    def classify(self, h: Tensor) -> Tensor:
        """(B, K) logits for (B, H) features, for which the learner is asked."""
        return featured(self.network).classify(h)


class _Batch:
    """Stands where a life has the day's samples: the strategy reads them, and this hands on the batch at hand."""

    now: Any = None

    def __len__(self) -> int:
        return 1

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        """The batch at hand, whatever is asked for."""
        while True:
            yield self.now


@functools.cache
def _grafted() -> type[DreamPlugin]:
    """The class that is both ours and Avalanche's."""
    with quiet():
        from avalanche.core import SupervisedPlugin

    named = {"__doc__": DreamPlugin.__doc__, "__module__": __name__}
    return type("DreamPlugin", (DreamPlugin, SupervisedPlugin), named)


def _blank() -> DreamPlugin:
    """A plugin without attributes, which a checkpoint fills."""
    return DreamPlugin.__new__(DreamPlugin)


def _day(asked: int | Wake, criterion: _Criterion) -> Wake:
    """How the day is judged: as asked, with the strategy's criterion for real samples."""
    wake = Wake(replay=asked) if isinstance(asked, int) else copy.copy(asked)
    theirs = {
        "perturbations": bool(wake.perturbations),
        "anneal": wake.anneal != 1,
        "lives": wake.data != "experience",
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


def _probe(strategy: Any) -> tuple[Tensor, int]:
    """A sample of the experience, and the number of the learner's outputs."""
    sample = strategy.experience.dataset.eval()[0][0]
    if not isinstance(sample, Tensor):
        raise ValueError(f"expected a benchmark whose transforms give tensors, got {type(sample).__name__}")
    with evaluating(strategy.model), torch.no_grad():
        answer = strategy.model(sample[None].to(strategy.device))
    if not isinstance(answer, Tensor) or answer.ndim != 2:
        what = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        raise ValueError(f"expected a learner that answers with (B, K) logits, got {what}")
    return sample, answer.shape[1]


def _join_optimizer(optimizer: torch.optim.Optimizer, generator: Generator, lr: float | None) -> None:
    """Make the generator's parameters a group of the optimizer, unless it holds them."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = [part for part in generator.parameters() if part.requires_grad and id(part) not in held]
    if own:
        optimizer.add_param_group({"params": own} | ({} if lr is None else {"lr": lr}))


def _read(strategy: Any) -> Iterator[Batch]:
    """The experience, in order, as its transforms of evaluation give it."""
    dataset = strategy.experience.dataset.eval()
    for x, y, *_ in DataLoader(dataset, batch_size=1024, collate_fn=getattr(dataset, "collate_fn", None)):
        yield Batch(x.to(strategy.device), y.to(strategy.device))


def _take_step(strategy: Any, loss: Tensor) -> None:
    strategy.loss = loss
    strategy.optimizer.zero_grad()
    strategy.backward()
    strategy.optimizer_step()


def _publish(strategy: Any, spec: SleepStage, losses: Sequence[Tensor]) -> None:
    """Hand the mean loss of a stage to Avalanche's evaluation, whose loggers write it at their next turn."""
    if not losses or not strategy.evaluator.active:
        return
    with quiet():
        from avalanche.evaluation.metric_results import MetricValue
    name = f"Loss_{spec.kind.upper()}/train_phase/train_stream"
    mean = float(torch.stack([loss.reshape(()) for loss in losses]).mean())
    strategy.evaluator.publish_metric_value(MetricValue(None, name, mean, strategy.clock.train_iterations))

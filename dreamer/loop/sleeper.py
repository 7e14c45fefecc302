"""The wake-sleep cycle, written once; torch only."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.core.hypnogram import Hypnogram
from dreamer.core.ledger import Ledger
from dreamer.core.modes import evaluating, resting_norms
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch, Classes, Dream, Losses, SleepContext, Stage, Step
from dreamer.loop.batches import RankInfo, local_count, stage_steps, steps_per_pass
from dreamer.loop.plan import Parts, StageSpec
from dreamer.networks.base import Frozen, forward, module_bytes, move_towards, reset_parameters
from dreamer.networks.heads import add_classes
from dreamer.streams.base import Samples


def itself(value: Tensor) -> Tensor:
    """The mean over the processes, where there is one."""
    return value


_SINGLE = "Expected more than 1 value per channel"
"""What torch says of a single sample in batch norm."""


class Sleeper:
    """What happens to the parts of a run, and in which order; others fetch batches, call backward and save.

    Its drivers are :class:`dreamer.training.module.WakeSleepModule`, the plugin for Avalanche and the callback for
    modules of your own. All of them go the same way::

        sleeper.attach()                                  # once
        for experience in stream:
            sleeper.begin_experience(stage)               # dawn
            for stage in plan of the experience:          # wake, and the stages of the night behind it
                sleeper.enter(stage, classes)
                for step in sleeper.steps(samples):
                    losses = sleeper.train_step(step)     # teachers, losses, memory, counts
                    ...                                   # the driver: backward and the optimiser's step
                    sleeper.after_step()
                if the wake stretch is over:
                    sleeper.end_day(stage, batches)       # dusk

    Args:
        ledger: where the run stands; by default at its beginning.

    Attributes:
        dawn: the teacher from before the experience, None where nobody needs one.
        dusk: the teacher from after the wake stretch, None where nobody needs one.
        stage: the stage that was entered last.
        spec: what is done in it.
        context: what its steps may look at.
        bytes_elsewhere: bytes that the memories of other processes hold.
    """

    stage: Stage
    spec: StageSpec
    context: SleepContext

    def __init__(self, parts: Parts, info: RankInfo, ledger: Ledger | None = None):
        self.parts = parts
        self.info = info
        self.ledger = Ledger() if ledger is None else ledger
        self.dawn: Frozen | None = None
        self.dusk: Frozen | None = None
        self.bytes_elsewhere = 0
        self._samples = 0

    # ---------------------------------------------------------------- once

    def attach(self) -> None:
        """Let the parts see each other and make room for their state; a ``ValueError`` when two do not go together."""
        network, generator = self.parts.network, self.parts.generator
        if generator is not None:
            generator.attach(network)
        attach = getattr(network, "attach", None)
        if attach is not None:
            if generator is None:
                raise ValueError(f"{type(network).__name__} classifies with a generator, but the run has none")
            attach(generator)
        for part in self.parts.plasticity:
            part.prepare(network)

    def make_teachers(self) -> None:
        """Make room for the frozen copies of the learner that the stages need."""
        needed = self.parts.teachers()
        self.dawn = Frozen(self.parts.network) if "dawn" in needed else None
        self.dusk = Frozen(self.parts.network) if "dusk" in needed else None

    # ---------------------------------------------------------------- the beginning of an experience, and of a stage

    def begin_experience(self, stage: Stage, seen: Tensor | None = None) -> None:
        """Dawn: copy the teacher of the old classes before the experience overwrites them.

        Args:
            stage: the first stage of the experience.
            seen: (K,) bool, the classes that have outputs from now on, where the network grows.
        """
        network = self.parts.network
        self.ledger.ahead = 0
        if stage.experience > 0 and self.dawn is not None:
            self.dawn.copy_from(network)
        if seen is not None:
            add_classes(network, seen)
        for part in self.parts.plasticity:
            part.dawn(network)

    def move_weights(self, stage: Stage, optimizer: torch.optim.Optimizer, first_night: bool = True) -> None:
        """Begin a stage elsewhere, where it says so: with new weights, or nearer to those of dawn.

        New weights come from torch's global generator; the optimiser forgets what it knew of the old ones.

        Args:
            first_night: whether the stage is of the first night of its experience; later ones stay where they are,
                because dawn does not know what the first one has kept of the experience.
        """
        spec, network = self.parts.spec(stage), self.parts.network
        if spec.from_scratch:
            reset_parameters(network)
        elif spec.from_dawn and self.dawn is not None and stage.experience > 0:
            move_towards(network, self.dawn.network, spec.from_dawn if first_night else 0.0)
        else:
            return
        for parameter in network.parameters():
            optimizer.state.pop(parameter, None)

    def enter(self, stage: Stage, classes: Classes, dusk: nn.Module | None = None) -> None:
        """Begin a stage, or go on within it.

        Args:
            dusk: in place of the dusk teacher that is kept here.
        """
        dusk = self.dusk if dusk is None else dusk
        self.stage, self.spec = stage, self.parts.spec(stage)
        self.context = SleepContext(
            network=self.parts.network,
            dawn=self.dawn if stage.experience > 0 else None,
            dusk=None if stage.kind == "wake" else dusk,
            averages=self.parts.averages,
            memory=self.parts.memory,
            generator=self.parts.generator,
            old_classes=classes.old,
            new_classes=classes.new,
            active=classes.active,
            experiences_seen=stage.experience + 1,
            night=stage.night,
        )

    def steps(self, samples: Samples | None = None, done: int = 0) -> Iterator[Step]:
        """Draw the steps of the current stage."""
        self._samples = 0 if samples is None else len(samples)
        return stage_steps(self.stage.shifted(self.ledger.ahead), self.spec, self.context, samples, self.info, done)

    # ---------------------------------------------------------------- one step

    def train_step(
        self,
        step: Step,
        offered: int = 0,
        network: nn.Module | None = None,
        mean_over_ranks: Callable[[Tensor], Tensor] = itself,
    ) -> Losses:
        """All of a training step but backward and the optimiser's step.

        Args:
            step: one of :meth:`steps`.
            offered: how many of its real samples, from the start, the memory is offered (see :meth:`offered`).
            network: in place of the learner, where somebody else has called it already.
            mean_over_ranks: means of the same tensor on all processes, for schedules that watch.
        """
        losses = self.losses(step, network)
        if step.real is not None:
            self.offer(step, offered, losses.outputs)
            self._observe(step.real, losses, mean_over_ranks)
        self._count(step)
        with torch.no_grad():
            for weight, delta in losses.changes:
                weight.add_(delta)
        return losses

    def losses(self, step: Step, network: nn.Module | None = None) -> Losses:
        """The losses of a step alone; nothing is counted or kept."""
        context = self.context if network is None else replace(self.context, network=network)
        return self._with_penalties(self._losses(context, self._taught(step)))

    def _losses(self, context: SleepContext, step: Step) -> Losses:
        """The stage's losses; where a single sample enters batch norm, that rests on its running statistics."""
        keys = (self.info.seed, Purpose.PERTURB, self.stage.index, step.step, self.info.rank)
        try:
            return self.spec.losses(context, step, randoms(*keys, device=self.info.device))
        except ValueError as error:
            if _SINGLE not in str(error):
                raise
        with resting_norms(context.network):
            return self.spec.losses(context, step, randoms(*keys, device=self.info.device))

    def _taught(self, step: Step) -> Step:
        """The step with the teachers' outputs for its dreams; of all steps whose dreams were drawn together at once."""
        if step.block is None:
            return step
        if not step.block.taught:
            # teachers work in full precision, whatever the learner is trained in
            with torch.no_grad(), torch.autocast(self.info.device.type, enabled=False):
                step.block.teach(functools.partial(self.spec.teach, self.context))
        return step._replace(dream=step.block.at(step.step))

    def _with_penalties(self, losses: Losses) -> Losses:
        found = [part.penalty(self.parts.network, self.stage.kind) for part in self.parts.plasticity]
        penalties = [penalty for penalty in found if penalty is not None]
        if not penalties or losses.total is None:
            return losses
        penalty = functools.reduce(operator.add, penalties)
        return replace(losses, total=losses.total + penalty, parts={**losses.parts, "penalty": penalty.detach()})

    def offers(self, number: int) -> bool:
        """Whether the memory is offered the samples of this pass over the experience.

        Args:
            number: of the pass, from 0.
        """
        memory = self.parts.memory
        return memory is not None and (number == 0 or memory.every_pass)

    def offered(self, step: Step) -> int:
        """How many real samples of a step, from its start, the memory is offered.

        Those of the first pass over the experience, and of later ones where the memory wants every pass; never what
        fills up the last batch of one process with samples of another.
        """
        if not self._samples:
            return 0
        size = self.parts.wake.batch_size
        done = self.stage.first_step + step.step + self.ledger.ahead
        number, batch = divmod(done, steps_per_pass(self._samples, size, self.info))
        left = max(0, local_count(self._samples, self.info) - batch * size)
        last = batch == steps_per_pass(self._samples, size, self.info) - 1
        return (left if last else min(left, size)) if self.offers(number) else 0

    def offer(self, step: Step, count: int, outputs: Tensor | None = None) -> None:
        """Offer real samples of a step to the memory.

        Args:
            count: how many of them, from the start.
            outputs: (B, K) the learner's outputs, for memories that keep them.
        """
        memory, real = self.parts.memory, step.real
        if memory is None or real is None or not count:
            return
        rng = randoms(self.info.seed, Purpose.MEMORY, step.stage, step.step, self.info.rank)
        logits = outputs[:count] if memory.logits and outputs is not None else None
        fields = {name: column[:count] for name, column in (real.fields or {}).items()}
        group = None if real.group is None else real.group[:count]
        # a memory of somebody's own that knows of no fields serves samples that have none
        memory.add(real.x[:count], real.y[:count], rng, logits, group, **({"fields": fields} if fields else {}))

    def _observe(self, real: Batch, losses: Losses, mean_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Show a wake step to a schedule that watches, the same on all processes."""
        schedule = self.parts.schedule
        if not schedule.data_driven:
            return
        loss = torch.zeros(()) if losses.real_loss is None else mean_over_ranks(losses.real_loss)
        features = None
        if schedule.wants_features:
            with torch.no_grad():
                features = forward(self.parts.network, real.x, features=True).features
            features = None if features is None else mean_over_ranks(features.float().mean(dim=0)).cpu()
        schedule.observe(float(loss), features)

    def _count(self, step: Step) -> None:
        ledger, kind = self.ledger, self.stage.kind
        if step.real is not None:
            ledger.samples["wake"] += self.info.ranks * len(step.real.y)
        if step.dream is not None:
            ledger.samples["replayed" if kind == "wake" else kind] += self.info.ranks * len(step.dream.y)
        ledger.step, ledger.experience = step.step + 1, self.stage.experience
        ledger.tick(kind)

    @torch.no_grad()
    def after_step(self) -> None:
        """The optimiser has made a step: show it to the parts that follow the weights."""
        if self.parts.plasticity:
            rng = randoms(self.info.seed, Purpose.PLASTICITY, self.stage.index, self.ledger.step)
            for part in self.parts.plasticity:
                part.after_step(self.parts.network, self.stage.kind, rng)

    def anneal(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the learning rates of a step; the full ones are kept in the optimiser, so that they are saved with it."""
        left, warmup, scale = self.spec.anneal, self.spec.warmup, self.spec.lr_scale_at(self.stage.experience)
        risen = min((step + 1) / warmup, 1) if warmup else 1
        factor = scale * risen * (left + (1 - left) * 0.5 * (1 + math.cos(math.pi * step / self.stage.steps)))
        for group in optimizer.param_groups:
            if left < 1 or warmup or scale != 1:
                group.setdefault("full_lr", group["lr"])
            if "full_lr" in group:
                group["lr"] = factor * group["full_lr"]

    # ---------------------------------------------------------------- the end of a wake stretch

    def decide(self, plan: Hypnogram, stage: Stage) -> Hypnogram:
        """The plan after a wake stage, once the schedule has decided whether the night behind it comes."""
        following = stage.index + 1
        sleeps = following < len(plan) and plan[following].kind != "wake"
        if sleeps and plan[following].tentative:
            night = plan[following].night
            sleeps = self.parts.schedule.decide()
            plan = plan.granted(night) if sleeps else plan.dropped(night)
        if sleeps:
            self.parts.schedule.slept()
        return plan

    def end_day(self, stage: Stage, own: Iterable[Batch] | None, everywhere: Iterable[Batch]) -> None:
        """Dusk: copy the teacher of the new classes, and let memory and generator keep what they need.

        Args:
            own: what this process has trained on in the experience so far; None where it has had no sample of its own.
            everywhere: what all processes have.
        """
        network, memory, generator = self.parts.network, self.parts.memory, self.parts.generator
        info, dawn = self.info, self.dawn if stage.experience > 0 else None
        for part in self.parts.plasticity:
            part.dusk(network)
        if self.dusk is not None:
            self.dusk.copy_from(network)
        if memory is not None and own is not None:
            rng = randoms(info.seed, Purpose.MEMORY, stage.index, -1, info.rank)
            with evaluating(network), torch.no_grad():
                memory.end_experience(own, network, dawn, stage.experience, rng)
        if generator is not None:
            rng = randoms(info.seed, Purpose.END_EXPERIENCE, stage.index, device=info.device)
            generator.end_experience(everywhere, stage.experience, rng)

    # ---------------------------------------------------------------- what it holds

    def bytes(self) -> dict[str, int]:
        """Bytes held now: network, generator, teachers, plasticity on each process, memory on all together."""
        memory, generator = self.parts.memory, self.parts.generator
        teachers = [teacher for teacher in (self.dawn, self.dusk) if teacher is not None]
        return {
            "network": module_bytes(self.parts.network),
            "memory": 0 if memory is None else memory.nbytes + self.bytes_elsewhere,
            "generator": 0 if generator is None else generator.nbytes,
            "teacher": sum(teacher.nbytes for teacher in teachers),
            "plasticity": sum(part.nbytes for part in self.parts.plasticity),
        }

    def state_dict(self) -> dict[str, Any]:
        """Ledger, schedule and this process's memory, as plain containers and tensors; modules save themselves."""
        memory = self.parts.memory
        return {
            "seed": self.info.seed,
            "ledger": self.ledger.state_dict(),
            "schedule": dict(self.parts.schedule.state_dict()),
            "memory": None if memory is None else memory.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back ledger and schedule; memories are taken back by whoever knows those of all processes."""
        self.ledger.load_state_dict(state["ledger"])
        self.parts.schedule.load_state_dict(state["schedule"])

    def gallery(self, per_class: int, device: torch.device) -> Dream | None:
        """Dreams (or, without a generator, memories) with their groups, on the CPU; None when there are none yet.

        Drawn with random numbers of their own: it changes nothing.
        """
        memory, generator, problem = self.parts.memory, self.parts.generator, self.parts.problem
        rng = randoms(self.info.seed, Purpose.GALLERY, self.ledger.stage, device=device)
        if generator is not None and generator.dreamable.any() and not generator.is_features:
            labels = generator.dreamable.nonzero().flatten().repeat_interleave(per_class)
            dream = generator.dream(labels, rng)
            if not (generator.conditional or problem.groups == "domain"):
                with evaluating(self.parts.network), torch.no_grad():
                    labels = self.parts.network(dream.x).argmax(dim=1)
            return Dream(dream.x.cpu(), labels.cpu())
        if memory is None or not len(memory) or memory.is_features:
            return None
        drawn: Dream = memory.draw(len(memory), rng)
        groups = drawn.groups
        chosen = torch.cat([(groups == group).nonzero().flatten()[:per_class] for group in groups.unique()])
        return Dream(drawn.x[chosen].cpu(), groups[chosen].cpu())


def restore_rates(optimizer: torch.optim.Optimizer) -> None:
    """Undo :meth:`Sleeper.anneal`, where somebody else's training goes on with the optimiser."""
    for group in optimizer.param_groups:
        if "full_lr" in group:
            group["lr"] = group.pop("full_lr")

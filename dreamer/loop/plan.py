"""From parts and a stream to a plan: which stages a run has, on which data, and which classes are active in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dreamer.core.hypnogram import Hypnogram
from dreamer.core.types import Classes, Stage
from dreamer.generators import Generator
from dreamer.memory import ClassStatistics, Memory
from dreamer.plasticity import Plasticity
from dreamer.problems import Classification, Problem
from dreamer.schedules import Schedule
from dreamer.stages import NREM, REM, Hebbian, Wake
from dreamer.stages.replay import Replayer
from dreamer.streams.base import JoinedSamples, Samples, Stream

ActiveOutputs = Literal["all", "seen", "task"]
SleepStage = NREM | REM | Hebbian
StageSpec = Wake | SleepStage
Stored = Literal["samples", "features", "statistics", "nothing"]
"""What a run keeps of its training data: real samples, features or statistics of them, or nothing."""


@dataclass(frozen=True)
class Parts:
    """The parts of one run.

    Attributes:
        wake: how the learner trains on an experience.
        night: the sleep stages of one cycle, in order.
    """

    network: nn.Module
    wake: Wake
    night: tuple[SleepStage, ...]
    memory: Memory | None
    generator: Generator | None
    plasticity: tuple[Plasticity, ...]
    schedule: Schedule
    active_outputs: ActiveOutputs = "all"
    problem: Problem = field(default_factory=Classification)

    @property
    def averages(self) -> tuple[nn.Module, ...]:
        """The moving averages of the learner, the slowest last."""
        return tuple(part.average for part in self.plasticity if part.average is not None)

    def spec(self, stage: Stage) -> StageSpec:
        """What is done in a stage."""
        return self.wake if stage.kind == "wake" else self.night[stage.index_in_night]

    def replayers(self) -> Iterator[tuple[str, StageSpec, Replayer]]:
        """Every stage that replays: where it stands, the stage, and its replayer."""
        if self.wake.replays:
            yield "wake", self.wake, self.wake.replayer
        for number, stage in enumerate(self.night):
            yield f"night stage {number} ({stage.kind})", stage, stage.replayer

    def teachers(self) -> set[str]:
        """Which frozen copies of the learner must be kept: ``dawn``, ``dusk``."""
        needed: set[str] = set()
        for _, stage, replayer in self.replayers():
            awake = stage is self.wake
            if replayer.unlabelled(self.generator) or (awake and replayer.source == "day"):
                needed |= {"dawn"} if awake else {"dusk"}
            if replayer.written(self.generator):
                needed |= {"dawn"} if awake else {replayer.teacher} & {"dawn", "dusk"} or {"dawn", "dusk"}
            if stage.needs_teacher and replayer.teacher != "average":
                needed |= {"dawn", "dusk"} if replayer.teacher == "both" else {replayer.teacher}
        if (self.memory is not None and self.memory.needs_dawn) or any(stage.from_dawn for stage in self.night):
            needed |= {"dawn"}
        return needed


def plan_run(stream: Stream, parts: Parts, cycles: int, devices: int = 1) -> Hypnogram:
    """Lay out a run.

    Args:
        devices: processes that divide each experience among them.

    Raises:
        ValueError: when a stage that learns without gradients should run on several devices, or a stage of the first
            experience's night needs a teacher from before that experience.
    """
    if devices > 1:
        for stage in (parts.wake, *parts.night):
            if not stage.by_gradient:
                raise ValueError(
                    f"{type(stage).__name__} learns without gradients, which {devices} devices cannot average"
                )
    before, fold = 0, folds(parts.network)
    stretches = []
    for experience in stream.experiences:
        samples = len(training_samples(stream, experience.index, parts.wake))
        steps = parts.wake.length(folded(-(-samples // devices), parts.wake.batch_size, fold))
        stretches.append(parts.schedule.cut(steps, before, last=experience.index == len(stream) - 1))
        before += steps
    plan = Hypnogram.plan(stretches, [(stage.kind, stage.steps) for stage in parts.night], cycles)
    _check_dawn(plan, parts)
    return plan


def folded(count: int, batch_size: int, fold: bool) -> int:
    """How many samples of a pass count towards its steps: one that would be left for a last batch does not."""
    return count - 1 if fold and count > batch_size and count % batch_size == 1 else count


def folds(network: nn.Module) -> bool:
    """Whether a network needs two samples in a batch, as batch norm does."""
    return any(isinstance(part, _BatchNorm) for part in network.modules())


def _check_dawn(plan: Hypnogram, parts: Parts) -> None:
    for stage in plan:
        if stage.kind == "wake" or stage.experience > 0:
            continue
        spec = parts.night[stage.index_in_night]
        if spec.needs_teacher and spec.replayer.teacher == "dawn":
            raise ValueError(
                f"night stage {stage.index_in_night} ({stage.kind}): has teacher='dawn', which the first experience "
                "does not have: expected teacher='both', 'dusk' or 'average'"
            )


# -------------------------------------------------------------------- data


def seen_experiences(stream: Stream, index: int, wake: Wake) -> range:
    """The experiences whose classes are seen in experience ``index``: all of them where ``wake.data`` is ``joint``."""
    return range(len(stream) if wake.data == "joint" else index + 1)


def training_samples(stream: Stream, index: int, wake: Wake, read: Callable[[int], Samples] | None = None) -> Samples:
    """What the learner trains on in an experience: its own training samples, or more where ``wake.data`` says so.

    Args:
        read: gives the training samples of an experience by its number; by default those of the stream.
    """
    read = (lambda number: stream.experiences[number].train) if read is None else read
    if wake.data == "experience":
        return read(index)
    return JoinedSamples([read(number) for number in seen_experiences(stream, index, wake)])


def kept_bytes(stream: Stream, index: int, wake: Wake) -> int:
    """Bytes of training data that must be kept to train on again: float32 values and an int64 label each."""
    if wake.data == "experience":
        return 0
    return len(training_samples(stream, index, wake)) * (4 * math.prod(stream.sample_shape) + 8)


def stored(memory: Memory | None, generator: Generator | None, wake: Wake) -> Stored:
    """What is kept of training data beside the network."""
    if wake.data != "experience" or (generator is not None and generator.keeps_samples):
        return "samples"
    if memory is None:
        return "nothing"
    if isinstance(memory, ClassStatistics):
        return "statistics"
    return "features" if memory.is_features else "samples"


def few_samples(stream: Stream, count: int = 64) -> Tensor:
    """(B, *S) of the first experience's training samples, at most ``count``; test samples where those are read once."""
    first = stream.experiences[0]
    samples = first.test if stream.passing else first.train
    return next(iter(samples.batches([torch.arange(min(count, len(samples)))]))).x


# -------------------------------------------------------------------- classes


def class_mask(stream: Stream, experiences: Sequence[int] | range) -> Tensor:
    """(G,) bool, the classes, or domains, of some experiences."""
    mask = torch.zeros(stream.num_groups, dtype=torch.bool)
    for index in experiences:
        mask[list(stream.experiences[index].classes)] = True
    return mask


def seen_classes(stream: Stream, experience: int, wake: Wake) -> Tensor:
    """(G,) bool, the classes, or domains, that are seen by the end of an experience."""
    return class_mask(stream, seen_experiences(stream, experience, wake))


def active_classes(stream: Stream, experience: int, active_outputs: ActiveOutputs) -> Tensor | None:
    """Which classes are active in the softmax in the stages of an experience.

    Args:
        active_outputs: ``all`` outputs, those of classes ``seen`` so far, or those of the sample's own ``task``.

    Returns:
        (K, K) bool, row k for samples of class k; None when all are always active.
    """
    if active_outputs == "all":
        return None
    table = torch.zeros(stream.num_classes, stream.num_classes, dtype=torch.bool)
    if active_outputs == "seen":
        table[:, class_mask(stream, range(experience + 1))] = True
        return table
    for other in stream.experiences:
        mask = class_mask(stream, [other.index])
        table[mask] = mask
    return table


def evaluated_classes(stream: Stream, active_outputs: ActiveOutputs, index: int, reached: int) -> Tensor | None:
    """(K,) bool, the active classes when the samples of an experience are evaluated; None for all.

    Args:
        reached: the experience that was trained on last, from 0; -1 before the first.
    """
    table = active_classes(stream, max(reached, 0), active_outputs)
    # the samples of a task have the same active classes, all of its own; with classes seen all samples have the same
    return None if table is None else table[stream.experiences[index].classes[0]]


def classes_at(
    stream: Stream, experience: int, active_outputs: ActiveOutputs, device: torch.device | str = "cpu"
) -> Classes:
    """Old, new and active classes in the stages of an experience, on a device."""
    active = active_classes(stream, experience, active_outputs)
    return Classes(
        old=class_mask(stream, range(experience)).to(device),
        new=class_mask(stream, [experience]).to(device),
        active=None if active is None else active.to(device),
    )

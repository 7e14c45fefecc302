"""From parts and a stream to a plan: what fits together is laid out, what does not is refused, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from dreamer.generators import Generator
from dreamer.hypnogram import Hypnogram, Stretch
from dreamer.memory import Memory
from dreamer.stages import NREM, REM, Wake
from dreamer.streams.base import Stream

ActiveOutputs = Literal["all", "seen", "task"]


class Schedule(Protocol):
    """Decides when nights come."""

    def cut(self, steps: int, lived: int, last: bool) -> list[Stretch]:
        """Cut the wake steps of an experience into stretches (see :class:`dreamer.schedules.Boundary`)."""
        ...


def plan_life(
    stream: Stream, wake: Wake, night: Sequence[NREM | REM], schedule: Schedule, cycles: int, devices: int = 1
) -> Hypnogram:
    """Lay out a life.

    Args:
        stream: what will be met.
        wake: how an experience is lived through.
        night: the sleep stages of one cycle, in order.
        schedule: when nights come.
        cycles: cycles per night.
        devices: processes that share each experience.
    """
    lived = 0
    days = []
    for experience in stream.experiences:
        steps = wake.length(-(-len(experience.train) // devices))
        days.append(schedule.cut(steps, lived, last=experience.index == len(stream) - 1))
        lived += steps
    return Hypnogram.plan(days, [(stage.kind, stage.steps) for stage in night], cycles)


def check_parts(
    stream: Stream,
    wake: Wake,
    night: Sequence[NREM | REM],
    memory: Memory | None,
    generator: Generator | None,
    active_outputs: ActiveOutputs,
) -> None:
    """Refuse what makes no sense together.

    Raises:
        ValueError: with the reason.
    """
    if active_outputs == "task" and not _disjoint(stream):
        raise ValueError(
            "active_outputs='task' needs experiences with classes of their own, "
            f"but experiences of {stream.name} share classes"
        )
    shape = getattr(generator, "sample_shape", stream.sample_shape)
    if generator is not None and tuple(shape) != tuple(stream.sample_shape):
        raise ValueError(f"the generator makes samples of shape {tuple(shape)}, the stream gives {stream.sample_shape}")
    recalls = {f"night stage {number} ({stage.kind})": stage.recall for number, stage in enumerate(night)}
    if wake.replay:
        recalls["wake"] = wake.recall
    for where, recall in recalls.items():
        if recall.source == "auto" and memory is None and generator is None:
            raise ValueError(f"{where}: recalls, but the life has neither a memory nor a generator")
        if recall.source in ("memory", "both") and memory is None:
            raise ValueError(f"{where}: source={recall.source!r} needs a memory, but the life has none")
        if recall.source in ("generator", "both") and generator is None:
            raise ValueError(f"{where}: source={recall.source!r} needs a generator, but the life has none")
        latent = [type(bent).__name__ for bent in recall.perturbations or () if bent.space == "latent"]
        dreams = generator is not None and recall.source != "memory"
        if latent and not (dreams and generator is not None and generator.has_latents):
            raise ValueError(
                f"{where}: {latent[0]} bends latent codes, "
                "but what is recalled there comes from no generator with latents"
            )
    if any(bent.space == "latent" for bent in wake.perturbations):
        raise ValueError("wake: a latent perturbation cannot bend real samples, which have no latent codes")


def competitors(stream: Stream, experience: int, active_outputs: ActiveOutputs) -> Tensor | None:
    """Which outputs compete in the softmax while an experience is lived through or slept upon.

    Args:
        stream: the stream.
        experience: number of the experience.
        active_outputs: ``all`` outputs, those of classes ``seen`` so far, or those of the sample's own ``task``.

    Returns:
        (K, K) bool, row k for samples of class k; None when all always compete.
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


def class_mask(stream: Stream, experiences: Sequence[int] | range) -> Tensor:
    """(K,) bool, the classes of some experiences."""
    mask = torch.zeros(stream.num_classes, dtype=torch.bool)
    for index in experiences:
        mask[list(stream.experiences[index].classes)] = True
    return mask


def _disjoint(stream: Stream) -> bool:
    labels = [label for experience in stream.experiences for label in experience.classes]
    return len(labels) == len(set(labels))

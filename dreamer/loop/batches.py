"""The steps of one stage, awake or asleep: real batches in their order, and dreams."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch, DreamBlock, SleepContext, Stage, Step
from dreamer.loop.plan import StageSpec, folded
from dreamer.streams.base import Samples, groups_of

_READ_AT_ONCE = 1024


class RankInfo(NamedTuple):
    """Where steps are drawn.

    Attributes:
        rank: number of this process, from 0.
        ranks: processes that divide the experience among them.
        fold: a last batch of one sample joins the one before it, see :func:`dreamer.loop.plan.folds`.
    """

    seed: int
    device: torch.device
    rank: int = 0
    ranks: int = 1
    fold: bool = False


def stage_steps(
    stage: Stage, spec: StageSpec, context: SleepContext, samples: Samples | None, info: RankInfo, start: int
) -> Iterator[Step]:
    """Draw the steps of a stage; the teachers have not seen their dreams yet.

    Args:
        samples: training samples of its experience; None in sleep.
        start: steps that are done already.
    """
    real = None if samples is None else real_batches(stage, spec.batch_size, samples, info, start)
    stride = spec.stride(context)
    block, number = None, -1
    for step in range(start, stage.steps):
        if step // stride != number:
            number = step // stride
            block = _draw_block(stage, spec, context, info, number, stride)
        dream = None if block is None else block.at(step)
        yield Step(stage.index, step, None if real is None else next(real), dream, block)


def _draw_block(
    stage: Stage, spec: StageSpec, context: SleepContext, info: RankInfo, number: int, stride: int
) -> DreamBlock | None:
    """The dreams of ``stride`` steps, or of those that are left; always whole, so that a resumed stage has the same."""
    first = number * stride
    steps = min(stride, stage.steps - first)
    rng = randoms(info.seed, Purpose.DREAM, stage.index, number, info.rank, device=info.device)
    with torch.no_grad():
        dreams = spec.dream(context, steps, rng)
    return None if dreams is None else DreamBlock(dreams, first, steps)


def real_batches(stage: Stage, batch_size: int, samples: Samples, info: RankInfo, start: int) -> Iterator[Batch]:
    """Real batches of a wake stage, in an order that depends on seed, experience and pass alone.

    Arguments as for :func:`stage_steps`.
    """
    per_pass = steps_per_pass(len(samples), batch_size, info)

    def indices() -> Iterator[Tensor]:
        order, ordered = torch.empty(0), -1
        for step in range(stage.first_step + start, stage.first_step + stage.steps):
            number, batch = divmod(step, per_pass)
            if number != ordered:
                order, ordered = pass_order(len(samples), stage.experience, number, info), number
            yield order[batch * batch_size : None if batch == per_pass - 1 else (batch + 1) * batch_size]

    return samples.batches(indices())


def seen_batches(
    stage: Stage, batch_size: int, samples: Samples, info: RankInfo, per_group: int | None = None
) -> Iterator[Batch]:
    """What has been trained on of an experience by the end of a wake stage, each sample once, in the stream's order.

    Args:
        per_group: take so many samples of each class, or domain, instead.
    """
    if per_group is None:
        steps, count = stage.first_step + stage.steps, local_count(len(samples), info)
        if steps < steps_per_pass(len(samples), batch_size, info):
            count = min(steps * batch_size, count)
        index = pass_order(len(samples), stage.experience, 0, info)[:count]
    else:
        groups = groups_of(samples).cpu()
        index = torch.cat([(groups == group).nonzero().flatten()[:per_group] for group in groups.unique()])
    yield from samples.batches(index.sort().values.split(_READ_AT_ONCE))


def pass_order(count: int, experience: int, number: int, info: RankInfo) -> Tensor:
    """The order in which one rank reads an experience's samples."""
    rng = randoms(info.seed, Purpose.ORDER, experience, number)
    order = torch.randperm(count, generator=rng)
    # every rank gets equally many: the first samples of the pass fill up the last
    dealt = torch.arange(-(-count // info.ranks) * info.ranks) % count
    return order[dealt][info.rank :: info.ranks]


def steps_per_pass(count: int, batch_size: int, info: RankInfo) -> int:
    """Steps that one pass over an experience of so many samples takes; the last may be smaller than the others."""
    return math.ceil(folded(math.ceil(count / info.ranks), batch_size, info.fold) / batch_size)


def local_count(count: int, info: RankInfo) -> int:
    """How many of :func:`pass_order`, from its start, are this rank's own; what follows fills up."""
    return len(range(info.rank, count, info.ranks))

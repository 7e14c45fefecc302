"""The steps of one stage, and the loader through which they reach the Trainer, awake or asleep."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch, Dream, SleepContext, Stage, Step
from dreamer.loop.checks import StageSpec
from dreamer.streams.base import Samples


class StageLoader:
    """Yields the steps of one stage, beginning where the life stands.

    Its length is known, so Lightning fetches nothing ahead: a batch is drawn after the step before it is done.

    Args:
        stage: the stage.
        steps: gives the steps that are left; called when the first batch is asked for.
    """

    def __init__(self, stage: Stage, steps: Callable[[], Iterator[Step]]):
        self.stage = stage
        self._steps = steps

    def __len__(self) -> int:
        return self.stage.steps

    def __iter__(self) -> Iterator[Step]:
        # a generator: nothing is asked before the first batch, and by then a checkpoint has been loaded
        yield from self._steps()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the position lies in the ledger. Its presence tells Lightning that the loader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load, see :meth:`state_dict`."""


class RankInfo(NamedTuple):
    """Where steps are drawn.

    Attributes:
        seed: of the life.
        device: the training device.
        rank: number of this process, from 0.
        ranks: processes that share the experience.
    """

    seed: int
    device: torch.device
    rank: int = 0
    ranks: int = 1


def stage_steps(
    stage: Stage, spec: StageSpec, context: SleepContext, day: Samples, place: RankInfo, start: int
) -> Iterator[Step]:
    """Draw the steps of a stage.

    Args:
        stage: the stage.
        spec: what it recalls and how.
        context: the life so far.
        day: training samples of its experience; read in wake alone.
        place: seed, device and rank.
        start: steps that are done already.
    """
    days = day_batches(stage, spec.batch_size, day, place, start) if stage.kind == "wake" else None
    stride = spec.stride(context)
    pool, pooled = None, -1
    for step in range(start, stage.steps):
        block, offset = divmod(step, stride)
        if block != pooled:
            length = min(stride, stage.steps - block * stride)
            rng = randoms(place.seed, Purpose.DREAM, stage.index, block, place.rank, device=place.device)
            with torch.no_grad():
                pool, pooled = spec.dream(context, length, rng), block
            per_step = 0 if pool is None else len(pool.y) // length
        dream = None if pool is None else _slice(pool, offset * per_step, (offset + 1) * per_step)
        yield Step(stage.index, step, None if days is None else next(days), dream)


def day_batches(stage: Stage, batch_size: int, day: Samples, place: RankInfo, start: int) -> Iterator[Batch]:
    """Real batches of a wake stage, in an order that depends on seed, experience and pass alone.

    Arguments as for :func:`stage_steps`.
    """
    per_pass = math.ceil(math.ceil(len(day) / place.ranks) / batch_size)

    def indices() -> Iterator[Tensor]:
        order, ordered = torch.empty(0), -1
        for step in range(stage.first_step + start, stage.first_step + stage.steps):
            number, batch = divmod(step, per_pass)
            if number != ordered:
                order, ordered = pass_order(len(day), stage.experience, number, place), number
            yield order[batch * batch_size : (batch + 1) * batch_size]

    return day.batches(indices())


def pass_order(count: int, experience: int, number: int, place: RankInfo) -> Tensor:
    """The order in which one rank meets an experience's samples.

    Args:
        count: samples of the experience.
        experience: its number.
        number: of the pass over it, from 0.
        place: seed and rank.
    """
    rng = randoms(place.seed, Purpose.ORDER, experience, number)
    order = torch.randperm(count, generator=rng)
    # every rank gets equally many: the first samples of the pass fill up the last
    dealt = torch.arange(-(-count // place.ranks) * place.ranks) % count
    return order[dealt][place.rank :: place.ranks]


def local_count(count: int, place: RankInfo) -> int:
    """How many of :func:`pass_order`, from its start, are this rank's own; what follows fills up."""
    return len(range(place.rank, count, place.ranks))


def _slice(dream: Dream, start: int, stop: int) -> Dream:
    parts: list[Any] = [part[start:stop] if isinstance(part, Tensor) else part for part in dream]
    return Dream(*parts)

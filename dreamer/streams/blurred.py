"""A stream whose boundaries blur: samples leak into experiences around their own."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.randomness import Purpose, randoms
from dreamer.streams.base import Samples, Stream, joined, refuse_passing

Decay = Literal["linear", "gaussian"]


@checked
def blurred(
    stream: Stream, fraction: float = 0.1, decay: Decay = "linear", reach: float = 1.0, seed: int = 0
) -> Stream:
    """The same samples, some of which are seen before or after their own experience.

    Blurry boundaries (i-Blurry, Koh et al. 2022, arXiv 2110.10031). Every sample is
    still seen in one experience alone, and test and held-out data stay where they are. Of a stream in small pieces
    (:func:`dreamer.streams.online`) nearly all samples may move, with a ``reach`` of many pieces: then the mixture of
    classes drifts, and no boundary is left.

    Args:
        stream: what is blurred.
        fraction: of every experience's training samples that leave it, in [0, 1).
        decay: how the chance to arrive falls with the distance d, in experiences: ``linear``, ``reach + 1 - d``, at
            most ``reach`` away; ``gaussian``, ``exp(-(d / reach)^2 / 2)``.
        reach: in experiences, at least 1.
        seed: decides which samples leave, and where they arrive.

    Raises:
        ValueError: when there is one experience only, all samples of one are gone, or an option is out of its range.
    """
    refuse_passing(stream, "blurred")
    if not 0 <= fraction < 1:
        raise ValueError(f"blurred: expected a fraction of samples that leave in [0, 1), got {fraction}")
    if reach < 1 or len(stream) < 2:
        raise ValueError(
            f"blurred: expected a reach of at least 1 in two or more experiences, got {reach} in {len(stream)}"
        )
    dealt: list[list[Samples]] = [[] for _ in stream.experiences]
    for experience in stream.experiences:
        rng = randoms(seed, Purpose.BLUR, experience.index)
        order = torch.randperm(len(experience.train), generator=rng)
        leaving = round(fraction * len(order))
        goal = torch.full_like(order, experience.index)
        if leaving:
            chance = _chances(len(stream), experience.index, decay, reach)
            goal[order[:leaving]] = torch.multinomial(chance, leaving, replacement=True, generator=rng)
        for index in goal.unique().tolist():
            dealt[index].append(experience.train.subset((goal == index).nonzero().flatten()))
    return stream.with_training([joined(parts) if parts else None for parts in dealt], f"{stream.name} blurred")


def _chances(count: int, own: int, decay: Decay, reach: float) -> Tensor:
    """(E,) weights with which a sample of one experience arrives in each of the others."""
    distance = (torch.arange(count) - own).abs().to(torch.float64)
    near = (reach + 1 - distance).clamp_min(0) if decay == "linear" else torch.exp(-0.5 * (distance / reach) ** 2)
    return near.masked_fill(distance == 0, 0)

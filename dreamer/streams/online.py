"""A stream in small pieces, each of which is seen once."""

from __future__ import annotations

from dataclasses import replace

import torch

from dreamer.core.arguments import checked
from dreamer.core.randomness import Purpose, randoms
from dreamer.streams.base import Experience, Stream, groups_in, refuse_passing


@checked
def online(stream: Stream, size: int = 100, seed: int = 0) -> Stream:
    """Every experience cut into pieces of a few samples, in random order.

    Task-free, online continual learning (Aljundi et al. 2019, arXiv 1812.03596), as Avalanche's
    ``split_online_stream``. Pieces are experiences like any other: a night may follow each, and no class is known
    before the piece that brings it. They share test and held-out data of the experience that they come from, which is
    evaluated, and counts, once.

    Args:
        stream: what is cut.
        size: training samples of a piece, at least 1; the last one of an experience may be smaller.
        seed: decides the order of the samples.

    Raises:
        ValueError: when ``size`` is below 1.
    """
    refuse_passing(stream, "online")
    if size < 1:
        raise ValueError(f"online: expected pieces of at least 1 sample, got {size}")
    pieces: list[Experience] = []
    for experience, origin in zip(stream.experiences, stream.origins, strict=True):
        order = torch.randperm(len(experience.train), generator=randoms(seed, Purpose.CUT, experience.index))
        for some in order.split(size):
            train = experience.train.subset(some.sort().values)
            pieces.append(replace(experience, index=len(pieces), classes=groups_in(train), train=train, origin=origin))
    return replace(stream, name=f"{stream.name} online", experiences=tuple(pieces))

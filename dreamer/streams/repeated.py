"""A stream whose classes come back."""

from __future__ import annotations

import torch

from dreamer.core.arguments import checked
from dreamer.core.randomness import Purpose, randoms
from dreamer.streams.base import Samples, Stream, groups_of, joined, refuse_passing


@checked
def repeated(stream: Stream, again: float = 0.2, extra: int = 0, seed: int = 0) -> Stream:
    """The same samples, dealt out so that a class comes back in later experiences.

    Class-incremental learning with repetition (Cossu et al. 2022, arXiv 2112.02925; Hemati et al. 2023,
    arXiv 2301.11396, whose sampling generator draws first occurrences too; here they stay where the stream has them).
    The samples of a class are dealt out evenly over the experiences in which it occurs, so every sample is still
    seen in one alone. Each experience keeps its test and held-out data, those of the classes that it brings first.

    Args:
        stream: its experiences have classes of their own.
        again: chance of a class to come back in each experience after its first one, in [0, 1].
        extra: experiences without new classes that are added at the end; they are evaluated as the last one is.
        seed: decides which classes come back, and in which experience each sample is seen.

    Raises:
        ValueError: when experiences share classes already, a class has too few samples, or an option is out of range.
    """
    refuse_passing(stream, "repeated")
    if not 0 <= again <= 1 or extra < 0:
        raise ValueError(
            f"repeated: expected a chance again in [0, 1] and extra experiences of at least 0, got {again} and {extra}"
        )
    if not stream.disjoint:
        raise ValueError(f"repeated: expected experiences with classes of their own, those of {stream.name} share some")
    count = len(stream) + extra
    dealt: list[list[Samples]] = [[] for _ in range(count)]
    for experience in stream.experiences:
        for label in experience.classes:
            rng = randoms(seed, Purpose.REPEAT, label)
            back = torch.rand(count, generator=rng) < again
            back[: experience.index + 1] = False
            back[experience.index] = True
            own = (groups_of(experience.train) == label).nonzero().flatten().cpu()
            own = own[torch.randperm(len(own), generator=rng)]
            places = back.nonzero().flatten().tolist()
            for place, some in zip(places, own.tensor_split(len(places)), strict=True):
                if len(some):
                    dealt[place].append(experience.train.subset(some.sort().values))
    return stream.with_training([joined(parts) if parts else None for parts in dealt], f"{stream.name} repeated")

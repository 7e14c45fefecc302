"""The real data of an experiment: a stream taken as one experience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch
from dreamer.streams import registry as streams
from dreamer.streams.base import Samples

HeldOut = Literal["test", "validation"]


def real_data(
    stream: Mapping[str, Any], seed: int, samples: int | None, evaluate: HeldOut
) -> tuple[Samples, Samples, Samples, int]:
    """Read the real data of a cell.

    Args:
        stream: ``name`` of a stream, and its options; ``validation`` among them, if need be.
        samples: n, drawn by the seed from the training data; None takes all of them.
        evaluate: what is held out to evaluate on: ``test``, or ``validation`` while settings are being chosen.

    Returns:
        All training data, the n of them, what is held out, and K, the number of classes.

    Raises:
        ValueError: when nothing is held out.
    """
    options = {key: value for key, value in stream.items() if key != "name"}
    built = streams.build(str(stream["name"]), seed=seed, experiences=1, **options)
    (experience,) = built.experiences
    held = experience.test if evaluate == "test" else experience.validation
    if held is None:
        raise ValueError("stream.validation: nothing is held out to evaluate on")
    order = torch.randperm(len(experience.train), generator=randoms(seed, Purpose.SPLIT))[:samples]
    return experience.train, experience.train.subset(order), held, built.num_classes


def tensors(samples: Samples) -> Batch:
    """All samples as one batch."""
    return next(iter(samples.batches([torch.arange(len(samples))])))

"""What every stream must fulfil; shared by the tests of all of them."""

from __future__ import annotations

import torch

from dreamer.streams import Samples, Stream


def everything(samples: Samples) -> tuple[torch.Tensor, torch.Tensor]:
    """All (N, *S) samples and (N,) labels, read in two batches."""
    batches = list(samples.batches(torch.arange(len(samples)).tensor_split(2)))
    return torch.cat([batch.x for batch in batches]), torch.cat([batch.y for batch in batches])


def rows(samples: Samples) -> set[bytes]:
    return {x.numpy().tobytes() for x in everything(samples)[0]}


def check_stream(stream: Stream, distinct: bool = True) -> None:
    """Assert shapes, ranges, types and disjointness; ``distinct`` where no two samples of the data are equal."""
    assert [experience.index for experience in stream.experiences] == list(range(len(stream)))
    assert len(stream.class_names) == stream.num_classes
    for experience in stream.experiences:
        parts = [part for part in (experience.train, experience.test, experience.validation) if part is not None]
        for part in parts:
            assert isinstance(part, Samples)
            x, y = everything(part)
            assert len(part) == len(x) == len(y) > 0
            assert x.shape[1:] == torch.Size(stream.sample_shape) == torch.Size(part.sample_shape)
            assert x.dtype == torch.float32 and 0 <= float(x.min()) and float(x.max()) <= 1 and float(x.max()) > 0.3
            assert y.dtype == torch.int64 and torch.equal(y, part.y)
            assert 0 <= int(y.min()) and int(y.max()) < stream.num_classes
            assert set(y.tolist()) <= set(experience.classes)
        assert set(experience.train.y.tolist()) == set(experience.classes) == set(experience.test.y.tolist())
        if distinct:
            sets = [rows(part) for part in parts]
            assert len(set().union(*sets)) == sum(map(len, parts))
    if stream.scenario in ("class", "task"):
        every_class = [label for experience in stream.experiences for label in experience.classes]
        assert len(every_class) == len(set(every_class))


def same(one: Stream, other: Stream) -> bool:
    """Whether two streams hold the same samples in the same order."""
    pairs = [
        (a, b)
        for e, f in zip(one.experiences, other.experiences, strict=True)
        for a, b in ((e.train, f.train), (e.test, f.test), (e.validation, f.validation))
    ]
    return one.class_order == other.class_order and all(
        all(torch.equal(x, y) for x, y in zip(everything(a), everything(b), strict=True))
        if a is not None and b is not None
        else a is b
        for a, b in pairs
    )

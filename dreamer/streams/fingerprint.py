"""What a stream is known by: its labels, shapes and counts, and a sample of its contents."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dreamer.core.differences import differences, in_words
from dreamer.streams.base import Samples, Stream

_LOOKED_AT = 8
_CLOSE = 1e-3


def fingerprint(stream: Stream) -> dict[str, Any]:
    """What tells a stream from another one, in plain values.

    Contents are means and deviations of a few samples of each set, compared with a tolerance: another decoder, or
    features computed on another device, change last digits. Sets that are read differently each time, and streams that
    are read once, have none.
    """
    found: dict[str, Any] = {
        "name": stream.name,
        "scenario": stream.scenario,
        "sample_shape": list(stream.sample_shape),
        "classes": stream.num_classes,
        "class_names": list(stream.class_names),
        "experiences": len(stream),
    }
    if stream.passing:
        return found
    for index, experience in enumerate(stream.experiences):
        sets = {"train": experience.train, "test": experience.test, "validation": experience.validation}
        found[f"experience_{index}"] = {
            "classes": list(experience.classes),
            **{name: _of_set(samples) for name, samples in sets.items() if samples is not None and len(samples)},
        }
    return found


def changes(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """How a stream differs from one that had another :func:`fingerprint`, one part of a sentence each."""
    return [in_words(found) for found in differences(there, here) if not _close(*found[1:])]


def _of_set(samples: Samples) -> dict[str, Any]:
    labels = samples.y.detach().cpu()
    index = torch.linspace(0, len(samples) - 1, min(_LOOKED_AT, len(samples))).long()
    contents = _contents(samples, index)
    return {
        "samples": len(samples),
        "labels": _sum(labels) if not labels.is_floating_point() else _numbers(labels[index]),
        # a set that is augmented as it is read shows other contents each time
        "contents": contents if contents == _contents(samples, index) else None,
    }


def _contents(samples: Samples, index: Tensor) -> list[float]:
    (batch,) = samples.batches([index])
    x = batch.x.detach().cpu().double().flatten(1)
    return _numbers(torch.stack([x.mean(dim=1), x.std(dim=1, correction=0)]))


def _numbers(values: Tensor) -> list[float]:
    return values.double().flatten().tolist()


def _sum(labels: Tensor) -> str:
    return hashlib.sha256(labels.to(torch.int64).numpy().tobytes()).hexdigest()[:16]


def _close(there: Any, here: Any) -> bool:
    both = isinstance(there, float) and isinstance(here, float)
    return both and abs(there - here) <= _CLOSE * (1.0 + abs(there))

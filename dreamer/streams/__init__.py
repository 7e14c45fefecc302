"""Streams: sequences of experiences, met one after the other and never again."""

from dreamer.streams.base import (
    DataNotFound,
    Experience,
    Samples,
    Scenario,
    Stream,
    TensorSamples,
    hold_out,
    make_stream,
    split_by_class,
)
from dreamer.streams.blurred import blurred
from dreamer.streams.dataset_samples import DatasetSamples, find_labels, materialise
from dreamer.streams.digits import digits
from dreamer.streams.folder import folder
from dreamer.streams.online import online
from dreamer.streams.passing import from_iterable
from dreamer.streams.repeated import repeated
from dreamer.streams.split import split_stream
from dreamer.streams.tensors import from_datasets, from_tensors

__all__ = [
    "DataNotFound",
    "DatasetSamples",
    "Experience",
    "Samples",
    "Scenario",
    "Stream",
    "TensorSamples",
    "blurred",
    "digits",
    "find_labels",
    "folder",
    "from_datasets",
    "from_iterable",
    "from_tensors",
    "hold_out",
    "make_stream",
    "materialise",
    "online",
    "repeated",
    "split_by_class",
    "split_stream",
]

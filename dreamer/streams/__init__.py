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
    on_device,
    split_by_class,
)
from dreamer.streams.dataset_samples import DatasetSamples, find_labels, materialise
from dreamer.streams.digits import digits
from dreamer.streams.folder import folder
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
    "digits",
    "find_labels",
    "folder",
    "from_datasets",
    "from_tensors",
    "hold_out",
    "make_stream",
    "materialise",
    "on_device",
    "split_by_class",
    "split_stream",
]

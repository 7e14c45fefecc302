"""Streams: sequences of experiences, seen one after the other and never again."""

from dreamer.streams.arithmetic import arithmetic
from dreamer.streams.base import (
    DataNotFound,
    Experience,
    Samples,
    Scenario,
    Stream,
    TensorSamples,
    hold_out,
    make_stream,
)
from dreamer.streams.blurred import blurred
from dreamer.streams.classic import CLASSIC, classic, core50
from dreamer.streams.dataset_samples import DatasetSamples, find_labels, materialise
from dreamer.streams.diabetes import diabetes
from dreamer.streams.digits import digits
from dreamer.streams.embedded import embedded
from dreamer.streams.folder import folder
from dreamer.streams.hugging_face import hugging_face
from dreamer.streams.mnist_domains import permuted_mnist, rotated_mnist
from dreamer.streams.online import online
from dreamer.streams.passing import from_iterable
from dreamer.streams.patch_features import patch_features
from dreamer.streams.repeated import repeated
from dreamer.streams.split import split_by_class, split_stream
from dreamer.streams.table import table
from dreamer.streams.tensors import from_datasets, from_tensors
from dreamer.streams.text import from_texts, text

__all__ = [
    "CLASSIC",
    "DataNotFound",
    "DatasetSamples",
    "Experience",
    "Samples",
    "Scenario",
    "Stream",
    "TensorSamples",
    "arithmetic",
    "blurred",
    "classic",
    "core50",
    "diabetes",
    "digits",
    "embedded",
    "find_labels",
    "folder",
    "from_datasets",
    "from_iterable",
    "from_tensors",
    "from_texts",
    "hold_out",
    "hugging_face",
    "make_stream",
    "materialise",
    "online",
    "patch_features",
    "permuted_mnist",
    "repeated",
    "rotated_mnist",
    "split_by_class",
    "split_stream",
    "table",
    "text",
]

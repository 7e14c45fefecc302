from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from dreamer.report import _canvas
from dreamer.streams import Stream, digits

# other people's scripts, run by their own test
collect_ignore = ["public_scripts", "retold_scripts"]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that holds real data sets (``MNIST/raw`` and so on); skips the test where none is named."""
    named = os.environ.get("DREAMER_DATA")
    if not named:
        pytest.skip("needs real data: set DREAMER_DATA to a folder that holds MNIST/raw")
    return Path(named)


@pytest.fixture(scope="session", autouse=True)
def features_lie_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features that a test computes are none of the user's."""
    with mock.patch.dict(os.environ, {"DREAMER_CACHE": str(tmp_path_factory.mktemp("cache"))}):
        yield


@pytest.fixture(scope="session")
def digits_stream() -> Stream:
    """The embedded digits in five experiences, seed 0."""
    return digits()


@pytest.fixture(scope="session", autouse=True)
def pictures_are_coarse() -> Iterator[None]:
    """Drawing the pictures of a tiny run takes longer than the run, and grows with their pixels."""
    with mock.patch.object(_canvas, "_DPI", 40):
        yield


@pytest.fixture(scope="session", autouse=True)
def metadata_read_once() -> Iterator[None]:
    """Every Trainer looks for callbacks in the metadata of all installed packages: a fifth of a tiny run."""
    once = functools.cache(importlib.metadata.entry_points)
    with contextlib.ExitStack() as patches:
        for fabric in ("lightning_fabric", "lightning.fabric"):
            registry = importlib.import_module(f"{fabric}.utilities.registry")
            if hasattr(registry, "entry_points"):
                patches.enter_context(mock.patch.object(registry, "entry_points", once))
        yield

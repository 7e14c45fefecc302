from __future__ import annotations

import os
from pathlib import Path

import pytest

from dreamer.streams import Stream, digits


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that holds real data sets (``MNIST/raw`` and so on); skips the test where none is named."""
    named = os.environ.get("DREAMER_DATA")
    if not named:
        pytest.skip("needs real data: set DREAMER_DATA to a folder that holds MNIST/raw")
    return Path(named)


@pytest.fixture(scope="session")
def digits_stream() -> Stream:
    """The embedded digits in five experiences, seed 0."""
    return digits()

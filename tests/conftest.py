from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dreamer.streams import Stream, digits

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser of this machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright to drive a browser")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} was found")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as driver:
        # Chromium refuses to shut itself in when it belongs to root
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        yield opened
        opened.close()

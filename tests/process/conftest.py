from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder starts processes, a browser, Ray, a build or a notebook, or runs a whole page."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.process)


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

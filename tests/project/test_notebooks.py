"""The notebooks are kept without outputs, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

CHECKOUT = Path(__file__).parents[2]
NOTEBOOKS = sorted((CHECKOUT / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        for link in re.findall(r"\]\(([^)\s:]+)\)", cell.source) if cell.cell_type == "markdown" else ():
            assert (path.parent / link).exists(), link


def test_there_are_notebooks() -> None:
    assert {"a_first_night", "comparing_strategies", "fine_tuning_language"} == {path.stem for path in NOTEBOOKS}

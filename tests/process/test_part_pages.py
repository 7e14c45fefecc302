"""The example of every part's page runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamer.runs import run as runs
from tests.project.test_part_pages import every_part, examples, laid_over, page_of


@pytest.mark.filterwarnings("ignore")
@every_part
def test_the_example_can_be_trained(family: str, name: str, tmp_path: Path) -> None:
    """One step of every stage: for faults that only show when parts work on a batch."""
    for number, block in enumerate(examples(page_of(family, name), "yaml")):
        results = runs.run(laid_over(block.text), "trainer.limit_train_batches=1", out=str(tmp_path / str(number)))
        assert results["complete"]

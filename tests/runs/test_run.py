"""What surrounds the training of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from dreamer import config
from dreamer.runs import run as runs


class Tiny(pl.Callback):
    """Notes what a number too small for float32 counts, at every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, *_: object) -> None:
        self.seen.append(float(torch.tensor(1e-38) / 10))


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="the processor has no such switch")
def test_denormal_numbers_are_zero_while_a_run_is_executed(tmp_path: Path) -> None:
    words = ("digits", "fine_tune", "wake.steps=2", "stream.experiences=2")
    prepared = runs.prepare(config.read(*words, out=str(tmp_path / "run")))
    tiny = Tiny()
    prepared.trainer.callbacks.append(tiny)
    runs.execute(prepared)
    assert tiny.seen == [0.0] * 4
    assert float(torch.tensor(1e-38) / 10) > 0

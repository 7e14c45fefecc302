"""What is misused from Python is refused in one sentence that names what is wrong: a table of misuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dreamer
from dreamer import generators, memory, networks, objectives, perturbations, plasticity, schedules, stages, streams
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.continual_evaluation import ContinualEvaluation
from dreamer.callbacks.dream_quality import DreamQuality
from dreamer.callbacks.run_folder import RunFolder
from tests.helpers.tiny_runs import quiet_trainer, tiny_stream

MISUSES = yaml.safe_load(Path(__file__).with_name("misuse.yaml").read_text(encoding="utf-8"))


def names() -> dict[str, Any]:
    """What the table may name: all public parts, and one of each thing that is made by hand."""
    public: dict[str, Any] = {}
    for package in (generators, memory, networks, objectives, perturbations, plasticity, schedules, stages, streams):
        public |= {name: getattr(package, name) for name in package.__all__}
    public |= {name: getattr(dreamer, name) for name in ("WakeSleepModule", "StreamDataModule", "SleepCallback")}
    stream = tiny_stream()
    return {
        **public,
        "RunCheckpoint": RunCheckpoint,
        "ContinualEvaluation": ContinualEvaluation,
        "DreamQuality": DreamQuality,
        "RunFolder": RunFolder,
        "torch": torch,
        "nn": nn,
        "nan": math.nan,
        "inf": math.inf,
        "stream": stream,
        "network": networks.MLP(stream.sample_shape, stream.num_classes, (4,)),
        "loader": DataLoader(TensorDataset(torch.rand(4, 1, 4, 4), torch.arange(4))),
        "trainer": quiet_trainer,
    }


@pytest.mark.parametrize(("written", "says"), MISUSES, ids=[written for written, _ in MISUSES])
def test_a_misuse_is_refused_in_a_sentence(written: str, says: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refused:
        eval(written, names())
    message = str(refused.value)
    assert says in message and "\n" not in message

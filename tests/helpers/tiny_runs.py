"""Short runs on tiny streams, for tests that need a whole run in a fraction of a second."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from dreamer.generators import ClassConditionalVAE
from dreamer.memory import ClassBalanced
from dreamer.perturbations import Affine, LatentMixing
from dreamer.stages import NREM, REM, Wake
from dreamer.streams.base import Stream, TensorSamples, make_stream
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule


def tiny_stream(experiences: int = 3, per_class: int = 12, side: int = 4, validation: float = 0.25) -> Stream:
    """Two classes in each experience, each a bright spot of its own in noise."""
    rng = torch.Generator().manual_seed(7)

    def samples(classes: list[int], count: int) -> TensorSamples:
        y = torch.tensor(classes).repeat_interleave(count)
        x = 0.3 * torch.rand(len(y), 1, side, side, generator=rng)
        x.flatten(1)[torch.arange(len(y)), y] = 1.0
        return TensorSamples(x, y)

    pairs = [[2 * i, 2 * i + 1] for i in range(experiences)]
    splits = [(samples(pair, per_class), samples(pair, 6)) for pair in pairs]
    return make_stream("tiny", splits, validation=validation)


def tiny_network(stream: Stream, seed: int = 0, dropout: float = 0.1) -> nn.Module:
    """A network with dropout, so that the global random state matters."""
    torch.manual_seed(seed)
    size = int(torch.Size(stream.sample_shape).numel())
    return nn.Sequential(
        nn.Flatten(), nn.Linear(size, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, stream.num_classes)
    )


def tiny_module(stream: Stream, seed: int = 0, **changes: Any) -> WakeSleepModule:
    """Awake replay from memory and generator, then NREM and REM from both."""
    network = tiny_network(stream, seed)
    parts: dict[str, Any] = {
        "wake": Wake(epochs=2, batch_size=9, replay=8),
        "night": [
            NREM(2, 8, steps_per_dream=2),
            REM(3, 8, perturbations=(LatentMixing(), Affine()), steps_per_dream=2),
        ],
        "memory": ClassBalanced(10),
        "generator": ClassConditionalVAE(stream.sample_shape, stream.num_classes, 3, (8,), components=2),
        "seed": seed,
    }
    return WakeSleepModule(network, **(parts | changes))


def quiet_trainer(**options: Any) -> pl.Trainer:
    """A CPU trainer that prints and writes nothing by default."""
    defaults: dict[str, Any] = {
        "max_epochs": -1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": any("heckpoint" in type(c).__name__ for c in options.get("callbacks", [])),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return pl.Trainer(**(defaults | options))


def train(module: WakeSleepModule, stream: Stream, ckpt_path: str | None = None, **options: Any) -> pl.Trainer:
    """Train over the whole stream and return the trainer."""
    trainer = quiet_trainer(**options)
    trainer.fit(module, datamodule=StreamDataModule(stream), ckpt_path=ckpt_path)
    return trainer

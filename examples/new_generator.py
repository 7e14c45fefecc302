"""A generator of your own: one class that is trained or fitted, and one for the snapshot that dreams.

    python examples/new_generator.py

This one is not trained step by step: at dusk it keeps the mean image of every class and the few directions in which its
images differ most. Nothing real is stored. Expect a run whose nights use dreams alone:

    dreams of shape (4, 1, 8, 8), of classes 0 to 9
    average accuracy > 0.8
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor

from dreamer import NREM, REM, StreamDataModule, Wake, WakeSleepModule
from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators import Generator, GeneratorSnapshot
from dreamer.networks import MLP
from dreamer.perturbations import Affine
from dreamer.streams import digits

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


class Sketches(Generator):
    """Mean and principal directions of every class; ``strokes`` is the number of directions."""

    def __init__(self, sample_shape: Sequence[int], num_classes: int, strokes: int = 8):
        super().__init__(sample_shape, num_classes)
        self.strokes = strokes

    def fit(self, seen: Dream, rng: torch.Generator) -> Tensor | None:
        return None  # nothing is trained while awake

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return Sketchbook(classes, torch.Size(self.sample_shape), self.strokes)

    def fill_snapshot(self, snapshot: Sketchbook, day: Iterable[Batch], rng: torch.Generator) -> None:
        batches = list(day)
        x, y = torch.cat([batch.x for batch in batches]), torch.cat([batch.y for batch in batches])
        for row, label in enumerate(snapshot.classes):
            own = x[y == label].flatten(1)
            snapshot.mean[row] = own.mean(dim=0)
            _, spread, directions = torch.linalg.svd(own - snapshot.mean[row], full_matrices=False)
            snapshot.drawn[row] = (spread[:, None] * directions)[: self.strokes] / len(own) ** 0.5


class Sketchbook(GeneratorSnapshot):
    """(C, N) means and (C, D, N) directions, scaled by the standard deviation along each."""

    def __init__(self, classes: Tensor, shape: torch.Size, strokes: int):
        super().__init__(classes)
        self.shape = shape
        self.register_buffer("mean", torch.zeros(len(classes), shape.numel()))
        self.register_buffer("drawn", torch.zeros(len(classes), strokes, shape.numel()))

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        row = torch.searchsorted(self.classes, y)
        codes = torch.randn(len(y), 1, self.drawn.shape[1], generator=rng, device=y.device)
        x = self.mean[row] + (codes @ self.drawn[row]).squeeze(1)
        return x.clamp(0, 1).view(-1, *self.shape), p


if __name__ == "__main__":
    stream = digits(experiences=5)
    generator = Sketches(stream.sample_shape, stream.num_classes)
    torch.manual_seed(0)
    night = [NREM(steps=30), REM(steps=50, perturbations=[Affine()])]
    module = WakeSleepModule(MLP((1, 8, 8), 10), Wake(steps=100, replay=64), night, generator=generator)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(module, datamodule=StreamDataModule(stream))
    dreams = generator.dream(torch.tensor([0, 3, 6, 9]), torch.Generator().manual_seed(0))
    print(f"dreams of shape {tuple(dreams.x.shape)}, of classes 0 to {int(generator.dreamable.sum()) - 1}")
    print(f"average accuracy {module.results()['metrics']['average_accuracy']:.3f}")

"""Your own tensors, or your own datasets, as a stream; the nights come from a memory of real samples.

    python examples/own_tensors.py

Expect both to end far above the accuracy of a network that recognises the classes of the last experience alone:

    from tensors: 5 experiences, average accuracy > 0.75
    from datasets: 3 experiences, average accuracy > 0.75
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch.utils.data import TensorDataset

from dreamer import Stream, StreamDataModule, Wake, WakeSleepModule
from dreamer.memory import ClassBalanced
from dreamer.networks import MLP
from dreamer.objectives import CrossEntropy
from dreamer.streams import from_datasets, from_tensors

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def spots(classes: list[int], count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 20) measurements in noise, and (N,) labels: each class raises two of the twenty."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.tensor(classes).repeat_interleave(count)
    x = 0.8 * torch.rand(len(y), 20, generator=rng)
    x[torch.arange(len(y)), y] += 0.6
    x[torch.arange(len(y)), y + 10] += 0.6
    return x, y


def train(stream: Stream) -> float:
    torch.manual_seed(0)
    module = WakeSleepModule(
        MLP(stream.sample_shape, stream.num_classes, hidden=[64]),
        # a memory alone brings NREM and REM by default
        Wake(epochs=10, batch_size=32, replay=32, replay_weight="equal", replay_objectives=[CrossEntropy()]),
        memory=ClassBalanced(capacity=100),
    )
    trainer = pl.Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(module, datamodule=StreamDataModule(stream))
    return module.results()["metrics"]["average_accuracy"]


if __name__ == "__main__":
    # one pair of tensors: classes are dealt out to experiences, and a fifth of each is split off for testing
    x, y = spots(list(range(10)), 60, seed=0)
    stream = from_tensors(x, y, experiences=5, name="spots")
    print(f"from tensors: {len(stream)} experiences, average accuracy {train(stream):.3f}")

    # a list of (train, test) datasets: one pair per experience, in the order in which they are seen
    pairs = [
        (TensorDataset(*spots(classes, 60, seed=1)), TensorDataset(*spots(classes, 20, seed=2)))
        for classes in ([0, 1, 2], [3, 4, 5, 6], [7, 8, 9])
    ]
    stream = from_datasets(pairs, name="spots")
    print(f"from datasets: {len(stream)} experiences, average accuracy {train(stream):.3f}")

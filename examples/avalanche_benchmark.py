"""Any Avalanche benchmark object as a stream; here a small one of Avalanche's `nc_benchmark`, without a download.

    python examples/avalanche_benchmark.py

Expect the classes in the benchmark's own order, and most of them still recognised at the end:

    the stream has the benchmark's classes, in its order: True
    average accuracy > 0.8
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from dreamer import NREM, REM, StreamDataModule, Wake, WakeSleepModule
from dreamer.interop.avalanche.benchmarks import from_benchmark, quiet
from dreamer.memory import ClassBalanced
from dreamer.networks import MLP
from dreamer.perturbations import Affine, Noise

with quiet():  # Avalanche prints and warns while it is imported
    from avalanche.benchmarks import nc_benchmark

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def dataset(x: torch.Tensor, y: torch.Tensor) -> TensorDataset:
    data = TensorDataset(x, y)
    data.targets = y.tolist()  # Avalanche reads the labels from this attribute
    return data


if __name__ == "__main__":
    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
    y = torch.from_numpy(bunch.target)
    held = torch.arange(len(y)) % 5 == 0
    benchmark = nc_benchmark(
        dataset(x[~held], y[~held]), dataset(x[held], y[held]), n_experiences=5, task_labels=False, seed=4
    )

    stream = from_benchmark(benchmark, name="nc_digits")
    theirs = [set(experience.classes_in_this_experience) for experience in benchmark.train_stream]
    same = [set(ours) for ours in stream.class_order] == theirs
    print(f"the stream has the benchmark's classes, in its order: {same}")

    torch.manual_seed(0)
    module = WakeSleepModule(
        MLP(stream.sample_shape, stream.num_classes, hidden=[200, 200]),
        Wake(epochs=10, batch_size=32, replay=32),
        night=[NREM(steps=40, perturbations=[Affine()]), REM(steps=60, perturbations=[Affine(), Noise()])],
        memory=ClassBalanced(capacity=100, store="uint8"),
    )
    trainer = pl.Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(module, datamodule=StreamDataModule(stream))
    print(f"average accuracy {module.results()['metrics']['average_accuracy']:.3f}")

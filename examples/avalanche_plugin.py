"""Nights inside a strategy of Avalanche: our memory, generator and sleep stages as one of its plugins.

    python examples/avalanche_plugin.py

Avalanche trains, evaluates and logs as usual; its `Naive` forgets, and with the plugin it forgets far less. Expect:

    Naive alone: accuracy < 0.4
    Naive with DreamPlugin: accuracy > 0.7
    the clock counts the nights too: True
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from dreamer import NREM, REM
from dreamer.generators import ClassConditionalVAE
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.interop.avalanche.plugin import DreamPlugin
from dreamer.memory import ClassBalanced
from dreamer.networks import MLP
from dreamer.perturbations import Affine, LatentMixing

with quiet():  # Avalanche prints and warns while it is imported
    from avalanche.benchmarks import nc_benchmark
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.logging import TextLogger
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import Naive

SHAPE, CLASSES = (1, 8, 8), 10


def dataset(x: torch.Tensor, y: torch.Tensor) -> TensorDataset:
    data = TensorDataset(x, y)
    data.targets = y.tolist()  # Avalanche reads the labels from this attribute
    return data


def train(benchmark, plugins: list) -> tuple[float, Naive]:
    torch.manual_seed(0)
    network = MLP(SHAPE, CLASSES, hidden=[200, 200])
    strategy = Naive(
        model=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=32,
        train_epochs=10,
        eval_mb_size=256,
        plugins=plugins,
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[TextLogger()]),
    )
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[])
    return strategy.eval(benchmark.test_stream)["Top1_Acc_Stream/eval_phase/test_stream/Task000"], strategy


if __name__ == "__main__":
    bunch = load_digits()
    x, y = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1), torch.from_numpy(bunch.target)
    held = torch.arange(len(y)) % 5 == 0
    train_and_test = dataset(x[~held], y[~held]), dataset(x[held], y[held])
    benchmark = nc_benchmark(*train_and_test, n_experiences=5, task_labels=False, seed=4)

    plugin = DreamPlugin(
        memory=ClassBalanced(capacity=100, store="uint8"),
        generator=ClassConditionalVAE(SHAPE, CLASSES),
        wake_replay=32,
        night=[NREM(steps=40, perturbations=[Affine()]), REM(steps=60, perturbations=[Affine(), LatentMixing()])],
    )
    alone, with_nights = train(benchmark, []), train(benchmark, [plugin])
    print(f"Naive alone: accuracy {alone[0]:.3f}")
    print(f"Naive with DreamPlugin: accuracy {with_nights[0]:.3f}")
    asleep = with_nights[1].clock.train_iterations - alone[1].clock.train_iterations
    print(f"the clock counts the nights too: {asleep == 5 * (40 + 60)}")

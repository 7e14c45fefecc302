"""What a learner is worth beyond its accuracy, against numbers from elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error

from dreamer.core.randomness import Purpose, randoms
from dreamer.metrics.calibration import calibration_error
from dreamer.perturbations import Noise
from dreamer.streams.base import TensorSamples
from dreamer.studies.learner import predict, probe


def samples(n: int, seed: int = 0) -> TensorSamples:
    drawn = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.rand(n, 1, 2, 2, generator=drawn) * 0.5 + y.view(-1, 1, 1, 1) * 0.25
    return TensorSamples(x, y)


def test_calibration_error_is_that_of_others() -> None:
    logits = 3 * torch.randn(500, 7, generator=torch.Generator().manual_seed(1))
    y = torch.randint(7, (500,), generator=torch.Generator().manual_seed(2))
    theirs = multiclass_calibration_error(logits.softmax(dim=1), y, num_classes=7, n_bins=15, norm="l1")
    assert calibration_error(logits, y) == pytest.approx(float(theirs), abs=1e-6)


def test_calibration_error_by_hand() -> None:
    # 0.6 sure and always right: 0.4 off; a fair coin that says so is not off at all
    sure = torch.tensor([[0.6, 0.4]]).log().repeat(10, 1)
    assert calibration_error(sure, torch.zeros(10, dtype=torch.int64)) == pytest.approx(0.4)
    assert calibration_error(torch.zeros(10, 2), torch.arange(10) % 2) == pytest.approx(0.0)


def test_outputs_are_those_of_evaluation_and_modes_are_restored() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3))
    network[1].eval()
    network.train()
    network[0].eval()
    seen = samples(2500)
    logits, y = predict(network, seen)
    assert torch.allclose(logits, network[2](seen.x.flatten(1)))
    assert torch.equal(y, seen.y)
    assert [module.training for module in network] == [False, True, True]


def test_perturbed_outputs_depend_on_the_randoms_alone() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    seen = samples(1500)
    first, again = (predict(network, seen, Noise(std=0.5), randoms(1, Purpose.EVALUATION))[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, predict(network, seen)[0])


def test_a_probe_reads_what_features_hold() -> None:
    taught, tested = samples(60, 1), samples(600, 2)
    assert probe(lambda x: x.flatten(1), taught, tested) > 0.8
    assert probe(lambda x: x.flatten(1)[:, :1] * 0, taught, tested) == pytest.approx(1 / 3)

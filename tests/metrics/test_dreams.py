"""Measures of dreams agree with other implementations, and with what can be done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy.spatial.distance import pdist
from sklearn.neighbors import NearestNeighbors

from dreamer.metrics import dreams as measures
from dreamer.metrics.calibration import calibration_error


def cloud(count: int, dims: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(dims, dims, generator=rng) / math.sqrt(dims)
    return shift + scale * torch.randn(count, dims, generator=rng) @ mix


@pytest.mark.parametrize(("count", "dims"), [(200, 8), (60, 5), (40, 3)])
def test_frechet_is_that_of_scipys_matrix_root(count: int, dims: int) -> None:
    one, other = cloud(count, dims, 1), cloud(count + 7, dims, 2, shift=0.5, scale=1.5)
    a, b = one.double().numpy(), other.double().numpy()
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    assert measures.frechet_distance(one, other) == pytest.approx(wanted, rel=1e-6)
    assert measures.frechet_distance(other, one) == pytest.approx(wanted, rel=1e-6)


def test_frechet_by_hand() -> None:
    x = torch.tensor([[-1.0], [1.0]])  # mean 0, variance 2
    assert measures.frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    assert measures.frechet_distance(x, x + 3) == pytest.approx(9.0)
    # a third of the spread: (sqrt(2) - sqrt(2) / 3)^2
    assert measures.frechet_distance(x, x / 3) == pytest.approx(2 * (2 / 3) ** 2)


def test_frechet_of_far_more_features_than_samples_needs_no_matrix_of_them() -> None:
    """A covariance of so many features would take 80 GB; features that are zero add nothing."""
    one, other = cloud(6, 4, 1), cloud(5, 4, 2)
    wide = [torch.nn.functional.pad(x, (0, 100_000)) for x in (one, other)]
    assert measures.frechet_distance(*wide) == pytest.approx(measures.frechet_distance(one, other), rel=1e-6)


def test_frechet_is_finite_and_not_negative_with_fewer_samples_than_features() -> None:
    x = cloud(6, 20, 3)
    assert measures.frechet_distance(x, x) == pytest.approx(0.0, abs=1e-6)
    assert 0 < measures.frechet_distance(x, cloud(5, 20, 4)) < math.inf
    with pytest.raises(ValueError, match=r"at least 2 samples with the same features, got \(1, 20\)"):
        measures.frechet_distance(x[:1], x)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_those_of_balls_around_neighbours(k: int) -> None:
    dreams, real = cloud(70, 4, 5, shift=0.3, scale=0.8), cloud(90, 4, 5)

    def fraction_inside(x: torch.Tensor, balls: torch.Tensor) -> float:
        # the nearest neighbour of a sample among its own set is the sample itself
        radii = NearestNeighbors(n_neighbors=k + 1).fit(balls).kneighbors(balls)[0][:, k]
        return float(np.mean([(np.linalg.norm(balls.numpy() - y, axis=1) <= radii).any() for y in x.numpy()]))

    found = measures.precision_recall(dreams, real, k)
    assert found == (pytest.approx(fraction_inside(dreams, real)), pytest.approx(fraction_inside(real, dreams)))


def test_precision_falls_with_bad_dreams_and_recall_with_narrow_ones() -> None:
    real = cloud(100, 3, 6)
    assert measures.precision_recall(real, real) == (1.0, 1.0)
    assert measures.precision_recall(real + 100, real) == (0.0, 0.0)
    narrow = real[:10].repeat(10, 1) + 0.001 * cloud(100, 3, 7)
    precision, recall = measures.precision_recall(narrow, real)
    assert precision == 1.0 and recall < 0.3
    with pytest.raises(ValueError, match="more than k = 5 samples on both sides, k at least 1, got 5 and 100"):
        measures.precision_recall(real[:5], real)


def test_balance_by_hand() -> None:
    fractions = measures.class_frequencies(torch.tensor([0, 0, 1, 3]), 4)
    assert fractions.tolist() == [0.5, 0.25, 0.0, 0.25]
    assert measures.balance(fractions) == pytest.approx(1.5 * math.log(2) / math.log(4))
    assert measures.imbalance(fractions) == pytest.approx(0.25)
    assert measures.covered_classes(fractions) == 0.75
    even, single = torch.full((5,), 0.2), torch.eye(5)[0]
    assert (measures.balance(even), measures.imbalance(even), measures.covered_classes(even)) == (
        pytest.approx(1.0), pytest.approx(0.0, abs=1e-7), 1.0,
    )  # fmt: skip
    assert (measures.balance(single), measures.imbalance(single)) == (0.0, pytest.approx(0.8))
    with pytest.raises(ValueError, match=r"labels in \[0, 2\), at least one, got \[2\]"):
        measures.class_frequencies(torch.tensor([2]), 2)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_not_finite_is_not_measured(odd: float) -> None:
    real, dreams, y = cloud(30, 3, 1), cloud(30, 3, 2), torch.arange(30) % 3
    dreams[4, 1] = odd
    for found in (
        measures.frechet_distance(dreams, real),
        measures.frechet_distance(real, dreams),
        *measures.precision_recall(dreams, real),
        *measures.precision_recall(real, dreams),
        measures.diversity(dreams, y),
        measures.novelty(dreams, real, real),
        measures.novelty(real, dreams, real),
    ):
        assert math.isnan(found)
    assert math.isnan(measures.covered_classes(torch.tensor([math.nan, 0.5])))
    assert math.isnan(calibration_error(torch.tensor([[odd, odd], [0.0, 1.0]]), torch.tensor([0, 1])))


def test_diversity_is_the_mean_distance_within_classes() -> None:
    x, y = cloud(50, 3, 8), torch.arange(50) % 4
    wanted = np.mean([pdist(x[y == label].double().numpy()).mean() for label in range(4)])
    assert measures.diversity(x, y) == pytest.approx(wanted)
    assert measures.diversity(x[:1].repeat(4, 1), torch.tensor([0, 0, 1, 1])) == pytest.approx(0.0)
    assert measures.diversity(x[:3], torch.arange(3)) is None


def test_novelty_is_small_for_copies_and_one_for_new_samples_of_the_same_kind() -> None:
    training, unseen, new = cloud(900, 2, 9).split(300)
    assert measures.novelty(training[:50], training, unseen) == 0.0
    assert 0.8 < measures.novelty(new, training, unseen) < 1.25
    assert measures.novelty(new + 50, training, unseen) > 10
    nearest = NearestNeighbors(n_neighbors=1).fit(training)
    wanted = np.median(nearest.kneighbors(new[:99])[0]) / np.median(nearest.kneighbors(unseen[:99])[0])
    assert measures.novelty(new[:99], training, unseen[:99]) == pytest.approx(wanted, rel=1e-5)

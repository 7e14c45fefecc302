"""A Gaussian that eats its tail does what can be calculated."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamer.studies.experiments.gaussian import Gaussian
from dreamer.studies.experiments.gaussian_theory import expected, log_determinant_step


@pytest.mark.parametrize("training_data", ["replace", "accumulate", "subsample"])
@pytest.mark.parametrize("covariance", ["unbiased", "maximum_likelihood"])
def test_what_is_measured_is_what_is_expected(training_data: str, covariance: str) -> None:
    """Few samples, so that the difference between exact and approximate formulas is many standard errors."""
    results = Gaussian(training_data, covariance, dims=2, samples=6, generations=8, lineages=20_000).run(11, Path())
    for name, line in results["expected"].items():
        for measured, error, theory in zip(results["curves"][name], results["errors"][name], line, strict=True):
            if theory is not None:
                assert abs(measured - theory) < 4.5 * error, (name, measured, theory, error)


def test_replacing_grows_by_d_over_n_a_generation_although_almost_all_spread_is_lost() -> None:
    line = expected("replace", "unbiased", 10, 100, 100)
    assert line.squared_error == pytest.approx([t * 10 / 100 for t in range(1, 101)])
    assert line.variance == pytest.approx([1.0] * 100)
    assert line.log_determinant[-1] < -50


def test_maximum_likelihood_shrinks_geometrically_so_that_the_error_of_the_mean_is_bounded() -> None:
    line = expected("replace", "maximum_likelihood", 10, 100, 100)
    assert line.variance[-1] == pytest.approx(0.99**100)
    assert line.squared_error[-1] == pytest.approx(10 * (1 - 0.99**100))


def test_accumulating_is_bounded_by_pi_squared_over_six_generations() -> None:
    line = expected("accumulate", "unbiased", 10, 100, 5000)
    assert line.squared_error == sorted(line.squared_error)
    assert 0.16 < line.squared_error[-1] < math.pi**2 / 6 * 10 / 100
    assert all(variance <= 1 for variance in line.variance)
    # by hand: (2 n - 1) b_2 = n (1 + 1 + 1 / n) - 2 n (1 / n + 1 / (4 n))
    assert line.variance[1] == pytest.approx((2 * 100 - 1.5) / (2 * 100 - 1))


def test_subsampling_lies_between_accumulating_and_replacing() -> None:
    a, b, c = (
        expected(training_data, "unbiased", 10, 100, 50).squared_error
        for training_data in ("accumulate", "subsample", "replace")
    )
    assert a[0] == b[0] == c[0] == pytest.approx(0.1)
    assert all(x < y for x, y in zip(a[1:], b[1:], strict=True))
    assert all(x < y for x, y in zip(b[2:], c[2:], strict=True))


def test_the_fall_of_the_log_determinant_is_that_of_wishart_matrices() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40_000, 8, 3))
    centred = x - x.mean(axis=1, keepdims=True)
    logs = np.linalg.slogdet(np.swapaxes(centred, 1, 2) @ centred / 7)[1]
    step = log_determinant_step("unbiased", 3, 8)
    assert abs(logs.mean() - step) < 4.5 * logs.std() / 200
    assert log_determinant_step("maximum_likelihood", 3, 8) == pytest.approx(step + 3 * math.log(7 / 8))


def test_the_same_seed_gives_the_same_results_and_global_randomness_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    first = Gaussian("subsample", generations=3, lineages=4).run(2, tmp_path)
    torch.manual_seed(6)
    assert Gaussian("subsample", generations=3, lineages=4).run(2, tmp_path) == first
    assert Gaussian("subsample", generations=3, lineages=4).run(3, tmp_path) != first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 10}, "expected more samples than dimensions, got 10 samples in 10 dimensions"),
        ({"lineages": 1}, "lineages of at least 2"),
        ({"generations": 0}, "expected generations of at least 1"),
    ],
)
def test_impossible_numbers_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gaussian(**options)

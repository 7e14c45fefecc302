r"""What may be expected of a Gaussian that is fitted to its own samples, again and again: exact finite formulas.

The data are n samples of N(0, I) in d dimensions (any other Gaussian is the same after whitening). Generation 1 is
fitted to them, generation t + 1 to what generation t and its predecessors left. mu_t and S_t are the fitted mean and
covariance: the sum of squares over N - 1 for N samples, or over N where it is the maximum-likelihood one; the factor
c(N), 1 or (N - 1) / N, says which. By symmetry E S_t = a_t I and E|mu_t|^2 = d m_t, with S_0 = I and mu_0 = 0 for the
data.

``replace`` (the n samples of the predecessor). Given the past, mu_t - mu_{t-1} has mean 0 and covariance S_{t-1} / n,
and E S_t = c(n) S_{t-1}, so ::

    m_t = m_{t-1} + a_{t-1} / n,    a_t = c(n) a_{t-1}

With the unbiased covariance a_t = 1 and E|mu_t|^2 = t d / n exactly: the error grows for ever. Yet S_t degenerates:
given the past, (n - 1) S_t / c(n) is a Wishart matrix, and E log|S_t| falls by the same number every time
(:func:`log_determinant_step`). Both are true at once because almost all lineages shrink while a few explode.

``accumulate`` (all t n samples so far). With y_t the mean of the n samples that t - 1 left, mu_t = mu_{t-1} + (y_t -
mu_{t-1}) / t, a martingale; and b_t is the expected variance of the pool, over t n - 1 ::

    m_t = m_{t-1} + a_{t-1} / (n t^2),    (t n - 1) b_t = n sum_{s<=t} (a_{s-1} + m_{s-1}) - t n m_t,
    a_t = c(t n) b_t

As a_t <= 1, E|mu_t|^2 < (d / n) sum 1 / s^2 < (pi^2 / 6) d / n: bounded (Gerstgrasser et al. 2024, arXiv 2404.01413;
Kazdan et al. 2024, arXiv 2410.16713). a_t stays a little below 1 even with the unbiased covariance, because the
samples of a lineage depend on each other.

``subsample`` (n of the t n samples so far, drawn without replacement). With d q_t the expected square of the pool's
mean, and b_t as above but with q_t for m_t, sampling from a finite population gives ::

    m_t = q_t + b_t (1 - 1 / t) / n,    a_t = c(n) b_t,    q_{t+1} = ((t^2 + 2 t) q_t + m_t + a_t / n) / (t + 1)^2

(given the pool, what is left next has the pool's mean for its expectation), and q_1 = 1 / n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

TrainingData = Literal["replace", "accumulate", "subsample"]
Covariance = Literal["unbiased", "maximum_likelihood"]


@dataclass(frozen=True)
class Expected:
    """Expectations for generations 1, 2, ...

    Attributes:
        squared_error: E|mu_t|^2.
        variance: E trace(S_t) / d.
        log_determinant: E log|S_t|; None where there is no closed form.
    """

    squared_error: list[float]
    variance: list[float]
    log_determinant: list[float | None]


def expected(
    training_data: TrainingData, covariance: Covariance, dims: int, samples: int, generations: int
) -> Expected:
    """The exact expectations; see the top of this file.

    Args:
        dims: d, at least 1.
        samples: n, at least d + 1.
    """
    errors, variances = [], []
    fitted, variance, pool = 0.0, 1.0, 0.0  # m, a, q
    produced = 0.0  # sum of a + m over all that left samples
    for t in range(1, generations + 1):
        produced += variance + fitted
        count = samples if training_data != "accumulate" else t * samples
        if training_data == "replace":
            fitted += variance / samples
            spread = variance
        else:
            if training_data == "accumulate":
                pool = fitted + variance / (samples * t * t)
            elif t == 1:
                pool = 1 / samples
            else:
                pool = ((t * t - 1) * pool + fitted + variance / samples) / (t * t)
            spread = (samples * produced - t * samples * pool) / (t * samples - 1)
            fitted = pool if training_data == "accumulate" else pool + spread * (1 - 1 / t) / samples
        variance = spread * _factor(covariance, count)
        errors.append(dims * fitted)
        variances.append(variance)
    step = log_determinant_step(covariance, dims, samples)
    falls = [step * t if training_data == "replace" or t == 1 else None for t in range(1, generations + 1)]
    return Expected(errors, variances, falls)


def log_determinant_step(covariance: Covariance, dims: int, samples: int) -> float:
    """By how much E log|S| changes when a Gaussian is fitted to n samples of its own; below 0.

    ``sum_{i=1}^{d} (digamma((n - i) / 2) + log 2) - d log(n - 1)``, plus ``d log c(n)``: the mean of the logarithm of a
    Wishart determinant with n - 1 degrees of freedom (Anderson 2003, "An introduction to multivariate statistical
    analysis", section 7.5).
    """
    freedom = torch.arange(samples - 1, samples - 1 - dims, -1, dtype=torch.float64)
    wishart = float((torch.digamma(freedom / 2) + math.log(2)).sum())
    return wishart - dims * math.log(samples - 1) + dims * math.log(_factor(covariance, samples))


def _factor(covariance: Covariance, count: int) -> float:
    return 1.0 if covariance == "unbiased" else (count - 1) / count

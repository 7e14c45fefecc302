"""The embedded stream of numbers: 442 patients whose disease is to be predicted, split by one of their covariates."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.streams.base import Stream, TensorSamples, hold_out, make_stream

Covariate = Literal["age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


@checked
def diabetes(
    covariate: Covariate = "bmi", experiences: int = 3, test: float = 0.3, validation: float = 0.1, split_seed: int = 0
) -> Stream:
    """442 patients, ten numbers each, and how their diabetes progressed within a year; needs no download.

    Patients come in the order of one covariate: those with the least of it are the first experience. The problem is
    regression. Inputs and target have mean 0 and variance 1 over the training samples of all experiences, so a mean
    squared error of 1 is that of saying the mean of everybody.

    Args:
        covariate: by which patients are split into experiences of equal size, from low to high.
        experiences: how many, from 1 to 20.
        test: fraction of each experience that is test data, in (0, 1).
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are test and which are validation.

    Returns:
        Samples of shape (10,) and one target each, float32.

    Raises:
        ValueError: when there is no such covariate, or a number is out of its range.

    Source:
        B. Efron, T. Hastie, I. Johnstone and R. Tibshirani 2004, "Least angle regression", Annals of Statistics 32,
        through scikit-learn's ``load_diabetes``.

    >>> stream = diabetes()
    >>> [len(experience.train) for experience in stream.experiences], stream.class_names[0]
    ([94, 93, 93], 'bmi 18 to 24')
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    if covariate not in bunch.feature_names:
        raise ValueError(f"stream 'diabetes': expected one of {', '.join(bunch.feature_names)}, got {covariate!r}")
    if not 1 <= experiences <= 20 or not 0 < test < 1:
        raise ValueError(
            "stream 'diabetes': expected 1 to 20 experiences and a fraction of test data in (0, 1), "
            f"got {experiences} and {test}"
        )
    x, y = torch.from_numpy(bunch.data), torch.from_numpy(bunch.target)
    split_by = x[:, bunch.feature_names.index(covariate)]
    patients = split_by.argsort(stable=True).tensor_split(experiences)
    parts = [_split(TensorSamples(x[some], y[some]), test, split_seed) for some in patients]
    learnt = torch.cat([train.x for train, _ in parts]), torch.cat([train.y for train, _ in parts])
    scaled = [(_scaled(train, *learnt), _scaled(tested, *learnt)) for train, tested in parts]
    ends = [(float(split_by[some].min()), float(split_by[some].max())) for some in patients]
    return make_stream(
        "diabetes",
        scaled,
        validation=validation,
        split_seed=split_seed,
        scenario="domain",
        class_names=[f"{covariate} {low:.0f} to {high:.0f}" for low, high in ends],
    )


def _split(samples: TensorSamples, fraction: float, seed: int) -> tuple[TensorSamples, TensorSamples]:
    """Samples to learn from and test samples."""
    train, test = hold_out(samples, fraction, seed)
    assert isinstance(train, TensorSamples) and isinstance(test, TensorSamples)
    return train, test


def _scaled(samples: TensorSamples, x: Tensor, y: Tensor) -> TensorSamples:
    """Samples in units of the training samples' deviation from their mean."""
    return TensorSamples((samples.x - x.mean(dim=0)) / x.std(dim=0), (samples.y - y.mean()) / y.std())

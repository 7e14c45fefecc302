"""The exact case: a Gaussian that is fitted to its own samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dreamer.core.limits import at_least
from dreamer.core.randomness import Purpose, randoms
from dreamer.studies.experiments.base import CellResult, Experiment, Measure
from dreamer.studies.experiments.gaussian_theory import Covariance, TrainingData, expected


@dataclass(eq=False)
class Gaussian(Experiment):
    """Many lineages at once: each is fitted to n samples of N(0, I), then generation after generation to its own.

    Replacing, accumulating and subsampling are those of Kazdan et al. (2024, "Collapse or thrive?", arXiv 2410.16713)
    and Gerstgrasser et al. (2024, arXiv 2404.01413); :mod:`dreamer.studies.experiments.gaussian_theory` derives what is
    to be expected.

    Args:
        training_data: what a generation is fitted to: ``replace``, the samples of its predecessor alone;
            ``accumulate``, all samples so far, the real ones among them; ``subsample``, as many of these as there were
            real ones.
        covariance: ``unbiased`` or ``maximum_likelihood``.
        dims: d.
        samples: n, of the data and of every generation.
        generations: how many.
        lineages: how many side by side; what is measured is their mean.

    Raises:
        ValueError: when a covariance could not be fitted to so few samples, or a number is below its least.
    """

    measures = {
        "squared_error": Measure(
            "squared error of the mean",
            "smaller",
            log=True,
            hint="Squared distance of the fitted mean to the true one.",
        ),
        "variance": Measure("mean variance", "", hint="Trace of the fitted covariance over d; the true one is 1."),
        "log_determinant": Measure(
            "log-determinant of the covariance", "larger", hint="The true one is 0; it falls as the spread is lost."
        ),
    }

    training_data: TrainingData = "replace"
    covariance: Covariance = "unbiased"
    dims: int = 10
    samples: int = 100
    generations: int = 100
    lineages: int = 100

    def __post_init__(self) -> None:
        at_least(1, dims=self.dims, generations=self.generations)
        at_least(2, lineages=self.lineages)
        if self.samples <= self.dims:
            got = f"{self.samples} samples in {self.dims} dimensions"
            raise ValueError(f"expected more samples than dimensions, got {got}")

    def run(self, seed: int, folder: Path) -> CellResult:
        """Refit; one number is the mean over the lineages, its standard error comes with it."""
        rows = [_measured(mean, covariance) for mean, covariance in self._fits(seed)]
        theory = expected(self.training_data, self.covariance, self.dims, self.samples, self.generations)
        curves: dict[str, list[float | None]] = {
            name: [float(row[name].mean()) for row in rows] for name in self.measures
        }
        spread: dict[str, list[float | None]] = {
            name: [float(row[name].std()) / math.sqrt(self.lineages) for row in rows] for name in self.measures
        }
        return {
            "outcomes": {name: values[-1] for name, values in curves.items()},
            "curves": {self.axis: [float(t) for t in range(1, self.generations + 1)], **curves},
            "expected": {
                "squared_error": list(theory.squared_error),
                "variance": list(theory.variance),
                "log_determinant": theory.log_determinant,
            },
            "errors": spread,
        }

    def _fits(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(R, d) means and (R, d, d) covariances of every generation."""
        rng = randoms(seed, Purpose.DREAM)
        shape = (self.lineages, self.samples, self.dims)
        pool = _Pool(self.training_data, self.generations, *shape)
        mean, factor = torch.zeros(1, 1, self.dims), torch.eye(self.dims, dtype=torch.float64)
        for _ in range(self.generations):
            pool.add(mean + torch.randn(shape, generator=rng, dtype=torch.float64) @ factor.mT)
            count, fitted, covariance = pool.fit(rng)
            if self.covariance == "maximum_likelihood":
                covariance = covariance * (count - 1) / count
            yield fitted, covariance
            mean, factor = fitted[:, None], torch.linalg.cholesky(covariance)


class _Pool:
    """The samples of R lineages that a generation may be fitted to."""

    def __init__(self, training_data: TrainingData, generations: int, lineages: int, samples: int, dims: int):
        self.training_data = training_data
        self.samples = samples
        self.count = 0
        # all that is needed of samples that are all used are their sums
        self.total = torch.zeros(lineages, dims, dtype=torch.float64)
        self.squares = torch.zeros(lineages, dims, dims, dtype=torch.float64)
        room = generations * samples if training_data == "subsample" else 0
        self.kept = torch.zeros(lineages, room, dims, dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        """Take in the (R, n, d) samples of a generation."""
        if self.training_data == "replace":
            self.count, self.total, self.squares = 0, self.total * 0, self.squares * 0
        if self.training_data == "subsample":
            self.kept[:, self.count : self.count + self.samples] = x
        self.count += self.samples
        self.total = self.total + x.sum(dim=1)
        self.squares = self.squares + x.mT @ x

    def fit(self, rng: torch.Generator) -> tuple[int, Tensor, Tensor]:
        """How many samples are used, their (R, d) means and unbiased (R, d, d) covariances."""
        count, total, squares = self.count, self.total, self.squares
        if self.training_data == "subsample":
            drawn = torch.rand(len(total), self.count, generator=rng)
            chosen = drawn.topk(self.samples, dim=1).indices
            used = self.kept.gather(1, chosen[:, :, None].expand(-1, -1, total.shape[1]))
            count, total, squares = self.samples, used.sum(dim=1), used.mT @ used
        mean = total / count
        return count, mean, (squares - count * mean[:, :, None] * mean[:, None]) / (count - 1)


def _measured(mean: Tensor, covariance: Tensor) -> dict[str, Tensor]:
    """(R,) numbers of every lineage."""
    return {
        "squared_error": mean.square().sum(dim=1),
        "variance": covariance.diagonal(dim1=1, dim2=2).mean(dim=1),
        "log_determinant": torch.logdet(covariance),
    }

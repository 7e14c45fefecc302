"""A linear discriminant in closed form, whose statistics are gathered sample by sample: nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.networks._class_scatter import ClassScatter, Shrinkage
from dreamer.networks.base import doubled


class StreamingLDA(ClassScatter):
    """Means of the classes and one covariance within all of them, from which a linear discriminant follows.

    Deep streaming LDA over features of a frozen network (Hayes and Kanan 2020, arXiv 1909.01520; ``SLDA_Model.py`` of
    tyler-hayes/Deep_SLDA). :meth:`absorb` takes samples into the classes' means and into one scatter matrix within all
    classes, by the pairwise update of Chan, Golub and LeVeque (1979): any order and any cut into batches give the same
    classifier, up to rounding. A logit is ``mu' C^-1 h - mu' C^-1 mu / 2``: the class with the nearest mean in
    Mahalanobis distance wins, however many samples it has.

    What it keeps is float32 and counts as its bytes: H x H numbers and a mean for every class. Every checkpoint holds
    them. They are solved in float64 when logits are first computed after something was absorbed: H^3 / 3
    multiplications, and 16 H^2 bytes for as long as that takes.

    Args:
        sample_shape: *S; samples are flattened to H features.
        num_classes: K.
        shrinkage: fraction of the mean variance's identity in the covariance, in (0, 1], or ``oas``: estimated (Chen et
            al. 2010, as scikit-learn has it). The official code adds 1e-4 of the identity itself.

    Raises:
        ValueError: when the shrinkage is out of its range.

    >>> network = StreamingLDA((2,), 2, shrinkage=0.1)
    >>> network.absorb(torch.tensor([[0.0, 0.1], [0.1, 0.0], [1.0, 1.1], [1.1, 1.0]]), torch.tensor([0, 0, 1, 1]))
    >>> network(torch.tensor([[0.2, 0.2], [0.9, 0.8]])).argmax(dim=1)
    tensor([0, 1])
    """

    weight: Tensor
    bias: Tensor

    @checked
    def __init__(self, sample_shape: Sequence[int], num_classes: int, shrinkage: Shrinkage = "oas"):
        super().__init__(sample_shape, num_classes, shrinkage)
        self.register_buffer("weight", torch.zeros_like(self.mean), persistent=False)
        self.register_buffer("bias", torch.zeros(num_classes), persistent=False)

    def logits(self, h: Tensor) -> Tensor:
        """(B, K) logits of (B, H) features."""
        return functional.linear(h, self.weight, self.bias)

    def solve(self) -> None:
        """Compute weights and bias from the statistics, in float64."""
        mean = doubled(self.mean)
        weight = torch.cholesky_solve(mean.T, torch.linalg.cholesky(self.covariance())).T
        self.weight.copy_(weight)
        self.bias.copy_(-0.5 * (mean * weight).sum(dim=1))

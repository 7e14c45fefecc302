"""A linear layer over features that are whitened by the covariance within classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.networks._class_scatter import ClassScatter, Shrinkage
from dreamer.networks.base import doubled


class WhitenedLinear(ClassScatter):
    """The logits of a linear layer over ``s L^-1 (h - c)``, with ``L L'`` the shrunk covariance within classes.

    By day :meth:`absorb` gathers means and covariance, exactly and without forgetting, as
    :class:`~dreamer.networks.streaming_lda.StreamingLDA` does; the layer learns by gradient. Whitening lengthens the
    directions in which samples of a class differ little, and there classes are told apart best. Training follows long
    directions first. ``s`` is the root of the mean variance, so that features keep their size, and c is the mean of the
    classes' means.

    The whitened space moves with every day. Let the first stage of a night begin ``from_scratch``: the layer is then
    learnt anew, and the statistics stay.

    It keeps H x H numbers of the statistics and as many that follow from them, for as long as it is there.

    Args:
        sample_shape: *S; samples are flattened to H features.
        num_classes: K.
        shrinkage: fraction of the mean variance's identity in the covariance, in (0, 1], or ``oas``: estimated.

    Raises:
        ValueError: when the shrinkage is out of its range.

    >>> network = WhitenedLinear((2,), 3, shrinkage=0.1)
    >>> network.absorb(torch.rand(4, 2), torch.tensor([0, 0, 1, 1]))
    >>> network(torch.rand(5, 2)).softmax(dim=1)[:, 2].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """

    whitener: Tensor
    centre: Tensor

    @checked
    def __init__(self, sample_shape: Sequence[int], num_classes: int, shrinkage: Shrinkage = "oas"):
        super().__init__(sample_shape, num_classes, shrinkage)
        self.head = nn.Linear(math.prod(sample_shape), num_classes)
        self.register_buffer("whitener", torch.zeros_like(self.scatter), persistent=False)
        self.register_buffer("centre", torch.zeros(math.prod(sample_shape)), persistent=False)

    def solve(self) -> None:
        """Compute whitening and centre from the statistics, in float64."""
        covariance = self.covariance()
        scale = covariance.diagonal().mean().sqrt()
        unit = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        root = torch.linalg.cholesky(covariance)
        self.whitener.copy_(scale * torch.linalg.solve_triangular(root, unit, upper=False))
        # means of classes that were never absorbed are 0
        self.centre.copy_(doubled(self.mean).sum(dim=0) / (self.count > 0).sum().clamp_min(1))

    def logits(self, h: Tensor) -> Tensor:
        """(B, K) logits of (B, H) features, through which gradients reach the layer."""
        logits: Tensor = self.head((h - self.centre) @ self.whitener.T)
        return logits

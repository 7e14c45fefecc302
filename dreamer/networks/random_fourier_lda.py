"""Fixed random features and a classifier in closed form: nothing is learnt by gradient, and nothing is forgotten."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.networks._class_scatter import Shrinkage
from dreamer.networks.streaming_lda import StreamingLDA


class RandomFourierLDA(StreamingLDA):
    """Random Fourier features under a linear discriminant whose statistics are gathered sample by sample (RanDumb).

    Prabhu et al. 2024, arXiv 2402.08823. The features approximate the kernel ``exp(-gamma * mean((x - x')^2))`` (Rahimi
    and Recht 2007: ``sqrt(2 / H) cos(w x + b)``, w normal, b uniform); what is done with them is
    :class:`dreamer.networks.streaming_lda.StreamingLDA`'s. As in the official legacy_model.py the shrinkage is
    estimated from all samples around the means of their classes; the official main.py shrinks one covariance per class.

    What it keeps is float32 and counts as its bytes: H x H numbers (100 MB for 5 000 features, 2.5 GB for 25 000), a
    mean for every class, and the frequencies.

    Args:
        sample_shape: *S; samples are flattened.
        num_classes: K.
        features: H; the paper's tables have 25 000.
        gamma: inverse squared width of the kernel per element of a sample. The default is that of the official code on
            MNIST (``gamma="scale"`` of scikit-learn: 1 over the variance of a pixel, whose deviation is 0.308).
        shrinkage: see :class:`dreamer.networks.streaming_lda.StreamingLDA`; the official code estimates it (``oas``).
        seed: of frequencies and phases.

    Raises:
        ValueError: when a number is out of its range.
    """

    frequencies: Tensor
    phases: Tensor

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        features: int = 5000,
        gamma: float = 10.5,
        shrinkage: Shrinkage = "oas",
        seed: int = 0,
    ):
        if features < 1:
            raise ValueError(f"expected at least 1 feature, got {features}")
        if gamma <= 0:
            raise ValueError(f"expected a positive gamma, got {gamma}")
        super().__init__((features,), num_classes, shrinkage)
        size = math.prod(sample_shape)
        rng = torch.Generator().manual_seed(seed)
        frequencies = math.sqrt(2 * gamma / size) * torch.randn(features, size, generator=rng)
        # kept in checkpoints, though the seed would bring them back: another release of torch may draw other numbers
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("phases", 2 * math.pi * torch.rand(features, generator=rng))

    def features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, H) random Fourier features in [-sqrt(2 / H), sqrt(2 / H)]."""
        with torch.autocast(x.device.type, enabled=False):
            angles = functional.linear(x.flatten(1).float(), self.frequencies, self.phases)
        return math.sqrt(2 / len(self.phases)) * angles.cos()

"""A multi-layer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Fully connected ReLU layers; with the default widths and MNIST the 784-400-400-10 network of van de Ven et al.
    (2022).

    Args:
        sample_shape: *S; samples are flattened.
        num_classes: K.
        hidden: width of each hidden layer.
    """

    def __init__(self, sample_shape: Sequence[int], num_classes: int, hidden: Sequence[int] = (400, 400)):
        super().__init__()
        widths = [math.prod(sample_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for into, out in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(into, out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, K) logits."""
        return self.layers(x)

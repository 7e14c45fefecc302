"""A multi-layer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import above, at_least
from dreamer.networks.base import TrunkAndHead
from dreamer.networks.heads import GrowingHead, head


class MLP(TrunkAndHead):
    """Fully connected ReLU layers; with the default widths and MNIST the 784-400-400-10 network of van de Ven et al.
    (2022).

    Args:
        sample_shape: *S; samples are flattened.
        outputs: K, what it puts out for a sample: logits of classes, or numbers.
        hidden: width of each hidden layer.
        bias: give the layers biases.
        dropout: fraction of each hidden layer's activations that is dropped in training, in [0, 1).
        rescale: when what is dropped is made up for: in ``training``, where torch enlarges what is left, or in
            ``evaluation``, where all is shrunk, as dropout was first described. Both mean the same function, but with
            the second, weights behind a hidden layer are larger and learn more slowly.
        spread: initial weights are uniform in [-spread, spread]; None keeps torch's own.
        growing: let outputs appear when their classes are first seen (see :class:`dreamer.networks.GrowingHead`).

    Raises:
        ValueError: when ``dropout`` is not in [0, 1), ``spread`` is not positive, or ``rescale`` is neither.

    >>> import torch
    >>> network = MLP((1, 8, 8), 10, hidden=(32,))
    >>> x = torch.rand(5, 1, 8, 8)
    >>> network(x).shape, network.features(x).shape
    (torch.Size([5, 10]), torch.Size([5, 32]))
    """

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        outputs: int,
        hidden: Sequence[int] = (400, 400),
        bias: bool = True,
        dropout: float = 0.0,
        rescale: Literal["training", "evaluation"] = "training",
        spread: float | None = None,
        growing: bool = False,
    ):
        super().__init__()
        for size in sample_shape:
            at_least(1, sample_shape=size)
        at_least(1, outputs=outputs)
        if not 0 <= dropout < 1:
            raise ValueError(f"expected dropout in [0, 1), got {dropout}")
        if rescale not in ("training", "evaluation"):
            raise ValueError(f"expected rescale to be training or evaluation, got {rescale!r}")
        above(0, spread=spread)
        for width in hidden:
            at_least(1, hidden=width)
        widths = [math.prod(sample_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for into, out in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(into, out, bias), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout) if rescale == "training" else ShrinkingDropout(dropout))
        self.trunk = nn.Sequential(*layers)
        self.head = head(widths[-1], outputs, bias, growing)
        if spread is not None:
            for layer in self.modules():
                if isinstance(layer, nn.Linear | GrowingHead):
                    nn.init.uniform_(layer.weight, -spread, spread)


class ShrinkingDropout(nn.Dropout):
    """Dropout as Hinton et al. (2012, arXiv 1207.0580) had it: what is left keeps its size, and evaluation shrinks."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop in training, multiply with ``1 - p`` in evaluation."""
        return (1 - self.p) * super().forward(x)

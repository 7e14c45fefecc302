"""Last layers: one with all outputs from the start, and one whose outputs appear when their classes are first seen."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.logits import silence
from dreamer.networks.base import at_least_float32


class GrowingHead(nn.Module):
    """A linear layer whose outputs appear when their classes are first seen.

    It has the weights of all K outputs from the start, and silences those whose classes were not seen: their part in a
    softmax is 0, and no gradient reaches their weights. So it learns as a layer that is given a new row for each new
    class, while its shapes, and with them optimisers, checkpoints and copies, stay as they are. Which classes were seen
    is a part of its state. Two things differ from new rows: weight decay shrinks weights that wait, and an optimiser
    that counts its steps (Adam) counts them from the start of the layer.

    :meth:`add_classes` is called when an experience begins, on every part of a network that has such a method. Before
    that all outputs are active.

    >>> head = GrowingHead(4, 3)
    >>> head.add_classes(torch.tensor([True, True, False]))
    >>> head(torch.rand(1, 4)).softmax(dim=1)[0, 2].item()
    0.0
    """

    seen: Tensor

    @checked
    def __init__(self, features: int, num_classes: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, features))
        self.bias = nn.Parameter(torch.empty(num_classes)) if bias else None
        self.register_buffer("seen", torch.zeros(num_classes, dtype=torch.bool))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New weights, drawn as ``nn.Linear`` draws them; the classes that were seen stay seen."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def add_classes(self, classes: Tensor) -> None:
        """Let the outputs of the (K,) bool classes take part from now on."""
        self.seen |= classes.to(self.seen.device)

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, H) features to (B, K) logits; those of classes that were not seen are a very low number."""
        logits = functional.linear(h, self.weight, self.bias)
        return silence(at_least_float32(logits), self.seen | ~self.seen.any())


def head(features: int, outputs: int, bias: bool = True, growing: bool = False) -> nn.Module:
    """The last layer of a network, which maps (B, H) features to (B, K) logits."""
    return GrowingHead(features, outputs, bias) if growing else nn.Linear(features, outputs, bias)


def add_classes(network: nn.Module, classes: Tensor) -> None:
    """Set in every part of a network that grows which (K,) bool classes there are from now on."""
    for part in network.modules():
        if hasattr(part, "add_classes"):
            cast(Any, part).add_classes(classes)


def grows(network: nn.Module) -> bool:
    """True when outputs of the network appear as classes are seen."""
    return any(hasattr(part, "add_classes") for part in network.modules())

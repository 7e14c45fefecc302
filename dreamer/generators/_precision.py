"""Networks that are kept in half precision."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def in_float32(network: nn.Module, *inputs: Any) -> Tensor:
    """The output of a network that is kept in half precision, computed in float32 (a CPU is slow in half)."""
    kept = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return functional_call(network, {name: value.float() for name, value in kept.items()}, inputs)

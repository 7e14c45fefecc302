"""What networks of any kind share: a size in bytes, and a frozen copy that teaches."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """A frozen copy of a network, which always answers in evaluation mode.

    It sits inside the module of the life, so it moves to the training device and is saved with it.

    Args:
        network: what to copy; later states of it are taken over by :meth:`copy_from`.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def copy_from(self, network: nn.Module) -> None:
        """Take over the state of a network of the same architecture."""
        self.network.load_state_dict(network.state_dict())

    @property
    def nbytes(self) -> int:
        """Bytes of the parameters and buffers."""
        return module_bytes(self.network)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The copied network's answer, without gradients."""
        # evaluation mode only while it answers: Lightning warns of modules that are found in it when a fit starts
        self.network.eval()
        answer = self.network(*args, **kwargs)
        self.network.train()
        return answer


def module_bytes(module: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module."""
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))

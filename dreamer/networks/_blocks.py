"""A feature extractor as a chain of blocks, so that it can be cut between a frozen and a trained part."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dreamer.core.modes import evaluating

_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


def blocks_of(network: nn.Module) -> list[nn.Sequential]:
    """The blocks of a network whose children are called one after the other, first to last.

    A block is a child with weights, and what follows it without weights of its own or as a normalisation; children of
    an ``nn.Sequential`` count one by one. What lies before the first weights belongs to the first block.
    """
    blocks: list[list[nn.Module]] = []
    for layer in _layers(network):
        weighty = any(True for _ in layer.parameters())
        if not blocks or (weighty and not isinstance(layer, _NORMS) and _has_weights(blocks[-1])):
            blocks.append([])
        if isinstance(layer, nn.Linear):
            # as forward does it in most classifiers, between the pooling and the first linear layer
            blocks[-1].append(nn.Flatten())
        blocks[-1].append(layer)
    return [nn.Sequential(*block) for block in blocks]


def cut(network: nn.Module, trained: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The network without its last blocks, and these.

    Args:
        trained: how many the second part has, at least 1 and fewer than there are.

    Raises:
        ValueError: when there are too few blocks.
    """
    blocks = blocks_of(network)
    if not 1 <= trained < len(blocks):
        raise ValueError(
            f"expected between 1 and {len(blocks) - 1} trainable blocks of this {type(network).__name__}, got {trained}"
        )
    return nn.Sequential(*blocks[:-trained]), nn.Sequential(*blocks[-trained:])


@torch.no_grad()
def check_cut(network: nn.Module, parts: tuple[nn.Module, nn.Module], x: Tensor) -> None:
    """Raise a ValueError when the parts, one after the other, do something else than the network does.

    Args:
        x: (B, *S) samples as the network takes them.
    """
    with evaluating(network):
        whole = network(x).flatten(1)
        try:
            chained = parts[1](parts[0](x)).flatten(1)
        except RuntimeError:  # shapes that do not fit
            chained = None
    if chained is None or chained.shape != whole.shape or not torch.allclose(chained, whole, rtol=1e-3, atol=1e-4):
        raise ValueError(
            f"{type(network).__name__} cannot be cut: its forward does more than to call its children one after the "
            "other; freeze it as a whole, or pass an nn.Sequential"
        )


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    for child in network.children():
        if isinstance(child, nn.Sequential):
            yield from _layers(child)
        else:
            yield child


def _has_weights(block: list[nn.Module]) -> bool:
    return any(True for layer in block for _ in layer.parameters())

"""A small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.networks.base import TrunkAndHead
from dreamer.networks.heads import head


class SmallConv(TrunkAndHead):
    """Blocks of 3x3 convolution, group normalisation, ReLU and 2x2 max pooling, then a global mean and a linear layer.

    Group normalisation (Wu and He 2018) keeps no running statistics: those of a batch-normalised network are themselves
    forgotten when the stream changes.

    Args:
        sample_shape: (C, H, W) of the images, H and W of at least ``2 ** len(channels)``.
        outputs: K, what it puts out for a sample: logits of classes, or numbers.
        channels: output channels of each block, multiples of 8.
        growing: let outputs appear when their classes are first seen (see :class:`dreamer.networks.GrowingHead`).

    Raises:
        ValueError: when samples are not images, or too small for that many blocks.

    >>> import torch
    >>> network = SmallConv((1, 8, 8), 10, channels=(8, 16))
    >>> network(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """

    @checked
    def __init__(
        self, sample_shape: Sequence[int], outputs: int, channels: Sequence[int] = (32, 64, 128), growing: bool = False
    ):
        super().__init__()
        for size in sample_shape:
            at_least(1, sample_shape=size)
        at_least(1, outputs=outputs)
        for width in channels:
            at_least(1, channels=width)
        if len(sample_shape) != 3:
            raise ValueError(f"expected images of shape (C, H, W), got samples of shape {tuple(sample_shape)}")
        if min(sample_shape[1:]) < 2 ** len(channels):
            raise ValueError(
                f"expected images of at least {2 ** len(channels)} pixels a side for {len(channels)} blocks, "
                f"got {tuple(sample_shape)}"
            )
        blocks: list[nn.Module] = []
        into = sample_shape[0]
        for out in channels:
            blocks += [nn.Conv2d(into, out, 3, padding=1), nn.GroupNorm(8, out), nn.ReLU(), nn.MaxPool2d(2)]
            into = out
        self.trunk = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = head(into, outputs, growing=growing)

    def features(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) images in [0, 1] to (B, H) features, the global means of the last block."""
        return self.trunk(x - 0.5)

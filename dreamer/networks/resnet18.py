"""The residual network with which rehearsal is measured on small photographs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.networks.base import TrunkAndHead


class ResNet18(TrunkAndHead):
    """Eighteen layers with shortcuts (He et al. 2016, arXiv 1512.03385, table 1), in the form for small images.

    The first convolution is 3 x 3 with stride 1 and no pooling follows it, as in the networks for CIFAR-10 of that
    paper's section 4.2 and in aimagelab/mammoth (backbone/ResNetBlock.py), whose protocol is published with it. It has
    batch normalisation, whose running statistics follow the experience at hand; convolutions without it are in
    :class:`dreamer.networks.SmallConv`.

    Args:
        sample_shape: (C, H, W) of the images.
        outputs: K, what it puts out for a sample: logits of classes, or numbers.
        width: channels of the first group of layers; the others have 2, 4 and 8 times as many. 20 is what is called
            slim.

    Raises:
        ValueError: when samples are not images.

    >>> import torch
    >>> ResNet18((3, 8, 8), 10, width=4)(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """

    @checked
    def __init__(self, sample_shape: Sequence[int], outputs: int, width: int = 64):
        super().__init__()
        for size in sample_shape:
            at_least(1, sample_shape=size)
        at_least(1, outputs=outputs, width=width)
        if len(sample_shape) != 3:
            raise ValueError(f"expected images of shape (C, H, W), got samples of {tuple(sample_shape)}")
        layers: list[nn.Module] = [_conv(sample_shape[0], width), nn.BatchNorm2d(width), nn.ReLU()]
        into = width
        for group, stride in enumerate((1, 2, 2, 2)):
            out = width * 2**group
            layers += [_Block(into, out, stride), _Block(out, out, 1)]
            into = out
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(into, outputs)

    def features(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) images in [0, 1] to (B, H) features, the global means of the last block."""
        return self.trunk(2 * x - 1)


class _Block(nn.Module):
    """Two convolutions, and a shortcut around them (figure 5, left; option B where shapes differ)."""

    def __init__(self, into: int, out: int, stride: int):
        super().__init__()
        self.way = nn.Sequential(
            _conv(into, out, stride), nn.BatchNorm2d(out), nn.ReLU(), _conv(out, out), nn.BatchNorm2d(out)
        )
        self.short_cut = nn.Sequential()
        if stride != 1 or into != out:
            self.short_cut = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.way(x) + self.short_cut(x))


def _conv(into: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, stride, padding=1, bias=False)

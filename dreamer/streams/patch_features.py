"""A stream of images through one layer of filters that are learnt from the first experience, without labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import above, at_least
from dreamer.core.randomness import Purpose, randoms
from dreamer.streams.base import Samples, Stream, refuse_passing
from dreamer.streams.embedded import embedded

# added to the variance of a patch, so that flat ones are not blown up to noise, and to that of each principal axis
_FLAT = (10 / 255) ** 2
_RIDGE = 0.1
_ROUNDS = 10
_AT_ONCE = 1024


@checked
def patch_features(
    stream: Stream,
    filters: int = 200,
    size: int = 6,
    pool: int = 3,
    threshold: float = 0.5,
    examples: int = 50_000,
    power: float = 1.0,
    batch_size: int = 16,
    device: str = "cpu",
    seed: int = 0,
) -> Stream:
    """The features of all images, training, held-out and test, in the place of the images; nothing is pretrained.

    A convolution whose filters are centres of the first experience's patches, a rectifier, and means over the cells of
    a grid (Coates, Lee and Ng 2011, "An analysis of single-layer networks in unsupervised feature learning"). Patches
    are normalised one by one and whitened; the centres come from spherical k-means with damped updates (Coates and Ng
    2012, "Learning feature representations with k-means", section 2). Labels are not used, and later experiences change
    nothing, so features never age.

    Features are computed before the run. Memories, generators and perturbations work on them, as after
    :func:`dreamer.streams.embedded.embedded`.

    Args:
        stream: of (C, H, W) images with values in [0, 1].
        filters: how many are learnt.
        size: of a patch, in pixels a side.
        pool: cells a side of the grid; features are ``filters * pool ** 2`` numbers, at least 0.
        threshold: taken off the filters' answers before they are rectified, at least 0: the larger, the sparser.
        examples: patches that the filters are learnt from, at least as many as filters.
        power: to which features are raised, above 0: 0.5 makes them more nearly Gaussian.
        batch_size: images that are convolved at a time; small ones stay in the processor's cache.
        device: where they are convolved.
        seed: decides which patches are drawn, and which of them the centres begin with.

    Raises:
        ValueError: when samples are no images, or smaller than a patch or than the grid, or an option is out of range.

    >>> from dreamer.streams import digits
    >>> patch_features(digits(), filters=8, size=3, pool=2, examples=500).sample_shape
    (32,)
    """
    refuse_passing(stream, "patch_features")
    at_least(1, filters=filters, size=size, pool=pool)
    at_least(filters, examples=examples)
    at_least(0, threshold=threshold)
    above(0, power=power)
    if len(stream.sample_shape) != 3:
        raise ValueError(f"patch_features: expected images of shape (C, H, W), got samples of {stream.sample_shape}")
    if min(stream.sample_shape[1:]) < size + pool - 1:
        raise ValueError(
            f"patch_features: expected images of at least {size + pool - 1} pixels a side for patches of {size} and a "
            f"grid of {pool} x {pool}, got {stream.sample_shape}"
        )
    rng = randoms(seed, Purpose.PATCHES)
    drawn = _patches(stream.experiences[0].train, size, examples, rng)
    layer = _Layer.learnt(drawn, filters, pool, threshold, rng)
    return embedded(stream, layer, power=power, batch_size=batch_size, device=device)


class _Layer(nn.Module):
    """Map (B, C, H, W) images in [0, 1] to (B, K, pool, pool) features.

    Args:
        weight: (K, C, size, size) filters, each of which sums to 0, for patches divided by their own deviation.
        bias: (K,) numbers that are taken off their answers.
        pool: cells a side of the grid.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, pool: int):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.pool = pool

    @classmethod
    def learnt(cls, patches: Tensor, filters: int, pool: int, threshold: float, rng: torch.Generator) -> _Layer:
        """The layer whose filters are centres of (N, C, size, size) patches in [0, 1]."""
        flat = patches.flatten(1)
        flat = flat - flat.mean(dim=1, keepdim=True)
        flat = flat / (flat.square().mean(dim=1, keepdim=True) + _FLAT).sqrt()
        centre = flat.mean(dim=0)
        variance, axes = torch.linalg.eigh(torch.cov(flat.T.double()))
        whitener = (axes @ torch.diag((variance + _RIDGE).rsqrt()) @ axes.T).float()
        white = (flat - centre) @ whitener
        chosen = white[torch.randperm(len(white), generator=rng)[:filters]]
        centres = functional.normalize(chosen)
        for _ in range(_ROUNDS):
            answers = white @ centres.T
            best, nearest = answers.max(dim=1)
            # a centre keeps itself as one of its patches, so that one without any stays where it is
            centres = functional.normalize(centres.index_add(0, nearest, white * best[:, None]))
        weight = centres @ whitener
        bias = weight @ centre + threshold
        # the mean of a patch, which is taken off every patch, is taken off the filters once
        weight = weight - weight.mean(dim=1, keepdim=True)
        return cls(weight.view(-1, *patches.shape[1:]), bias, pool)

    def forward(self, x: Tensor) -> Tensor:
        size = self.weight.shape[-1]
        mean, square = (functional.avg_pool2d(part, size, 1).mean(dim=1, keepdim=True) for part in (x, x.square()))
        # rounding may make the variance of a flat patch negative
        deviation = ((square - mean.square()).clamp_min(0) + _FLAT).sqrt()
        # somewhat quicker on a CPU than channels first
        answers = functional.conv2d(x.contiguous(memory_format=torch.channels_last), self.weight)
        rectified = (answers / deviation - self.bias[:, None, None]).relu_()
        return functional.adaptive_avg_pool2d(rectified, self.pool)


def _patches(images: Samples, size: int, count: int, rng: torch.Generator) -> Tensor:
    """(count, C, size, size) patches at random places of random images."""
    which = torch.randint(len(images), (count,), generator=rng)
    height, width = images.sample_shape[1:]
    rows = torch.randint(height - size + 1, (count,), generator=rng).tolist()
    columns = torch.randint(width - size + 1, (count,), generator=rng).tolist()
    at_once = torch.arange(count).split(_AT_ONCE)
    cut = torch.empty(count, images.sample_shape[0], size, size)
    for positions, batch in zip(at_once, images.batches(which[each] for each in at_once), strict=True):
        for position, image in zip(positions.tolist(), batch.x.float().cpu(), strict=True):
            row, column = rows[position], columns[position]
            cut[position] = image[:, row : row + size, column : column + size]
    return cut

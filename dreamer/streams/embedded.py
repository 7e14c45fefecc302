"""A stream through a frozen network: its samples are replaced by features, computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import above
from dreamer.networks.backbone import Backbone
from dreamer.streams._feature_cache import FeatureCache, digests_of
from dreamer.streams.base import Samples, Stream, TensorSamples, refuse_passing

# samples after which what was computed is written, so that little is lost when a long computation is stopped
_AT_ONCE = 1024
_BATCH = 64
# numbers in the samples that a CPU sees at a time: python -m reproductions.feature_batches
_NUMBERS = 650_000


class PicturedFeatures(TensorSamples):
    """Features that can be shown: they know which samples they were computed of.

    Args:
        x: (N, H) features, or (N, ...) activations.
        y: (N,) labels.
        of: the N samples behind them, which are read when they are shown.
        group: (N,) int64, the domain of each sample, or None.
    """

    def __init__(self, x: Tensor, y: Tensor, of: Samples, group: Tensor | None = None):
        super().__init__(x, y, group=group)
        self.of = of

    def subset(self, index: Tensor) -> PicturedFeatures:
        part = super().subset(index)
        return PicturedFeatures(part.x, part.y, self.of.subset(index), part.group)

    def with_labels(self, y: Tensor) -> PicturedFeatures:
        return PicturedFeatures(self.x, y.to(self.y.device), self.of, self.group)

    def to(self, device: torch.device | str) -> PicturedFeatures:
        moved = super().to(device)
        return PicturedFeatures(moved.x, moved.y, self.of, moved.group)


@checked
def embedded(
    stream: Stream,
    model: nn.Module | str,
    weights: str | Path | None = None,
    trainable_blocks: int | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    power: float = 1.0,
    batch_size: int | None = None,
    device: str = "cpu",
    cache: bool = True,
) -> Stream:
    """The features of all samples, training, held-out and test, in the place of the samples.

    What a frozen backbone would compute anew in every step is computed once, before the run, and kept in the user's
    cache directory, or in ``DREAMER_CACHE``, for runs to come: there a sample is found by its content and that of the
    network. The samples are let go, but for the held-out ones, which pictures of dreams show. Memories, generators and
    perturbations then work on features, which are samples of shape (H,) to them. Augmentation of images comes too late
    for such a stream, and is refused by the stages.

    Args:
        stream: whose samples are shown to the model.
        model: the name of a classifier, or a module, as for :class:`dreamer.networks.Backbone`.
        weights: file with the model's state dict; None leaves the model as it is.
        trainable_blocks: stop before so many of the model's last blocks, whose inputs then take the place of the
            samples; ``Backbone(..., trainable_blocks=N, inner=True)`` learns from them.
        size: side in pixels to which images are resized; None leaves them.
        mean: of each channel, taken off beforehand; None means the named model's own, and nothing for a module.
        std: of each channel, by which it is divided then; None likewise.
        power: to which features are raised, above 0: 0.5 makes those of rectified layers, which are never negative,
            more nearly Gaussian (Yang et al. 2021, arXiv 2101.06395, with Tukey's ladder of powers). What stands before
            ``trainable_blocks`` is left as it is.
        batch_size: samples that the model sees at a time; None means 64, and on a CPU fewer of large ones, which is
            faster there.
        device: where it sees them.
        cache: keep the features of a named model on disk, and take them from there; those of a module of your own are
            computed anew, because its code may have changed.

    Raises:
        ValueError: when the model cannot take such samples, or the weights are not its own.
    """
    refuse_passing(stream, "embedded")
    above(0, power=power)
    backbone = Backbone(
        stream.sample_shape,
        1,
        model,
        weights,
        frozen=trainable_blocks is None,
        trainable_blocks=trainable_blocks,
        size=size,
        mean=mean,
        std=std,
    )
    backbone = backbone.to(device).eval()
    # the code of somebody's own module is nothing that could be compared
    at_a_time = _at_a_time(stream.sample_shape, backbone, device) if batch_size is None else batch_size
    kept = FeatureCache(_Key(model, backbone)) if cache and isinstance(model, str) else None
    seen: dict[int, Samples] = {}

    def see(samples: Samples) -> Samples:
        # pieces of one experience share their test data
        if id(samples) not in seen:
            features = _features(samples, backbone, kept, at_a_time)
            if trainable_blocks is None:
                features = _powered(features, power)
            seen[id(samples)] = TensorSamples(features, samples.y.cpu(), group=getattr(samples, "group", None))
        return seen[id(samples)]

    def see_held_out(samples: Samples) -> Samples:
        features = see(samples)
        assert isinstance(features, TensorSamples)
        are_images = len(samples.sample_shape) == 3
        return PicturedFeatures(features.x, features.y, samples, features.group) if are_images else features

    experiences = tuple(
        replace(
            each,
            train=see(each.train),
            test=see(each.test),
            validation=None if each.validation is None else see_held_out(each.validation),
        )
        for each in stream.experiences
    )
    return replace(
        stream, name=f"{stream.name} embedded", experiences=experiences, sample_shape=experiences[0].train.sample_shape
    )


def _at_a_time(sample_shape: Sequence[int], backbone: Backbone, device: str) -> int:
    """How many samples the model sees at a time, unless somebody says so.

    What a layer puts out for many large pictures fills more than 32 MB, and glibc hands every such block back to the
    system, which fills the next one with zeros: on a CPU that takes longer than the layer.
    """
    if torch.device(device).type != "cpu":
        return _BATCH
    channels, *sides = sample_shape
    shown = [backbone.channels or channels, *(sides if backbone.size is None else [backbone.size] * 2)]
    return max(1, min(_BATCH, _NUMBERS // math.prod(shown)))


def _powered(features: Tensor, power: float) -> Tensor:
    if power == 1:
        return features
    if (features < 0).any():
        raise ValueError(
            f"power={power} needs features that are never negative, the least is {float(features.min()):.3g}"
        )
    return features.pow(power)


def _features(samples: Samples, backbone: Backbone, cache: FeatureCache | None, batch_size: int) -> Tensor:
    """(N, H) features, or (N, ...) activations where the last blocks are left out."""
    if cache is None:
        return _computed(samples, backbone, batch_size)
    digests = digests_of(samples)
    for some in torch.tensor(cache.missing(digests), dtype=torch.int64).split(_AT_ONCE):
        if len(some):
            computed = _computed(samples.subset(some), backbone, batch_size)
            cache.add([digests[position] for position in some.tolist()], computed)
    return cache.get(digests)


@torch.no_grad()
def _computed(samples: Samples, backbone: Backbone, batch_size: int) -> Tensor:
    parts = []
    for batch in samples.batches(torch.arange(len(samples)).split(batch_size)):
        h = backbone.frozen_features(batch.x.to(next(backbone.head.parameters()).device))
        parts.append((h.flatten(1) if backbone.frozen else h).float().cpu())
    return torch.cat(parts)


class _Key(nn.Module):
    """What decides the features: the frozen part and what is done to its samples; no layer that is trained."""

    def __init__(self, model: str, backbone: Backbone):
        super().__init__()
        # layers and weights do not say what the code between them does
        self.model = model
        self.part = backbone.trunk if backbone.frozen else backbone.below
        self.pixels = (backbone.channels, backbone.size)
        for name in ("mean", "std"):
            self.register_buffer(name, getattr(backbone, name))

    def extra_repr(self) -> str:
        return f"model={self.model}, pixels={self.pixels}"

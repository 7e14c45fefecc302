"""A stream through a frozen network: its samples are replaced by features, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from dreamer.networks.backbone import Backbone
from dreamer.streams.base import Samples, Stream, TensorSamples, refuse_passing


@torch.no_grad()
def embedded(
    stream: Stream,
    model: nn.Module | str,
    weights: str | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    batch_size: int = 256,
    device: str = "cpu",
) -> Stream:
    """The features of all samples, training, held-out and test, in the place of the samples.

    What a frozen backbone would compute anew in every step is computed once, before the run. The samples are let go,
    so nothing is held twice; memories, generators and perturbations then work on features, which are samples of shape
    (H,) to them. Augmentation of images comes too late for such a stream, and is refused by the stages.

    Args:
        stream: whose samples are shown to the model.
        model: the name of a classifier of torchvision or timm, or a module, as for :class:`dreamer.networks.Backbone`.
        weights: file with the model's state dict; None leaves the model as it is.
        size: side in pixels to which images are resized; None leaves them.
        mean: of each channel, taken off beforehand; None means ImageNet's for a named model, and nothing for a module.
        std: of each channel, by which it is divided then; None likewise.
        batch_size: samples that the model sees at a time.
        device: where it sees them.

    Raises:
        ValueError: when the model cannot take such samples, or the weights are not its own.
    """
    refuse_passing(stream, "embedded")
    backbone = Backbone(stream.sample_shape, 1, model, weights, frozen=True, size=size, mean=mean, std=std)
    backbone = backbone.to(device).eval()
    seen: dict[int, Samples] = {}

    def see(samples: Samples) -> Samples:
        # pieces of one experience share their test data
        if id(samples) not in seen:
            parts = [
                backbone.features(batch.x.to(device)).float().cpu()
                for batch in samples.batches(torch.arange(len(samples)).split(batch_size))
            ]
            seen[id(samples)] = TensorSamples(torch.cat(parts), samples.y.cpu(), group=getattr(samples, "group", None))
        return seen[id(samples)]

    experiences = tuple(
        replace(
            each,
            train=see(each.train),
            test=see(each.test),
            validation=None if each.validation is None else see(each.validation),
        )
        for each in stream.experiences
    )
    return replace(
        stream, name=f"{stream.name} embedded", experiences=experiences, sample_shape=experiences[0].train.sample_shape
    )

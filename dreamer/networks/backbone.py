"""A network of another library that gives features, and a linear layer behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from dreamer.core.arguments import checked
from dreamer.core.modes import evaluating
from dreamer.networks._blocks import check_cut, cut
from dreamer.networks._zoo import Headless, headless, load_weights
from dreamer.networks.base import TrunkAndHead, dummy_input
from dreamer.networks.heads import head


class Backbone(TrunkAndHead):
    """A network of torchvision, of timm or of your own gives features; a linear layer classifies them.

    It is trained as a whole, frozen as a whole, or frozen up to its last blocks. What is frozen stays in evaluation
    mode, so that no running statistics move either; those of last blocks that are trained rest as well, because a
    stream's batches hold few classes. Where the samples are seen as they are,
    :func:`dreamer.streams.embedded.embedded` computes what the frozen part puts out once, before the run.

    Args:
        sample_shape: *S.
        outputs: K, what it puts out for a sample: logits of classes, or numbers.
        model: the name of a classifier, whose last layer is cut off: ``efficientnet_lite0``, one of torchvision, or
            else one of timm; or a module that maps (B, *S) samples to features, which are flattened to (B, H).
        weights: file with the model's state dict, that of the whole classifier for a named one, as ``torch.save`` or
            safetensors (``.safetensors``) writes it; None leaves the model as it is, and a named one untrained: nothing
            is ever downloaded.
        frozen: leave the model as it is, and train the last layer alone.
        trainable_blocks: freeze the model but for so many of its last blocks; a block is a layer, or a residual block,
            with the normalisation behind it. None freezes all or nothing, as ``frozen`` says.
        inner: samples are what the frozen part puts out, which is left out then; needs ``trainable_blocks``.
        size: side in pixels to which images are resized (bilinear, antialiased); None leaves them.
        mean: of each channel, taken off beforehand; None means the named model's own, and nothing for a module.
        std: of each channel, by which it is divided then; None likewise.
        growing: let outputs appear when their classes are first seen (see :class:`dreamer.networks.GrowingHead`).

    Raises:
        ValueError: when there is no such model, it is none for such samples, it cannot be cut, or the weights are not
            its own.

    >>> network = Backbone((3, 32, 32), 10, nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16)), frozen=True)
    >>> network.features(torch.rand(2, 3, 32, 32)).shape, network.trunk[1].weight.requires_grad
    (torch.Size([2, 16]), False)
    """

    mean: Tensor | None
    std: Tensor | None

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        outputs: int,
        model: nn.Module | str,
        weights: str | Path | None = None,
        frozen: bool = False,
        trainable_blocks: int | None = None,
        inner: bool = False,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        growing: bool = False,
    ):
        super().__init__()
        if frozen and trainable_blocks is not None:
            raise ValueError(f"expected frozen or trainable_blocks, got frozen and trainable_blocks={trainable_blocks}")
        if inner and trainable_blocks is None:
            raise ValueError("inner needs trainable_blocks: a model that is frozen as a whole leaves nothing to train")
        named = headless(model) if isinstance(model, str) else None
        whole = model if named is None else named.network
        assert isinstance(whole, nn.Module)
        if weights is not None:
            load_weights(whole, weights, frozenset() if named is None else named.spare)
        # classifiers of colour images are shown a grey one in each of their three channels
        self.channels = 3 if named and len(sample_shape) == 3 and sample_shape[0] == 1 else None
        self.size = size
        self._normalise(None if inner else named, mean, std)
        self.frozen = frozen
        # frozen layers below those that are trained
        self.below: nn.Module = nn.Identity()
        self.trunk = whole
        self.partly = trainable_blocks is not None
        if trainable_blocks is not None:
            below, self.trunk = cut(whole, trainable_blocks)
            self.below = self.below if inner else below
        self.below.requires_grad_(False)
        self.trunk.requires_grad_(not frozen)
        name = model if isinstance(model, str) else type(model).__name__
        self.head = head(self._width(name, whole, tuple(sample_shape), inner), outputs, growing=growing)

    def features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, H) features."""
        if self.frozen:
            return self.frozen_features(x).flatten(1)
        if not self.partly:
            return self.trunk(self._prepared(x)).flatten(1)
        norms = nn.ModuleList(layer for layer in self.trunk.modules() if isinstance(layer, _BatchNorm))
        with evaluating(norms):
            return self.trunk(self.frozen_features(x)).flatten(1)

    def frozen_features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to what the frozen part puts out: (B, ...) activations; the samples, if none is."""
        x = self._prepared(x)
        part = self.trunk if self.frozen else self.below
        # evaluation mode only while it runs: Lightning warns of modules that are found in it when a fit starts
        with evaluating(part):
            return part(x)

    def _normalise(self, named: Headless | None, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        own = (None, None) if named is None else (named.mean, named.std)
        for name, given, default in zip(("mean", "std"), (mean, std), own, strict=True):
            values = default if given is None else given
            self.register_buffer(name, None if values is None else torch.tensor(values).view(-1, 1, 1))

    def _prepared(self, x: Tensor) -> Tensor:
        if self.channels is not None:
            x = x.expand(-1, self.channels, -1, -1)
        if self.size is not None:
            x = functional.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        x = x if self.mean is None else x - self.mean
        return x if self.std is None else x / self.std

    def _width(self, name: str, whole: nn.Module, sample_shape: tuple[int, ...], inner: bool) -> int:
        """H; a ValueError when the model cannot take such samples."""
        x = dummy_input(self.trunk if inner else whole, sample_shape)
        try:
            with evaluating(self), torch.no_grad(), torch.random.fork_rng(devices=[]):
                h: Any = self.trunk(self.below(self._prepared(x)))
        except Exception as error:  # whatever somebody else's module raises
            why = " ".join(str(error).split())[:200]
            raise ValueError(f"{name} cannot take samples of shape {sample_shape}: {why}") from error
        if not isinstance(h, Tensor):
            raise ValueError(
                f"expected {name} to give features as one tensor, got a {type(h).__name__}: wrap it in a module whose "
                "forward picks them out"
            )
        if self.partly and not inner:
            some = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
            check_cut(whole, (self.below, self.trunk), self._prepared(some))
        return h.flatten(1).shape[1]

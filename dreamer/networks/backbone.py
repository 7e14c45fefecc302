"""A network of another library that gives features, and a linear layer behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.modes import evaluating
from dreamer.networks._zoo import headless, load_weights
from dreamer.networks.base import TrunkAndHead, dummy_input
from dreamer.networks.heads import head

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Backbone(TrunkAndHead):
    """A network of torchvision, of timm or of your own gives features; a linear layer classifies them.

    A frozen one stays in evaluation mode, so that no running statistics move either. Where it stays frozen and sees
    each sample as it is, :func:`dreamer.streams.embedded.embedded` computes its features once, before the run.

    Args:
        sample_shape: *S.
        outputs: K, what it puts out for a sample: logits of classes, or numbers.
        model: the name of a classifier of torchvision or timm, whose last layer is cut off; or a module that maps
            (B, *S) samples to features, which are flattened to (B, H).
        weights: file with the model's state dict, that of the whole classifier for a named one; None leaves the model
            as it is, and a named one untrained: nothing is ever downloaded.
        frozen: leave the model as it is, and train the last layer alone.
        size: side in pixels to which images are resized (bilinear, antialiased); None leaves them.
        mean: of each channel, taken off beforehand; None means ImageNet's for a named model, and nothing for a module.
        std: of each channel, by which it is divided then; None likewise.
        growing: let outputs appear when their classes are first seen (see :class:`dreamer.networks.GrowingHead`).

    Raises:
        ValueError: when there is no such model, it is none for such samples, or the weights are not its own.

    >>> network = Backbone((3, 32, 32), 10, nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16)), frozen=True)
    >>> network.features(torch.rand(2, 3, 32, 32)).shape, network.trunk[1].weight.requires_grad
    (torch.Size([2, 16]), False)
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        sample_shape: Sequence[int],
        outputs: int,
        model: nn.Module | str,
        weights: str | None = None,
        frozen: bool = False,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        growing: bool = False,
    ):
        super().__init__()
        named = isinstance(model, str)
        self.trunk, spare = headless(model) if isinstance(model, str) else (model, frozenset())
        if weights is not None:
            load_weights(self.trunk, weights, spare)
        self.frozen = frozen
        self.trunk.requires_grad_(not frozen)
        self.size = size
        # classifiers of colour images are shown a grey one in each of their three channels
        self.channels = 3 if named and len(sample_shape) == 3 and sample_shape[0] == 1 else None
        defaults = _IMAGENET if named else (None, None)
        for name, given, default in zip(("mean", "std"), (mean, std), defaults, strict=True):
            values = default if given is None else given
            self.register_buffer(name, None if values is None else torch.tensor(values).view(-1, 1, 1))
        self.head = head(self._width(model, tuple(sample_shape)), outputs, growing=growing)

    def features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, H) features."""
        x = self._prepared(x)
        if not self.frozen:
            return self.trunk(x).flatten(1)
        # evaluation mode only while it runs: Lightning warns of modules that are found in it when a fit starts
        with evaluating(self.trunk):
            return self.trunk(x).flatten(1)

    def _prepared(self, x: Tensor) -> Tensor:
        if self.channels is not None:
            x = x.expand(-1, self.channels, -1, -1)
        if self.size is not None:
            x = functional.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        x = x if self.mean is None else x - self.mean
        return x if self.std is None else x / self.std

    def _width(self, model: Any, sample_shape: tuple[int, ...]) -> int:
        name = model if isinstance(model, str) else type(model).__name__
        try:
            with evaluating(self.trunk), torch.no_grad(), torch.random.fork_rng(devices=[]):
                h = self.trunk(self._prepared(dummy_input(self.trunk, sample_shape)))
        except Exception as error:  # whatever somebody else's module raises
            why = " ".join(str(error).split())[:200]
            raise ValueError(f"{name} cannot take samples of shape {sample_shape}: {why}") from error
        if not isinstance(h, Tensor):
            raise ValueError(
                f"expected {name} to give features as one tensor, got a {type(h).__name__}: wrap it in a module whose "
                "forward picks them out"
            )
        return h.flatten(1).shape[1]

"""The contract of the family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dreamer.types import Batch, Bend, Dream


class UntrainedError(RuntimeError):
    """A generator was asked to dream of something that it has not learnt."""


class Generator(nn.Module, ABC):
    """Learns the day while awake, settles what it learnt at dusk, dreams in sleep.

    Its trainable parameters are a parameter group of the life's one optimiser; :meth:`loss` must not share a graph
    with the learner's losses.

    Attributes:
        has_latents: True when :meth:`dream` takes perturbations of the latent space.
    """

    has_latents: bool = False

    @property
    @abstractmethod
    def dreamable(self) -> Tensor:
        """(K,) bool, the classes that it can dream of now."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of all that it keeps to learn and to dream."""

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """Judge itself on real samples.

        Args:
            x: (B, *S) samples.
            y: (B,) int64 labels.
            rng: generator on the device of ``x``.

        Returns:
            Scalar, per sample and element of *S, so that it is of the learner's order of magnitude and gradient
            clipping treats both alike.
        """

    @abstractmethod
    def settle(self, day: Iterable[Batch], experience: int, rng: torch.Generator) -> None:
        """At dusk, keep what is needed to dream of the day; may be called again for the same experience.

        Args:
            day: all real batches of the experience, read once.
            experience: its number; a later call with the same number replaces what the earlier one kept.
            rng: generator on the device of the samples.
        """

    @abstractmethod
    def dream(self, y: Tensor, rng: torch.Generator, bend: Bend | None = None) -> Dream:
        """Dream of the given classes.

        Args:
            y: (B,) int64 labels.
            rng: generator on the device of ``y``.
            bend: bends the (B, D) latent codes, a group of samples at a time; generators without latents take none.

        Returns:
            B dreams in the order of ``y``; ``p`` is set when codes were bent.

        Raises:
            UntrainedError: when a class has not been learnt.
        """

    def refuse_unknown(self, y: Tensor) -> None:
        """Raise an :class:`UntrainedError` that names the classes of (B,) ``y`` that cannot be dreamt of yet."""
        unknown = y[~self.dreamable[y]]
        if len(unknown):
            classes = ", ".join(str(label) for label in unknown.unique().tolist())
            raise UntrainedError(
                f"{type(self).__name__} was asked to dream of class {classes} before it was trained on it: "
                "let it live through a wake stage and its dusk first"
            )

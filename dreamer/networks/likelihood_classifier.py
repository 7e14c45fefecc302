"""A classifier by how likely a generator finds a sample under each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least


@runtime_checkable
class Likelihoods(Protocol):
    """A generator that says how likely a sample is under each of its classes."""

    sample_shape: tuple[int, ...]
    num_classes: int

    def log_likelihood(self, x: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """(B, K) estimates of log p(x | class) from so many importance samples; ``-inf`` for classes never seen."""
        ...


class LikelihoodClassifier(nn.Module):
    """Bayes' rule with classes that are equally likely beforehand: a logit is log p(x | class).

    The generative classifier of van de Ven, Li and Tolias (2021, arXiv 2104.10093). It has nothing to learn: the
    generator learns, and comes in through :meth:`attach`. The same batch gets the same logits in every evaluation: the
    importance noise is drawn from the same seed each time.

    Args:
        sample_shape: *S.
        num_classes: K.
        samples: importance samples per class. 50 as in the official code (continual-learning, params/options.py); the
            commands of the first paper (class-incremental-learning, commands.sh) take 10 000.
        seed: of the importance noise.

    Raises:
        ValueError: when ``samples`` is below 1.
    """

    needs_classes = True

    @checked
    def __init__(self, sample_shape: Sequence[int], num_classes: int, samples: int = 50, seed: int = 0):
        super().__init__()
        at_least(1, num_classes=num_classes)
        if samples < 1:
            raise ValueError(f"expected at least 1 importance sample, got {samples}")
        self.sample_shape = tuple(sample_shape)
        self.num_classes = num_classes
        self.samples = samples
        self.seed = seed
        # a tuple hides it from torch: the generator is saved, moved and optimised by the module, not a second time here
        self._generator: tuple[Likelihoods, ...] = ()

    def attach(self, generator: nn.Module) -> None:
        """Take the generator, once, when the module is built.

        Raises:
            ValueError: when it cannot say how likely a sample is, or is made for other samples or classes.
        """
        if not isinstance(generator, Likelihoods):
            raise ValueError(
                "LikelihoodClassifier expects a generator with log_likelihood(x, samples, rng), "
                f"as vae_per_class has it, got {type(generator).__name__}"
            )
        own, other = (self.sample_shape, self.num_classes), (tuple(generator.sample_shape), generator.num_classes)
        if own != other:
            raise ValueError(
                f"LikelihoodClassifier expects a generator of samples {own[0]} and {own[1]} classes, "
                f"got one of samples {other[0]} and {other[1]} classes"
            )
        self._generator = (generator,)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, K) log-likelihoods; those of classes never seen are the lowest number.

        Raises:
            RuntimeError: before a generator was attached.
        """
        if not self._generator:
            raise RuntimeError("LikelihoodClassifier has no generator yet: a module that has one attaches it")
        rng = torch.Generator(x.device).manual_seed(self.seed)
        logits = self._generator[0].log_likelihood(x, self.samples, rng)
        return logits.clamp_min(torch.finfo(logits.dtype).min)

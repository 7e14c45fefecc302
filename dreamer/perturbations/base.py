"""The contract of the family: how perturbations are applied, scaled, and bound to the learner."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

Part = TypeVar("Part")
Space = Literal["pixel", "token", "embedding", "latent", "noise"]
OF_SAMPLES: frozenset[Space] = frozenset({"pixel", "token", "embedding"})
"""What is perturbed when samples are, real ones too."""


@runtime_checkable
class Perturbation(Protocol):
    """Perturbs samples, texts, their embeddings, latent codes, or the noise from which a generator makes either.

    Never in place; the same generator state gives the same result; every parameter is drawn per sample. Labels that
    do not change are returned as the very same tensor.

    A perturbation whose strength can be changed (:func:`scaled`) names in ``amounts: tuple[str, ...]`` the attributes
    that say how strong it is, 0 for no change; where multiplying them is not right, it also has a method
    ``scaled(strength)``, which returns what :func:`scaled` does. One that needs the learner has a method
    ``bind_model(network)`` that returns a copy bound to it (:func:`bound`); calling it unbound raises a RuntimeError.
    One that brings samples into a range of values names it in ``clip``, None for none. One of texts has a flag
    ``rewrites``, true when what becomes of a text is another text, of which a teacher of the clean one knows nothing;
    one of embeddings a flag ``mixes``, true when it mixes those of several texts.

    Attributes:
        space: what is perturbed: ``pixel`` (B, *S) samples, ``token`` (B, T) texts, ``embedding`` (B, T, D) those
            of texts, ``latent`` (B, D) codes, or ``noise``, the (B, D) standard normal numbers from which a generator
            makes codes or samples.
    """

    @property
    def space(self) -> Space:
        """See the class."""
        ...

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb a batch.

        Args:
            x: (B, *S) samples, (B, T, D) embeddings, or (B, D) latent codes or noise.
            p: (B, K) label distributions; of texts (B, T) next tokens, -100 where none counts; of embeddings (B, B), of
                which texts each is made.
            rng: generator on the device of ``x``.

        Returns:
            The perturbed batch and its label distributions, of the same shapes.
        """
        ...


def perturb(perturbations: Iterable[Perturbation], x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Apply perturbations one after the other."""
    for perturbation in perturbations:
        x, p = perturbation(x, p, rng)
    return x, p


def scaled(part: Part, strength: float) -> Part:
    """A copy that perturbs more or less strongly; the part itself does not change.

    Args:
        strength: at least 0; 0 changes neither samples nor labels, 1 is as strong as the part, 2 twice as strong,
            as far as its amounts allow.

    Raises:
        ValueError: when ``strength`` is negative, or the part does not say which attributes are its amounts.
    """
    if not 0 <= strength < math.inf:
        raise ValueError(f"expected a finite strength of at least 0, got {strength}")
    own = getattr(part, "scaled", None)
    if own is not None:
        return own(strength)
    if not hasattr(part, "amounts"):
        raise ValueError(
            f"expected {type(part).__name__} to name in 'amounts' the attributes that say how strong it is, "
            "or to have a method scaled(strength), got neither: it cannot be scaled"
        )
    return multiplied(part, strength)


def multiplied(part: Part, strength: float, most: float = math.inf) -> Part:
    """A copy whose ``amounts`` are multiplied by ``strength`` and are then at most ``most``."""
    copied = copy.copy(part)
    for name in part.amounts:  # type: ignore[attr-defined]
        setattr(copied, name, min(strength * getattr(part, name), most))
    return copied


def bound(perturbations: Iterable[Perturbation], network: nn.Module) -> tuple[Perturbation, ...]:
    """Bind those perturbations that need the learner to it; the others are returned as they are."""
    return tuple(part.bind_model(network) if hasattr(part, "bind_model") else part for part in perturbations)


def uniform(count: int, low: float, high: float, like: Tensor, rng: torch.Generator) -> Tensor:
    """(count,) numbers, uniform in [low, high), of the dtype and on the device of ``like``."""
    return torch.rand(count, generator=rng, device=like.device, dtype=like.dtype) * (high - low) + low


def beta(count: int, alpha: float, device: torch.device, rng: torch.Generator) -> Tensor:
    """(count,) float32 numbers of Beta(alpha, alpha).

    Each is ``a / (a + b)`` of two gamma variates. torch's own Beta takes no generator, its gamma kernel does. A
    gamma variate of shape ``alpha`` is one of shape ``alpha + 1`` times ``u ** (1 / alpha)`` (Marsaglia and Tsang
    2000, "A simple method for generating gamma variables", note on page 371): as logarithms these are exact for any
    ``alpha``, where the variates themselves would underflow for small ones.

    Args:
        alpha: above 0.
    """
    if device.type == "mps":
        # which has no gamma kernel
        seed = int(torch.randint(2**31, (1,), generator=rng, device=device))
        return beta(count, alpha, torch.device("cpu"), torch.Generator().manual_seed(seed)).to(device)
    larger = torch._standard_gamma(torch.full((2, count), alpha + 1, device=device), generator=rng)
    u = torch.rand(2, count, generator=rng, device=device)
    logs = larger.log() + torch.log1p(-u) / alpha
    return torch.sigmoid(logs[0] - logs[1])


def along(values: Tensor, x: Tensor) -> Tensor:
    """(B,) numbers in the shape (B, 1, ...) that stretches along the (B, *S) samples ``x``."""
    return values.view(-1, *[1] * (x.ndim - 1))


def partners(label: Tensor, rng: torch.Generator) -> Tensor:
    """For every sample another one with the same label, at random; itself where it is the only one.

    Args:
        label: (B,) int64.
        rng: generator on the device of ``label``.

    Returns:
        (B,) int64 positions; every position stands there once.
    """
    count = len(label)
    # MPS has no float64, in which equal numbers are rarer
    kind = torch.float32 if label.device.type == "mps" else torch.float64
    order = torch.rand(count, generator=rng, device=label.device, dtype=kind).argsort()
    order = order[label[order].argsort(stable=True)]
    ordered = label[order]
    following = torch.arange(1, count + 1, device=label.device)
    opens = torch.ones(count, dtype=torch.bool, device=label.device)
    opens[1:] = ordered[1:] != ordered[:-1]
    closes = torch.ones_like(opens)
    closes[:-1] = opens[1:]
    # within the shuffled samples of one label each takes the next, and the last takes the first
    first = torch.arange(count, device=label.device).where(opens, 0).cummax(dim=0).values
    partner = torch.empty_like(order)
    partner[order] = order[torch.where(closes, first, following)]
    return partner


def any_partners(p: Tensor, rng: torch.Generator) -> Tensor:
    """(B,) int64: for every sample of the (B, K) label distributions another one of the batch, whatever its label."""
    return partners(torch.zeros(len(p), dtype=torch.int64, device=p.device), rng)


def need_images(x: Tensor, who: str) -> None:
    """Raise a ValueError unless ``x`` is a batch of images."""
    if x.ndim != 4:
        raise ValueError(f"{who} perturbs images of shape (B, C, H, W), got samples of shape {tuple(x.shape)}")


def need_float(x: Tensor, who: str) -> None:
    """Raise a ValueError unless ``x`` has a floating dtype."""
    if not x.is_floating_point():
        raise ValueError(f"{who} perturbs floating-point samples, got {x.dtype}")

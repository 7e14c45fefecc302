"""The contract of the family, and how several are applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Perturbation(Protocol):
    """Bends samples (``space = "pixel"``) or latent codes (``space = "latent"``).

    Never in place; the same generator state gives the same result; every parameter is drawn per sample.
    """

    space: Literal["pixel", "latent"]

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Bend a batch.

        Args:
            x: (B, *S) samples, or (B, D) latent codes.
            p: (B, K) label distributions.
            rng: generator on the device of ``x``.

        Returns:
            The bent samples and their label distributions, of the same shapes.
        """
        ...


def bend(perturbations: Iterable[Perturbation], x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Apply perturbations one after the other."""
    for perturbation in perturbations:
        x, p = perturbation(x, p, rng)
    return x, p


def uniform(count: int, low: float, high: float, like: Tensor, rng: torch.Generator) -> Tensor:
    """(count,) numbers, uniform in [low, high), of the dtype and on the device of ``like``."""
    return torch.rand(count, generator=rng, device=like.device, dtype=like.dtype) * (high - low) + low


def need_images(x: Tensor, who: str) -> None:
    """Raise a ValueError unless ``x`` is a batch of images."""
    if x.ndim != 4:
        raise ValueError(f"{who} bends images of shape (B, C, H, W), got samples of shape {tuple(x.shape)}")


def need_float(x: Tensor, who: str) -> None:
    """Raise a ValueError unless ``x`` has a floating dtype."""
    if not x.is_floating_point():
        raise ValueError(f"{who} bends floating-point samples, got {x.dtype}")

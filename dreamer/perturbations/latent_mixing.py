"""Two memories become one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.perturbations.base import uniform


class LatentMixing:
    """Move every latent code towards that of another sample of the batch, and its label with it.

    The recombination of the REM phase of perturbed and adversarial dreaming (Deperrois et al. 2022, eLife
    11:e76384), which mixes 0.25 of one memory, 0.25 of another and 0.5 of noise; here the share is drawn per sample.

    Args:
        strength: the largest share of the other code; a sample's own is uniform in [0, strength], at most 1.
        within_class: mix with samples of the same class only, so that labels stay as they are.

    Raises:
        ValueError: when ``strength`` is not in [0, 1].
    """

    space: Literal["latent"] = "latent"

    def __init__(self, strength: float = 0.5, within_class: bool = True):
        if not 0 <= strength <= 1:
            raise ValueError(f"expected a mixing strength in [0, 1], got {strength}")
        self.strength = strength
        self.within_class = within_class

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Bend (B, D) codes and (B, K) label distributions."""
        label = p.argmax(dim=1) if self.within_class else torch.zeros(len(p), dtype=torch.int64, device=p.device)
        partner = partners(label, rng)
        share = uniform(len(x), 0.0, self.strength, x, rng)[:, None]
        return torch.lerp(x, x[partner], share), torch.lerp(p, p[partner], share.to(p.dtype))


def partners(label: Tensor, rng: torch.Generator) -> Tensor:
    """For every sample another one with the same label, at random; itself where it is the only one.

    Args:
        label: (B,) int64.
        rng: generator on the device of ``label``.

    Returns:
        (B,) int64 positions.
    """
    count = len(label)
    luck = torch.rand(count, generator=rng, device=label.device, dtype=torch.float64)
    order = torch.argsort(label + luck)
    ordered = label[order]
    following = torch.arange(1, count + 1, device=label.device)
    opens = torch.ones(count, dtype=torch.bool, device=label.device)
    opens[1:] = ordered[1:] != ordered[:-1]
    closes = torch.ones_like(opens)
    closes[:-1] = opens[1:]
    # within the shuffled samples of one label everybody takes the next, and the last takes the first
    first = torch.arange(count, device=label.device).where(opens, 0).cummax(dim=0).values
    partner = torch.empty_like(order)
    partner[order] = order[torch.where(closes, first, following)]
    return partner

"""CutMix: a box of another image is pasted in."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import above, fractions
from dreamer.perturbations.base import along, any_partners, beta, multiplied, need_images


class CutMix:
    """Paste a box of another image of the batch into every image, and mix the labels by the area of the box.

    With ``l ~ Beta(alpha, alpha)`` the box has sides ``H sqrt(1 - l)`` and ``W sqrt(1 - l)`` around a centre that is
    uniform in the image; what sticks out is cut off (Yun et al. 2019, arXiv 1905.04899, equations 1 and 2). The label
    counts the pixels that were really replaced. The official ``train.py`` (``rand_bbox``) draws one box per batch and
    rounds its sides down to even numbers; here every image has its own box, with sides rounded down.

    Args:
        alpha: above 0. Yun et al.: 1, so that ``l`` is uniform.
        rate: probability that an image gets a box, in [0, 1]. Yun et al.: 0.5 on CIFAR, 1 on ImageNet (per batch).

    Raises:
        ValueError: when ``alpha`` is not above 0, or ``rate`` is not in [0, 1].
    """

    space: Literal["pixel"] = "pixel"
    amounts = ("rate",)

    @checked
    def __init__(self, alpha: float = 1.0, rate: float = 0.5):
        above(0, alpha=alpha)
        fractions(rate=rate)
        self.alpha = alpha
        self.rate = rate

    def scaled(self, strength: float) -> CutMix:
        """See :func:`dreamer.perturbations.scaled`; a probability of at most 1."""
        return multiplied(self, strength, most=1.0)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, C, H, W) images of any dtype and (B, K) label distributions."""
        need_images(x, "CutMix")
        count, _, height, width = x.shape
        partner = any_partners(p, rng)
        stretch = beta(count, self.alpha, x.device, rng).sqrt()
        chosen = torch.rand(count, generator=rng, device=x.device) < self.rate
        rows, columns = _interval(stretch, height, rng), _interval(stretch, width, rng)
        pasted = rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]
        area = pasted.to(torch.float64 if p.dtype == torch.float64 else torch.float32).mean(dim=(1, 2))
        mixed = torch.where(pasted[:, None], x[partner], x)
        return mixed, torch.lerp(p, p[partner], along(area.to(p.dtype), p))


def _interval(stretch: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """(B, side) bool: an interval of (B,) ``stretch`` times the side around a centre that is uniform in the side."""
    count, device = len(stretch), stretch.device
    length = (stretch * side).to(torch.int64)
    centre = torch.randint(side, (count,), generator=rng, device=device)
    start = (centre - length // 2)[:, None]
    place = torch.arange(side, device=device)
    return (place >= start) & (place < start + length[:, None])

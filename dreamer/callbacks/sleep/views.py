"""Dreams of samples that have several views, as self-supervised modules take them."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from dreamer.callbacks.sleep.stages import DreamStage, needs_model
from dreamer.perturbations import Perturbation, scaled
from dreamer.perturbations.base import Space


def view_by_view(stage: DreamStage) -> DreamStage:
    """The stage, perturbing each view of (B, V, *S) samples by amounts of its own."""
    if needs_model(stage):
        raise ValueError(
            f"a perturbation of the {stage.kind} stage needs the learner's logits, which are those of one tensor "
            "a sample, but a sample has several views here: leave it out"
        )
    perturbations = stage.replayer.perturbations
    stage = copy.copy(stage)
    stage.replayer = replace(
        stage.replayer, perturbations=None if perturbations is None else tuple(map(_EachView, perturbations))
    )
    return stage


class _EachView:
    """A perturbation of (B, V, *S) samples made of one of (B, *S) samples."""

    space: Space

    def __init__(self, part: Perturbation):
        self.part = part
        self.space = part.space
        self.clip = getattr(part, "clip", None)

    def scaled(self, strength: float) -> _EachView:
        return _EachView(scaled(self.part, strength))

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.space != "pixel":
            return self.part(x, p, rng)
        views = [self.part(view, p, rng) for view in x.unbind(dim=1)]
        if any(mixed is not p for _, mixed in views):
            raise ValueError(
                f"{type(self.part).__name__} mixes samples, and would mix each view with another sample's: leave it out"
            )
        return torch.stack([view for view, _ in views], dim=1), p

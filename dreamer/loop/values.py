"""Parts that are made for pixels in [0, 1], at work on samples of another range, such as normalised images."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators import Generator
from dreamer.perturbations import Perturbation, scaled
from dreamer.perturbations.base import Space
from dreamer.stages.replay import Stage

UNIT = (0.0, 1.0)
SLACK = 1e-3
"""What rounding may add to a range of values."""
_CHANNELS = 4


@dataclass(frozen=True)
class Values:
    """The range of samples that do not lie in [0, 1].

    Attributes:
        low, high: least and largest value, which broadcast to a sample: (C, 1, 1) of images, a scalar of others.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Values | None:
        """The range of (B, *S) samples; None where they lie in [0, 1], or are whole numbers."""
        if not x.is_floating_point() or not x.numel() or within(x, UNIT):
            return None
        image = x.ndim == 4 and x.shape[1] <= _CHANNELS
        if not image:
            return cls(x.amin().float().cpu(), x.amax().float().cpu())
        return cls(*(ends(x.float(), dim=(0, 2, 3)).cpu().view(-1, 1, 1) for ends in (torch.amin, torch.amax)))

    def enter(self, x: Tensor) -> Tensor:
        """Samples brought to [0, 1]; what lies beyond the range goes to its nearest end."""
        low, high = self.low.to(x.device, x.dtype), self.high.to(x.device, x.dtype)
        return ((x - low) / torch.where(high > low, high - low, 1)).clamp(*UNIT)

    def leave(self, x: Tensor) -> Tensor:
        """Samples brought back from [0, 1]."""
        low, high = self.low.to(x.device, x.dtype), self.high.to(x.device, x.dtype)
        return x * (high - low) + low

    def state_dict(self) -> dict[str, Tensor]:
        """Both ends."""
        return {"low": self.low, "high": self.high}


def within(x: Tensor, ends: Sequence[float]) -> bool:
    """Whether all values lie in a range, give or take what rounding adds."""
    return bool(x.amin() >= ends[0] - SLACK) and bool(x.amax() <= ends[1] + SLACK)


def stage_for(stage: Stage, values: Values | None) -> Stage:
    """A copy of a stage whose perturbations of pixels see them in [0, 1]; the stage itself where they lie there."""
    replayer = stage.replayer
    if values is None or not replayer.perturbations:
        return stage
    fitted: Any = copy.copy(stage)
    fitted.replayer = replace(
        replayer, perturbations=tuple(_perturbation_for(part, values) for part in replayer.perturbations)
    )
    return fitted


def generator_for(generator: Generator | None, values: Values | None) -> Any:
    """A generator that learns and dreams samples of that range; the generator itself where it can, or cannot be."""
    if generator is None or values is None or generator.is_features or generator.bounds != UNIT:
        return generator
    # one that works with the learner shows it what it makes
    return generator if type(generator).attach is not Generator.attach else _UnitGenerator(generator, values)


def _perturbation_for(part: Perturbation, values: Values) -> Perturbation:
    clip = getattr(part, "clip", None)
    if part.space != "pixel" or clip is None or tuple(clip) != UNIT:
        return part
    return _UnitPerturbation(part, values)


class _UnitPerturbation:
    """A perturbation of pixels in [0, 1], for samples of another range."""

    space: Space = "pixel"

    def __init__(self, part: Any, values: Values):
        self.part = part
        self.values = values

    def scaled(self, strength: float) -> _UnitPerturbation:
        return _UnitPerturbation(scaled(self.part, strength), self.values)

    def __getattr__(self, name: str) -> Any:
        # whether there is such a method says whether a perturbation needs the learner
        if name == "bind_model" and hasattr(self.part, name):
            return self._bind_model
        raise AttributeError(name)

    def _bind_model(self, network: nn.Module) -> _UnitPerturbation:
        return _UnitPerturbation(self.part.bind_model(_Leaving(network, self.values)), self.values)

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        perturbed, p = self.part(self.values.enter(x), p, rng)
        return self.values.leave(perturbed), p


class _Leaving(nn.Module):
    """The learner, for samples in [0, 1]."""

    def __init__(self, network: nn.Module, values: Values):
        super().__init__()
        self.network = network
        self.values = values

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.network(self.values.leave(x))


class _UnitGenerator:
    """A generator of samples in [0, 1], for samples of another range; all else is the generator's own."""

    bounds = None

    def __init__(self, generator: Generator, values: Values):
        self.generator = generator
        self.values = values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("generator", "values"):
            raise AttributeError(name)  # of a copy that is being made
        return getattr(self.generator, name)

    def loss(
        self,
        x: Tensor,
        y: Tensor,
        rng: torch.Generator,
        past: Dream | None = None,
        experiences_seen: int | None = None,
    ) -> Tensor | None:
        """See :meth:`dreamer.generators.base.Generator.loss`."""
        past = None if past is None else past._replace(x=self.values.enter(past.x))
        return self.generator.loss(self.values.enter(x), y, rng, past, experiences_seen)

    def end_experience(self, day: Iterable[Batch], experience: int, rng: torch.Generator) -> None:
        """See :meth:`dreamer.generators.base.Generator.end_experience`."""
        entered = (batch._replace(x=self.values.enter(batch.x)) for batch in day)
        self.generator.end_experience(entered, experience, rng)

    def dream(self, y: Tensor, rng: torch.Generator, perturbations: Perturbations | None = None) -> Dream:
        """See :meth:`dreamer.generators.base.Generator.dream`."""
        given = () if perturbations is None else (perturbations,)
        dream = self.generator.dream(y, rng, *given)
        return dream._replace(x=self.values.leave(dream.x))

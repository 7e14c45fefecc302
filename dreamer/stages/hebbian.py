"""Hebbian sleep: the learner becomes a network of spiking neurons and learns from its own spikes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import above, at_least, fractions
from dreamer.core.sequences import nth_or_last
from dreamer.core.types import Change, Dream, Losses, SleepContext, Step
from dreamer.networks.base import copied
from dreamer.objectives import Objective
from dreamer.stages.replay import Replayer, Source

_STEEPNESS = 1000.0
_TRANSPARENT = (nn.Flatten, nn.Identity, nn.Dropout)


class Hebbian:
    """Sleep replay consolidation: no gradients, no labels, no teacher (Tadros, Krishnan, Ramyaa and Bazhenov 2022,
    Nature Communications 13:7742, doi 10.1038/s41467-022-34938-7; official code: tmtadros/SleepReplayConsolidation,
    ``sleep/sleepnn_old.m``, ``utils/create_masked_input.m``, ``utils/normalize_nn_data.m``).

    Asleep, every ReLU is a neuron that adds up what arrives, loses a little of it in every tick of time, and spikes and
    empties when it reaches its threshold. The inputs spike at random, as often as the average of the replayed samples
    says, seen through a small window that jumps about. Whenever a neuron spikes, the weights from the inputs that
    spiked grow, and those from the silent ones shrink, each by an amount that is gated by ``2 sigmoid(-1000 w)``:
    weights that are clearly positive stay as they are, negative ones move.

    The learner must be a chain of ``nn.Linear`` and ``nn.ReLU``. Its biases, where it has any, take no part in sleep
    and stay as they are; the official network has none. Impulses are scaled layer by layer by the largest activation or
    weight (the data-based normalisation of Diehl et al. 2015, IJCNN), found with the same replayed samples. The
    official code takes the average and the scales from all training data of all classes seen, so it is not free of data
    either; here a memory or a generator gives them.

    Each optimiser step is an episode of its own that begins with empty neurons, so that a run can be killed between
    any two; in the official code a whole night is one such episode (``steps=1`` with all of its ticks).

    Args:
        steps: optimiser steps of the stage.
        ticks: simulated moments per step; a list gives one number for each night, the last for all further ones. The
            official nights have 15000, and 5000 more after each further experience.
        batch_size: samples replayed per step, for the average and the scales.
        source: ``memory``, ``generator``, ``both`` (half and half) or ``auto`` (whichever of them the run has). Samples
            are expected in [0, 1]; what is negative never spikes.
        rate: probability that an input of 1 spikes in a tick (official: ``2 * 0.001 * inp_rate``, 239.515363).
        thresholds: of each layer's neurons, first layer first, in scaled impulses; one number serves all layers
            (official: ``b1, b2, b3`` divided by ``alpha_scale``, 14.548273, 44.560317, 38.046326 and 55.882454). The
            official network has dropout that shrinks all in evaluation (``rescale="evaluation"`` of the
            :class:`dreamer.networks.MLP`), and sleeps with weights that are larger for it.
        increase: by how much a weight grows, before the gate (official ``inc``).
        decrease: by how much it shrinks (official ``dec``).
        decay: fraction of a neuron's charge that is left after a tick.
        window: side of the square of the last two dimensions of a sample (of one that is flat: the length of the
            stretch) through which the inputs are seen; None shows all. The official ``mask_size`` of 10 opens 11.

    All defaults but ``steps`` and ``batch_size`` are those of the official MNIST experiment
    (``MNIST/run_class_task_summary.m``).

    Raises:
        ValueError: when a count, a threshold or the window is not positive, a rate or change is negative, or ``decay``
            is not in [0, 1].
    """

    kind: Literal["nrem"] = "nrem"
    objectives: tuple[Objective, ...] = ()
    needs_teacher = False
    by_gradient = False
    from_scratch = False
    from_dawn = 0.0
    anneal = 1.0
    warmup = 0

    @checked
    def __init__(
        self,
        steps: int = 5,
        ticks: int | Sequence[int] = (3000, 4000, 5000, 6000, 7000),
        batch_size: int = 1000,
        source: Source = "auto",
        rate: float = 0.479031,
        thresholds: float | Sequence[float] = (0.260337, 0.797393, 0.680828),
        increase: float = 0.032064,
        decrease: float = 0.003344,
        decay: float = 0.999,
        window: int | None = 11,
    ):
        lengths = (ticks,) if isinstance(ticks, int) else tuple(ticks)
        limits = (float(thresholds),) if isinstance(thresholds, int | float) else tuple(map(float, thresholds))
        at_least(1, steps=steps, ticks=min(lengths, default=0), batch_size=batch_size, window=window)
        at_least(0, rate=rate, increase=increase, decrease=decrease)
        above(0, thresholds=min(limits, default=0.0))
        fractions(decay=decay)
        if source == "day":
            raise ValueError("hebbian: source='day' replays the real samples of a wake step; a night has none")
        self.steps = steps
        self.ticks = lengths
        self.batch_size = batch_size
        self.replayer = Replayer(source, (), "both", teacher_sees_perturbed=False)
        self.rate = rate
        self.thresholds = limits
        self.rule = Rule(increase, decrease, decay)
        self.window = window

    def lr_scale_at(self, experience: int) -> float:
        """The factor of the learning rate, which changes of weights without gradients do not have."""
        return 1.0

    def stride(self, context: SleepContext) -> int:
        """Steps whose samples are drawn at once: one, for its thousands of ticks cost far more than the drawing."""
        return 1

    def dream(self, context: SleepContext, steps: int, rng: torch.Generator) -> Dream:
        """The samples of the next ``steps`` steps, of all classes seen so far."""
        return self.replayer(context, context.seen_classes, steps * self.batch_size, rng)

    def teach(self, context: SleepContext, dream: Dream) -> Dream:
        """The samples as they are: no teacher takes part."""
        return dream

    @torch.no_grad()
    def losses(self, context: SleepContext, step: Step, rng: torch.Generator) -> Losses:
        """Simulate one episode and return by how much it would change the weights; the learner itself stays as it is.

        Raises:
            ValueError: when the learner is no chain of linear layers and ReLUs, or when its features are replayed.
        """
        assert step.dream is not None
        if step.dream.is_features:
            raise ValueError("hebbian: expected samples to replay, but what is replayed are features of the learner")
        layers = self.layers(context.network)
        # sleep is simulated in full precision, whatever the learner is trained in
        x = step.dream.x.to(torch.promote_types(layers[0].weight.dtype, torch.float32))
        ticks = nth_or_last(self.ticks, context.night)
        with torch.autocast(x.device.type, enabled=False):
            neurons = self._neurons(layers, gains(context.network, layers, x), x)
            inputs = noise(self.rate * x.mean(dim=0), self.window, ticks, rng)
            spiked = torch.stack([tick(neurons, spikes, self.rule) for spikes in inputs])
        changes = tuple(
            Change(layer.weight, group.weight.to(layer.weight.dtype) - layer.weight)
            for layer, group in zip(layers, neurons, strict=True)
            if layer.weight.requires_grad
        )
        return Losses(None, {"spikes": spiked.mean()}, changes=changes)

    def check(self, network: nn.Module) -> None:
        """Raise a ValueError when a learner cannot sleep this way (see :meth:`layers`)."""
        self.layers(network)

    def layers(self, network: nn.Module) -> list[nn.Linear]:
        """The linear layers of a learner that can sleep this way, in order; a ``ValueError`` when it cannot."""
        found = linear_layers(network)
        if len(self.thresholds) not in (1, len(found)):
            raise ValueError(
                f"hebbian: expected one threshold, or one for each of the {len(found)} linear layers of "
                f"{type(network).__name__}, got {len(self.thresholds)}"
            )
        return found

    def _neurons(self, layers: Sequence[nn.Linear], factors: Sequence[float], x: Tensor) -> list[Neurons]:
        limits = self.thresholds * len(layers) if len(self.thresholds) == 1 else self.thresholds
        return [
            Neurons(layer.weight.to(x.dtype, copy=True), x.new_zeros(layer.out_features), factor, limit)
            for layer, factor, limit in zip(layers, factors, limits, strict=True)
        ]


@dataclass(frozen=True)
class Rule:
    """How neurons leak and learn; see :class:`Hebbian`."""

    increase: float
    decrease: float
    decay: float


@dataclass(frozen=True)
class Neurons:
    """A layer asleep. Its tensors are its own and change with every tick.

    Attributes:
        weight: (O, I).
        charge: (O,).
        gain: factor of the impulses that arrive.
        threshold: charge at which a neuron spikes.
    """

    weight: Tensor
    charge: Tensor
    gain: float
    threshold: float

    def tick(self, before: Tensor, rule: Rule) -> Tensor:
        """Simulate one moment.

        Args:
            before: (I,) float, 1 where the layer before has just spiked, 0 elsewhere.

        Returns:
            (O,) float, the layer's own spikes.
        """
        self.charge.mul_(rule.decay)
        arrived = before.nonzero().flatten()
        if len(arrived):
            self.charge.add_(self.weight[:, arrived].sum(dim=1), alpha=self.gain)
        spikes = self.charge >= self.threshold
        fired = spikes.nonzero().flatten()
        if len(fired):
            self.charge[fired] = 0
            rows = self.weight[fired]
            towards = before * (rule.increase + rule.decrease) - rule.decrease
            self.weight[fired] = rows + towards * 2 * torch.sigmoid(-_STEEPNESS * rows)
        return spikes.to(before.dtype)


def tick(neurons: Sequence[Neurons], spikes: Tensor, rule: Rule) -> Tensor:
    """Let one moment pass through all layers, each of which learns before the next one gets its spikes.

    Args:
        spikes: (I,) float, 1 where an input spikes, 0 elsewhere.

    Returns:
        Scalar, how many neurons have spiked.
    """
    count = spikes.new_zeros(())
    for group in neurons:
        spikes = group.tick(spikes, rule)
        count += spikes.sum()
    return count


def noise(chance: Tensor, window: int | None, ticks: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Random spikes of the inputs, seen through a window that stands elsewhere in every tick.

    Args:
        chance: (*S) probabilities.
        window: its side, in the last two dimensions (or the only one); None shows all.

    Yields:
        (I,) float, ones and zeros; I is the product of *S.
    """
    sizes = chance.shape[-2:]
    sides = [size if window is None else min(window, size) for size in sizes]
    corners = [
        torch.randint(size - side + 1, (ticks,), generator=rng, device=rng.device).tolist()
        for size, side in zip(sizes, sides, strict=True)
    ]
    for corner in zip(*corners, strict=True):
        place: tuple[Any, ...] = (..., *(slice(first, first + side) for first, side in zip(corner, sides, strict=True)))
        seen = chance[place]
        spikes = torch.zeros_like(chance)
        spikes[place] = (torch.rand(seen.shape, generator=rng, device=rng.device) < seen).to(chance.dtype)
        yield spikes.flatten()


@torch.no_grad()
def gains(network: nn.Module, layers: Sequence[nn.Linear], x: Tensor) -> list[float]:
    """One over each layer's largest activation or weight, relative to the layer before (Diehl et al. 2015).

    Args:
        network: the learner; a copy is called, in evaluation mode, to see whether its layers really follow each
            other.
        x: (B, *S) samples.

    Raises:
        ValueError: when the learner's output is not that of its layers in a row.
    """
    learner = copied(network).to(x.dtype).eval()
    arrived, h = [], x.flatten(1)
    for _, part in _leaves(learner):
        if isinstance(part, nn.Linear):
            if h.shape[1] != part.in_features:
                raise ValueError(
                    _other(network, f"a layer of {part.in_features} inputs follows one of {h.shape[1]} outputs")
                )
            arrived.append(h)
        h = part(h)
    output = learner(x)
    tolerance = 1e-3 * float(h.abs().max())
    rectified = functional.relu(h)
    if not any(output.shape == own.shape and float((output - own).abs().max()) <= tolerance for own in (h, rectified)):
        raise ValueError(_other(network, "its output is not that of its linear layers in a row"))
    factors, before = [], 1.0
    for layer, left in zip(layers, [*arrived[1:], rectified], strict=True):
        # a layer that is silent on all samples keeps a finite gain
        factor = max(float(left.max()), float(layer.weight.max()), 1e-6) / before
        factors.append(1 / factor)
        before = factor
    return factors


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The linear layers of a network of these and ReLUs alone; a ``ValueError`` names the layer that does not fit."""
    layers: list[nn.Linear] = []
    rectified = True
    for path, module in _leaves(network):
        if isinstance(module, nn.Linear):
            if not rectified:
                raise ValueError(_other(network, f"its linear layer {path!r} has no nn.ReLU before it"))
            layers.append(module)
            rectified = False
        elif isinstance(module, nn.ReLU):
            rectified = True
        elif not isinstance(module, _TRANSPARENT):
            raise ValueError(_other(network, f"its layer {path!r} is {type(module).__name__}"))
    if not layers:
        raise ValueError(_other(network, "it has no linear layer"))
    return layers


def _leaves(network: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(path, module) for path, module in network.named_modules() if not any(True for _ in module.children())]


def _other(network: nn.Module, why: str) -> str:
    name = type(network).__name__
    return f"hebbian: expected a learner of nn.Linear layers with nn.ReLU between them, got {name}: {why}"

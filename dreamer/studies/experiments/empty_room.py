"""The empty room: a short wake stage of real data, then nights without new data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from dreamer.config import merge
from dreamer.core.limits import at_least
from dreamer.core.randomness import Purpose, randoms
from dreamer.metrics.calibration import calibration_error
from dreamer.networks.base import featured
from dreamer.perturbations import Affine, Noise, Occlusion, Perturbation
from dreamer.runs.run import quiet_lightning
from dreamer.runs.run_config import run_config
from dreamer.streams.base import Experience, Samples, Stream
from dreamer.studies.experiments.base import CellResult, Experiment, Measure
from dreamer.studies.experiments.real_data import HeldOut
from dreamer.studies.experiments.runs import train
from dreamer.studies.learner import predict, probe
from dreamer.training.module import WakeSleepModule

Rest = Literal["nothing", "awake", "asleep"]

PERTURBED: dict[str, Perturbation] = {
    "occluded": Occlusion(rate=0.6, tile=4),
    "noisy": Noise(std=0.8),
    "rotated": Affine(degrees=45.0, shift=0.0, zoom=0.0, shear=0.0),
}
"""Perturbations of test samples, each by an amount of its own, uniform from none to this."""


@dataclass(eq=False)
class EmptyRoom(Experiment):
    """A learner is trained on one experience of few samples, the day, and then sees nothing new.

    What fills the time after the day is the arm: nothing, the same day again, or nights. Whatever it is, it takes the
    same number of optimiser steps. Accuracy is measured on held-out real samples, after the day and after every
    night's worth of steps. There is no wake stage between the nights, so they are cycles of one long night: the
    generator is trained during the day alone, and the teacher of all nights is the only dusk teacher.

    Args:
        config: a configuration, as ``dreamer run`` takes it: network, generator, memory, wake, night. Its stream is
            read as one experience, its network first, so that arms begin with the same weights.
        per_class: samples of each class of the day, drawn by the seed.
        unseen: classes, drawn by the seed, that the day does not have; features are probed with them at the end.
        shots: samples of each unseen class that the probe learns from.
        day: optimiser steps of the day.
        nights: nights after it.
        night: optimiser steps of each; those of its stages together.
        rest: what fills the time after the day: ``nothing``, ``awake`` the day's samples again, or ``asleep``.
        evaluate: real data to evaluate on: ``test``, or held-out ``validation`` data while settings are being chosen.

    Raises:
        ValueError: when a count is below its least, or stages and ``night`` differ.
    """

    measures = {
        "accuracy": Measure("accuracy", "larger", fraction=True, hint="Of the learner, on real test samples."),
        "gain": Measure("gain since the day", "larger", fraction=True, hint="Accuracy at the end minus after the day."),
        "occluded": Measure(
            "accuracy under occlusion", "larger", fraction=True, hint="Up to 60 % of tiles are missing."
        ),
        "noisy": Measure("accuracy under noise", "larger", fraction=True, hint="Of a standard deviation of up to 0.8."),
        "rotated": Measure("accuracy under rotation", "larger", fraction=True, hint="By up to 45 degrees either way."),
        "calibration": Measure(
            "calibration error", "smaller", fraction=True, hint="How far confidence lies from accuracy, in 15 bins."
        ),
        "probe": Measure(
            "probe on unseen classes",
            "larger",
            fraction=True,
            hint="Accuracy of a linear classifier on the learner's features, trained on few samples of classes that "
            "the day did not have.",
        ),
    }
    axis = "night"

    config: Mapping[str, Any]
    per_class: int = 100
    unseen: int = 2
    shots: int = 10
    day: int = 500
    nights: int = 10
    night: int = 100
    rest: Rest = "asleep"
    evaluate: HeldOut = "test"

    def __post_init__(self) -> None:
        at_least(1, per_class=self.per_class, shots=self.shots, day=self.day, nights=self.nights, night=self.night)
        at_least(0, unseen=self.unseen)
        stages = [stage.options for stage in run_config(self._plain(0)).module.options["night"]]
        steps = sum(stage["steps"] for stage in stages)
        if self.rest == "asleep" and steps != self.night:
            raise ValueError(f"expected stages of {self.night} steps together, as night says, got {steps}")

    def run(self, seed: int, folder: Path) -> CellResult:
        """Train on the day and what follows it; evaluate the learner on the way and at the end."""
        quiet_lightning()
        plan = run_config(self._plain(seed))
        whole = plan.stream.build().experiences[0]
        room, unseen = self._room(whole, seed)
        torch.manual_seed(seed)
        module: WakeSleepModule = plan.build_module(room)
        tested = room.experiences[0].test
        watch = _Watch(tested, [self.day + number * self.night for number in range(self.nights + 1)])
        # this experiment evaluates by itself
        train(module, room, [watch], evaluations=False)
        # where nothing follows the day, nothing changes
        accuracy = watch.found + watch.found[-1:] * (self.nights + 1 - len(watch.found))
        network = module.network.eval()
        logits, y = predict(network, tested)
        outcomes: dict[str, float | None] = {
            "accuracy": accuracy[-1],
            "gain": accuracy[-1] - accuracy[0],
            "calibration": calibration_error(logits, y),
            "probe": probe(featured(network).features, *unseen) if self.unseen > 1 else None,
        }
        for number, (name, perturbation) in enumerate(PERTURBED.items()):
            rng = randoms(seed, Purpose.EVALUATION, number)
            perturbed, _ = predict(network, tested, perturbation, rng)
            outcomes[name] = _accuracy(perturbed, y)
        return {
            "outcomes": outcomes,
            "curves": {self.axis: [float(night) for night in range(self.nights + 1)], "accuracy": [*accuracy]},
        }

    def _plain(self, seed: int) -> dict[str, Any]:
        """The configuration of the run with the times of this experiment."""
        later = self.nights * self.night
        steps = self.day + later * (self.rest == "awake")
        times: dict[str, Any] = {"seed": seed, "wake": {"steps": steps}, "cycles": self.nights}
        if self.rest != "asleep":
            times["night"] = []
        return merge(dict(self.config), times)

    def _room(self, whole: Experience, seed: int) -> tuple[Stream, tuple[Samples, Samples]]:
        """The day as a stream of one experience, and what the probe learns from and is evaluated on."""
        classes = torch.tensor(whole.classes)[
            torch.randperm(len(whole.classes), generator=randoms(seed, Purpose.SPLIT))
        ]
        held = whole.test if self.evaluate == "test" else whole.validation
        if held is None:
            raise ValueError("config.stream.validation: nothing is held out to evaluate on")
        seen, unseen = classes[self.unseen :], classes[: self.unseen]
        if len(seen) < 2:
            raise ValueError(
                f"expected at least two classes for the day, got {len(seen)} beside {self.unseen} unseen ones"
            )
        day, tested = _few(whole.train, seen, self.per_class, seed), _of(held, seen)
        names = tuple(str(label) for label in range(int(classes.max()) + 1))
        experience = Experience(0, tuple(sorted(seen.tolist())), day, tested)
        room = Stream("empty room", (experience,), len(names), day.sample_shape, class_names=names)
        return room, (_few(whole.train, unseen, self.shots, seed), _of(held, unseen))


class _Watch(pl.Callback):
    """Evaluates the learner at certain steps, and changes nothing."""

    def __init__(self, tested: Samples, at: list[int]):
        self.tested = tested
        self.at = at
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule, *_: Any) -> None:  # type: ignore[override]
        if trainer.global_step in self.at[len(self.found) : len(self.found) + 1]:
            self.found.append(_accuracy(*predict(pl_module.network, self.tested)))


def _few(samples: Samples, classes: Tensor, each: int, seed: int) -> Samples:
    """So many samples of each class; a ``ValueError`` when one has fewer."""
    chosen = []
    for label in sorted(classes.tolist()):
        members = (samples.y.cpu() == label).nonzero().flatten()
        if len(members) < each:
            raise ValueError(f"expected {each} samples of class {label}, got {len(members)}")
        chosen.append(members[torch.randperm(len(members), generator=randoms(seed, Purpose.SPLIT, 1, label))[:each]])
    return samples.subset(torch.cat(chosen) if chosen else torch.empty(0, dtype=torch.int64))


def _of(samples: Samples, classes: Tensor) -> Samples:
    return samples.subset(torch.isin(samples.y.cpu(), classes).nonzero().flatten())


def _accuracy(logits: Tensor, y: Tensor) -> float:
    return float((logits.argmax(dim=1) == y).float().mean())

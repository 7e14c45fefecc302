"""Nights without boundaries: data-driven schedules decide when to sleep; the learner gets no task boundaries.

    python examples/task_free.py

Two digits come at a time, five times, and never again. No part uses these boundaries: a reservoir keeps any sample,
`Drift` sleeps when the loss has risen for good, `SleepPressure` when enough has been learnt. Expect:

    no night:      nights 0, average accuracy < 0.4
    Drift:         nights > 3, average accuracy > 0.7
    SleepPressure: nights > 3, average accuracy > 0.7
    Drift slept within 10 steps of each change: True
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from dreamer import REM, Hypnogram, StreamDataModule, Wake, WakeSleepModule
from dreamer.memory import Reservoir
from dreamer.networks import MLP
from dreamer.objectives import CrossEntropy
from dreamer.perturbations import Affine
from dreamer.schedules import Drift, Schedule, SleepPressure
from dreamer.streams import digits

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def train(name: str, schedule: Schedule | None = None) -> Hypnogram:
    torch.manual_seed(0)
    stream = digits(experiences=5)
    # labels alone: a dawn teacher would be a copy from before the experience, which is not known here
    night = [REM(steps=40, objectives=[CrossEntropy()], perturbations=[Affine()])]
    module = WakeSleepModule(
        MLP(stream.sample_shape, stream.num_classes, hidden=[200, 200]),
        Wake(steps=100, batch_size=16),
        night=[] if schedule is None else night,
        memory=Reservoir(capacity=200, store="uint8"),
        schedule=schedule,
    )
    trainer = pl.Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(module, datamodule=StreamDataModule(stream))
    nights = sum(stage.kind == "rem" for stage in module.hypnogram)
    print(f"{name:<14} nights {nights}, average accuracy {module.results()['metrics']['average_accuracy']:.3f}")
    return module.hypnogram


if __name__ == "__main__":
    watch = {"check_every": 10, "least": 30, "most": None}
    train("no night:")
    stages = list(train("Drift:", Drift(warmup=10, **watch)))
    train("SleepPressure:", SleepPressure(capacity=20, **watch))

    # a stage between two checks is ten steps long; the final hypnogram shows where the nights came
    changes = [i for i, stage in enumerate(stages) if stage.experience > 0 and stage.kind == "wake" and stage.opens]
    print(f"Drift slept within 10 steps of each change: {all(stages[i + 1].kind == 'rem' for i in changes)}")

"""One run on several devices: the Trainer's `devices` and `strategy`, and nothing else.

    python examples/several_devices.py          # two GPUs where there are two, else two processes on the CPU
    torchrun --nproc-per-node 2 examples/several_devices.py

Every process sees its part of each experience and keeps its part of the memory; gradients are averaged, so there is one
learner. Expect:

    2 processes
    steps of the first wake stage: 40 in each, 72 on one device
    the same weights in both: True
    average accuracy > 0.75
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from dreamer import NREM, REM, StreamDataModule, Wake, WakeSleepModule
from dreamer.memory import ClassBalanced
from dreamer.networks import MLP
from dreamer.perturbations import Affine
from dreamer.streams import digits

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


class SameWeights(pl.Callback):
    """Checks at the end whether all processes have the same learner."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:
        flat = torch.cat([weight.detach().flatten() for weight in pl_module.network.parameters()])
        copies = pl_module.all_gather(flat)
        if trainer.is_global_zero:
            print(f"the same weights in both: {torch.equal(copies[0], copies[1])}")


if __name__ == "__main__":
    torch.manual_seed(0)
    stream = digits(experiences=5)
    module = WakeSleepModule(
        MLP(stream.sample_shape, stream.num_classes),
        Wake(epochs=8, batch_size=32, replay=32),
        night=[NREM(steps=20, batch_size=64), REM(steps=40, batch_size=64, perturbations=[Affine()])],
        memory=ClassBalanced(capacity=200, store="uint8"),
    )
    trainer = pl.Trainer(
        accelerator="gpu" if torch.cuda.device_count() > 1 else "cpu",
        devices=2,
        strategy="ddp",
        max_epochs=-1,
        callbacks=[SameWeights()],
        logger=False,
        enable_checkpointing=False,
        **QUIET,
    )
    trainer.fit(module, datamodule=StreamDataModule(stream))
    if trainer.is_global_zero:
        print(f"{trainer.world_size} processes")
        one_device = module.plan(stream)[0].steps
        print(f"steps of the first wake stage: {module.hypnogram[0].steps} in each, {one_device} on one device")
        print(f"average accuracy {module.results()['metrics']['average_accuracy']:.3f}")

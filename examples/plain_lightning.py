"""What `dreamer run digits` does, a little shorter, as a plain Lightning script: your network, your Trainer.

    python examples/plain_lightning.py            # the embedded digits
    python examples/plain_lightning.py DATA       # split MNIST; DATA is a folder that holds MNIST/raw

Expect the accuracy over all ten classes at the end of the stream. Without sleep only the last two are still recognised,
which is a fifth; with dreams, and without a stored image, nearly all are:

    without sleep: average accuracy < 0.25
    with dreams:   average accuracy > 0.85
"""

from __future__ import annotations

import sys

import pytorch_lightning as pl
import torch
from torch import nn

from dreamer import NREM, REM, Stream, StreamDataModule, Wake, WakeSleepModule
from dreamer.generators import ClassConditionalVAE
from dreamer.perturbations import Affine, LatentMixing
from dreamer.streams import registry as streams

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


class Network(nn.Module):
    """Any module that maps samples to one logit per class."""

    def __init__(self, pixels: int, classes: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def train(stream: Stream, sleep: bool) -> float:
    pl.seed_everything(1, verbose=False)
    shape, classes = stream.sample_shape, stream.num_classes
    network = Network(torch.Size(shape).numel(), classes)
    if sleep:
        module = WakeSleepModule(
            network,
            Wake(steps=150, batch_size=64, replay=64, replay_perturbations=[Affine()]),
            night=[NREM(steps=50), REM(steps=100, perturbations=[LatentMixing(), Affine()])],
            generator=ClassConditionalVAE(shape, classes, latent_dim=16, hidden=[200]),
        )
    else:
        module = WakeSleepModule(network, Wake(steps=150, batch_size=64))
    trainer = pl.Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(module, datamodule=StreamDataModule(stream))
    return module.results()["metrics"]["average_accuracy"]


if __name__ == "__main__":
    stream = streams.build("split_mnist", root=sys.argv[1]) if len(sys.argv) > 1 else streams.build("digits")
    print(f"without sleep: average accuracy {train(stream, sleep=False):.3f}")
    print(f"with dreams:   average accuracy {train(stream, sleep=True):.3f}")

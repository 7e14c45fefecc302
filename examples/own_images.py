"""Your own folder of pictures, one sub-folder per class, as a stream; here it is filled with the embedded digits.

    python examples/own_images.py

On the command line it is `dreamer run folder data.root=FOLDER`. Pictures of any size and mode will do, and parts named
`train` and `test` are found. Expect the classes to be named after their folders, and most of them still recognised:

    found 10 classes, the first called digit 0
    samples of shape (1, 8, 8), 1438 for training and 359 for testing
    average accuracy > 0.8
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image
from sklearn.datasets import load_digits

from dreamer import NREM, REM, StreamDataModule, Wake, WakeSleepModule
from dreamer.memory import ClassBalanced
from dreamer.networks import MLP
from dreamer.perturbations import Affine, Noise
from dreamer.streams import folder

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def fill(root: Path) -> None:
    """Write `root/digit 7/0012.png` and so on."""
    bunch = load_digits()
    for number, (pixels, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        place = root / f"digit {label}"
        place.mkdir(exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype("uint8")).save(place / f"{number:04}.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as root:
        fill(Path(root))
        stream = folder(root, experiences=5, size=8, validation=0)

    train, test = (sum(len(getattr(each, part)) for each in stream.experiences) for part in ("train", "test"))
    print(f"found {stream.num_classes} classes, the first called {stream.class_names[0]}")
    print(f"samples of shape {stream.sample_shape}, {train} for training and {test} for testing")

    torch.manual_seed(0)
    module = WakeSleepModule(
        MLP(stream.sample_shape, stream.num_classes),
        Wake(epochs=8, batch_size=32, replay=32),
        night=[NREM(steps=30), REM(steps=50, perturbations=[Affine(), Noise()])],
        memory=ClassBalanced(capacity=200, store="uint8"),
    )
    trainer = pl.Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(module, datamodule=StreamDataModule(stream))
    print(f"average accuracy {module.results()['metrics']['average_accuracy']:.3f}")

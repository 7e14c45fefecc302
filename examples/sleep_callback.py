"""Nights for a Lightning script of your own, whose classes change between epochs, by one line: `SleepCallback()`.

    python examples/sleep_callback.py

Module and data are not changed for it. Every epoch brings two digits and never again those before. Without nights only
the last two are recognised at the end; with them, replayed from 200 images after every epoch but the first, most are.
Expect the accuracy over all ten digits, on images that were held out, and the steps that Lightning counted:

    without nights: accuracy < 0.4 after 227 steps
    with nights:    accuracy > 0.8 after 1027 steps
"""

from __future__ import annotations

import pytorch_lightning as pl  # or: import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from dreamer import SleepCallback

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


class Digits(pl.LightningDataModule):
    """Epoch 0 has the digits 0 and 1, epoch 1 has 2 and 3, and so on; every fifth image is held out."""

    def __init__(self) -> None:
        super().__init__()
        bunch = load_digits()
        x, y = torch.tensor(bunch.images, dtype=torch.float32) / 16, torch.tensor(bunch.target)
        held = torch.arange(len(y)) % 5 == 0
        self.train, self.test = (x[~held], y[~held]), (x[held], y[held])

    def train_dataloader(self) -> DataLoader:
        x, y = self.train
        new = y // 2 == self.trainer.current_epoch
        five_times = TensorDataset(x[new].repeat(5, 1, 1), y[new].repeat(5))
        return DataLoader(five_times, batch_size=32, shuffle=True)


class Classifier(pl.LightningModule):
    """A plain classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        x, y = batch
        return functional.cross_entropy(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def train(callbacks: list[pl.Callback]) -> str:
    pl.seed_everything(1, verbose=False)
    data, module = Digits(), Classifier()
    # the script's own: its loader is another one every epoch
    epochs = {"max_epochs": 5, "reload_dataloaders_every_n_epochs": 1}
    trainer = pl.Trainer(accelerator="cpu", callbacks=callbacks, gradient_clip_val=1.0, **epochs, **QUIET)
    trainer.fit(module, datamodule=data)
    x, y = data.test
    accuracy = (module(x).argmax(dim=1) == y).float().mean()
    return f"accuracy {accuracy:.3f} after {trainer.global_step} steps"


if __name__ == "__main__":
    print("without nights:", train([]))
    print("with nights:   ", train([SleepCallback()]))

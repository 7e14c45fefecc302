"""A ResNet on images in one cycle of the learning rate, after Lightning's CIFAR-10 baseline; a quarter as wide."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor

BATCH_SIZE = 64


def images():
    """The digits as colour images, normalised by CIFAR-10's means and deviations."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8).expand(-1, 3, -1, -1)
    mean = torch.tensor([125.3, 123.0, 113.9]).view(3, 1, 1) / 255
    std = torch.tensor([63.0, 62.1, 66.7]).view(3, 1, 1) / 255
    return (x - mean) / std, torch.tensor(y)


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.short = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.short(x))


class LitResnet(LightningModule):
    def __init__(self, lr=0.05):
        super().__init__()
        self.save_hyperparameters()
        self.model = nn.Sequential(
            Block(3, 16, 1), Block(16, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
        )

    def forward(self, x):
        return F.log_softmax(self.model(x), dim=1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.nll_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9, weight_decay=5e-4)
        steps = 2 * (640 // BATCH_SIZE)
        scheduler = {"scheduler": OneCycleLR(optimizer, 0.1, total_steps=steps), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


seed_everything(7)
x, y = images()
train = DataLoader(TensorDataset(x[:640], y[:640]), batch_size=BATCH_SIZE, shuffle=True)
val = DataLoader(TensorDataset(x[640:896], y[640:896]), batch_size=BATCH_SIZE)
trainer = Trainer(
    max_epochs=2,
    accelerator="cpu",
    enable_progress_bar=False,
    enable_checkpointing=False,
    callbacks=[LearningRateMonitor(logging_interval="step")],
)
trainer.fit(LitResnet(), train, val)

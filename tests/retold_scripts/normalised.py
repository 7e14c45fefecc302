"""A convolutional network on normalised images, after the UvA tutorial on image classifiers."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

pl.seed_everything(42)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)
x = (x - x.mean()) / x.std()
train_loader = DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True, drop_last=True)
val_loader = DataLoader(TensorDataset(x[512:768], y[512:768]), batch_size=64)


class CIFARModule(pl.LightningModule):
    def __init__(self, model_hparams, optimizer_hparams):
        super().__init__()
        self.save_hyperparameters()
        width = model_hparams["width"]
        self.model = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * width, 10)
        )
        self.loss_module = nn.CrossEntropyLoss()
        self.example_input_array = torch.zeros((1, 1, 8, 8), dtype=torch.float32)

    def forward(self, imgs):
        return self.model(imgs)

    def configure_optimizers(self):
        optimizer = optim.AdamW(self.parameters(), **self.hparams.optimizer_hparams)
        return [optimizer], [optim.lr_scheduler.MultiStepLR(optimizer, milestones=[100, 150], gamma=0.1)]

    def training_step(self, batch, batch_idx):
        imgs, labels = batch
        preds = self.model(imgs)
        loss = self.loss_module(preds, labels)
        self.log("train_acc", (preds.argmax(dim=-1) == labels).float().mean(), on_step=False, on_epoch=True)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        imgs, labels = batch
        self.log("val_acc", (self.model(imgs).argmax(dim=-1) == labels).float().mean())


trainer = pl.Trainer(
    accelerator="cpu",
    max_epochs=2,
    enable_progress_bar=False,
    callbacks=[
        ModelCheckpoint(save_weights_only=True, mode="max", monitor="val_acc"),
        LearningRateMonitor("epoch"),
    ],
)
model = CIFARModule({"width": 8}, {"lr": 1e-2, "weight_decay": 1e-4})
trainer.fit(model, train_loader, val_loader)

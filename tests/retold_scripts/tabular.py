"""A network on the iris flowers with early stopping and a best checkpoint."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

pl.seed_everything(1)
X, y = load_iris(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, stratify=y, random_state=1)
scaler = StandardScaler().fit(X_train)


def loader(features, labels, shuffle):
    features = torch.tensor(scaler.transform(features), dtype=torch.float32)
    return DataLoader(TensorDataset(features, torch.tensor(labels)), batch_size=16, shuffle=shuffle)


class IrisClassifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", self.loss(self(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


trainer = pl.Trainer(
    max_epochs=3,
    accelerator="cpu",
    enable_progress_bar=False,
    callbacks=[EarlyStopping("val_loss", patience=5), ModelCheckpoint(monitor="val_loss")],
)
trainer.fit(IrisClassifier(), loader(X_train, y_train, True), loader(X_val, y_val, False))

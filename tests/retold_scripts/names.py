"""A recurrent network that tells languages by their surnames, after PyTorch's tutorial; batches are padded."""

import lightning as L
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

ENDINGS = {"it": ["ini", "etti", "ello"], "ru": ["ovsky", "enko", "ov"], "de": ["mann", "er", "stein"]}
STEMS = ["ab", "bor", "carl", "dem", "fer", "gross", "hil", "kam", "lind", "mar", "ros", "sal", "tol", "win"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
data = [
    (torch.tensor([1 + LETTERS.index(c) for c in stem + ending]), label)
    for label, endings in enumerate(ENDINGS.values())
    for ending in endings
    for stem in STEMS
]


def collate(batch):
    names, labels = zip(*batch)
    return pad_sequence(names, batch_first=True), torch.tensor(labels)


class CharRNN(L.LightningModule):
    def __init__(self, hidden=32):
        super().__init__()
        self.embed = nn.Embedding(27, 16, padding_idx=0)
        self.rnn = nn.GRU(16, hidden, batch_first=True)
        self.out = nn.Linear(hidden, len(ENDINGS))

    def forward(self, names):
        output, _ = self.rnn(self.embed(names))
        return self.out(output.max(dim=1).values)

    def training_step(self, batch, batch_idx):
        names, labels = batch
        loss = nn.functional.cross_entropy(self(names), labels)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.15)


L.seed_everything(3)
trainer = L.Trainer(max_epochs=2, accelerator="cpu", enable_progress_bar=False, logger=False)
trainer.fit(CharRNN(), DataLoader(data, batch_size=16, shuffle=True, collate_fn=collate))

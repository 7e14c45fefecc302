"""A Transformer for two classes of sentences, after Lightning's tutorial on GLUE; tiny, and from scratch."""

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup

import lightning as L


class Sentences(Dataset):
    """Sentences of made-up tokens: those of class 1 hold more large numbers."""

    def __init__(self, count, seed):
        rng = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) % 2
        self.lengths = torch.randint(5, 17, (count,), generator=rng)
        self.tokens = torch.randint(3, 30, (count, 16), generator=rng) + 25 * self.labels[:, None]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        mask = (torch.arange(16) < self.lengths[i]).long()
        return {"input_ids": self.tokens[i] * mask, "attention_mask": mask, "labels": self.labels[i]}


class GLUETransformer(L.LightningModule):
    def __init__(self, learning_rate=5e-4, warmup_steps=4, weight_decay=0.01):
        super().__init__()
        self.save_hyperparameters()
        config = BertConfig(
            vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
        self.model = BertForSequenceClassification(config)

    def forward(self, **inputs):
        return self.model(**inputs)

    def training_step(self, batch, batch_idx):
        loss = self(**batch)[0]
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        loss, logits = self(**batch)[:2]
        self.log("val_loss", loss, prog_bar=True)
        self.log("accuracy", (logits.argmax(1) == batch["labels"]).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        no_decay = ["bias", "LayerNorm.weight"]
        named = list(self.model.named_parameters())
        groups = [
            {"params": [p for n, p in named if not any(nd in n for nd in no_decay)], "weight_decay": 0.01},
            {"params": [p for n, p in named if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.hparams.learning_rate)
        scheduler = get_linear_schedule_with_warmup(
            optimizer,
            num_warmup_steps=self.hparams.warmup_steps,
            num_training_steps=self.trainer.estimated_stepping_batches,
        )
        return [optimizer], [{"scheduler": scheduler, "interval": "step", "frequency": 1}]


L.seed_everything(42)
train, val = DataLoader(Sentences(96, 0), batch_size=16, shuffle=True), DataLoader(Sentences(32, 1), batch_size=16)
trainer = L.Trainer(
    max_epochs=2,
    accelerator="cpu",
    enable_progress_bar=False,
    logger=False,
)
trainer.fit(GLUETransformer(), train, val)

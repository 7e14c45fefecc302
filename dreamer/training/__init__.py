"""The cycle as a LightningModule and a LightningDataModule."""

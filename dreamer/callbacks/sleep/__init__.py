"""The nights of a LightningModule that is not ours: `SleepCallback` and its helpers."""

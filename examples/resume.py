"""A run that is stopped and resumed from its checkpoint ends with the same numbers as one that was never stopped.

    python examples/resume.py

Any checkpoint that Lightning writes will do, at any step; here the Trainer stops in the middle of a night. Expect:

    stopped at step 150 of 240, in rem
    equal accuracy matrices: True
    equal weights: True
"""

from __future__ import annotations

import tempfile

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from dreamer import NREM, REM, StreamDataModule, Wake, WakeSleepModule
from dreamer.generators import ClassConditionalVAE
from dreamer.networks import MLP
from dreamer.streams import digits


def new_module() -> WakeSleepModule:
    torch.manual_seed(0)
    return WakeSleepModule(
        MLP((1, 8, 8), 10, hidden=[100]),
        Wake(steps=40, batch_size=32, replay=32),
        night=[NREM(steps=20), REM(steps=20)],
        generator=ClassConditionalVAE((1, 8, 8), 10, latent_dim=8, hidden=[100]),
        seed=3,
    )


def trainer(folder: str, max_steps: int = -1) -> pl.Trainer:
    keep = ModelCheckpoint(folder, every_n_train_steps=10, save_top_k=0, save_last=True)
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(accelerator="cpu", max_epochs=-1, max_steps=max_steps, callbacks=[keep], **options)


if __name__ == "__main__":
    data = StreamDataModule(digits(experiences=3))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        whole = new_module()
        trainer(one).fit(whole, datamodule=data)

        stopped = new_module()
        trainer(other, max_steps=150).fit(stopped, datamodule=data)
        stage = stopped.hypnogram[stopped.ledger.stage]
        print(f"stopped at step {stopped.global_step} of {sum(stopped.hypnogram.steps().values())}, in {stage.kind}")

        resumed = new_module()
        trainer(other).fit(resumed, datamodule=data, ckpt_path="last")

    rows = [module.results()["accuracy_matrix"]["rows"] for module in (whole, resumed)]
    weights = [module.state_dict() for module in (whole, resumed)]
    print(f"equal accuracy matrices: {rows[0] == rows[1]}")
    print(f"equal weights: {all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])}")

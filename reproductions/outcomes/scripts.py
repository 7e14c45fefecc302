"""Cases that are a script of their own: the public names, a plain LightningModule, Avalanche."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from reproductions.outcomes.fingerprints import Outcome, divided, hashed, heap, of_checkpoint, of_results

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}


def resumed_script() -> Outcome:
    """Top-level names: stopped within a night by max_steps, saved at the fourth step of REM, resumed by ckpt_path."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    from dreamer import NREM, REM, StreamDataModule, Wake, WakeSleepModule
    from dreamer.generators import ClassConditionalVAE
    from dreamer.memory import Reservoir
    from dreamer.networks import MLP
    from dreamer.perturbations import LatentMixing
    from dreamer.plasticity import MovingAverage, SynapticIntelligence
    from dreamer.streams import digits

    def fit(**options: Any) -> Any:
        stream = digits(experiences=5, seed=3)
        torch.manual_seed(5)
        shape, classes = stream.sample_shape, stream.num_classes
        learner = WakeSleepModule(
            MLP(shape, classes, (50,), dropout=0.1),
            wake=Wake(steps=20, batch_size=32, replay=16),
            night=[
                NREM(steps=8, batch_size=32, anneal=0.1),
                REM(steps=12, batch_size=32, perturbations=[LatentMixing()]),
            ],
            memory=Reservoir(100, logits=True),
            generator=ClassConditionalVAE(shape, classes, latent_dim=8, hidden=(50,), components=2),
            plasticity=[SynapticIntelligence(), MovingAverage(rate=0.5)],
            seed=3,
        )
        start = options.pop("ckpt_path", None)
        saved = ModelCheckpoint("saved", every_n_train_steps=7, save_last=True, save_top_k=0)
        trainer = pl.Trainer(max_epochs=-1, callbacks=[saved], **options, **QUIET)
        data = StreamDataModule(stream)
        trainer.fit(learner, datamodule=data, ckpt_path=start)
        return learner, trainer, data

    def outcome(learner: WakeSleepModule, trainer: pl.Trainer) -> Outcome:
        trainer.save_checkpoint("end.ckpt")
        state = of_checkpoint(Path("end.ckpt"))
        return of_results(learner.results()) | state | divided(learner.state_dict())

    first, trainer, _ = fit(max_steps=2 * 40 + 20 + 8 + 5)
    stopped = outcome(first, trainer)
    assert of_checkpoint(Path("saved/last.ckpt"))["global_step"] == 112
    last, trainer, data = fit(ckpt_path="saved/last.ckpt")
    resumed = outcome(last, trainer)
    validated = [list(found.values()) for found in trainer.validate(last, datamodule=data, verbose=False)]
    tested = [list(found.values()) for found in trainer.test(last, datamodule=data, verbose=False)]
    shutil.rmtree("saved")
    uninterrupted, trainer, _ = fit()
    whole = outcome(uninterrupted, trainer)
    alike = [key for key in whole if whole[key] != resumed[key]] or "in all"
    return resumed | {"stopped": stopped, "validate": validated, "test": tested, "as_undisturbed": alike}


def sleep_callback(stop: int | None = None) -> Outcome:
    """A plain LightningModule; with ``stop`` the fit ends within a night and is resumed from its checkpoint."""
    from sklearn.datasets import load_digits

    from dreamer import NREM, REM, SleepCallback
    from dreamer.generators import ClassConditionalVAE
    from dreamer.memory import ClassBalanced
    from dreamer.perturbations import LatentMixing

    losses: list[float] = []

    class Digits(pl.LightningDataModule):
        def __init__(self) -> None:
            super().__init__()
            bunch = load_digits()
            x, y = torch.tensor(bunch.images, dtype=torch.float32) / 16, torch.tensor(bunch.target)
            held = torch.arange(len(y)) % 5 == 0
            self.learnt, self.tested = (x[~held], y[~held]), (x[held], y[held])

        def train_dataloader(self) -> DataLoader:
            x, y = self.learnt
            assert self.trainer is not None
            epoch = self.trainer.current_epoch
            now = y // 2 == epoch
            order = torch.Generator().manual_seed(epoch)
            return DataLoader(TensorDataset(x[now], y[now]), batch_size=16, shuffle=True, generator=order)

    class Classifier(pl.LightningModule):
        def __init__(self, tested: tuple[torch.Tensor, torch.Tensor]) -> None:
            super().__init__()
            self.tested = tested
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
            self.rows: list[list[float]] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            x, y = batch
            loss = functional.cross_entropy(self(x), y)
            losses.append(float(loss.detach()))
            return loss

        def on_train_epoch_end(self) -> None:
            x, y = self.tested
            right = self(x).argmax(dim=1) == y
            self.rows.append([float(right[y // 2 == index].float().mean()) for index in range(5)])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    def fit(max_steps: int = -1, start: str | None = None) -> Outcome:
        losses.clear()
        pl.seed_everything(1, verbose=False)
        memory = ClassBalanced(100)
        generator = ClassConditionalVAE((8, 8), 10, latent_dim=8, hidden=(50,), components=2)
        stages: list[NREM | REM] = [
            NREM(steps=10, batch_size=32),
            REM(steps=15, batch_size=32, perturbations=[LatentMixing()]),
        ]
        data = Digits()
        learner, sleep = Classifier(data.tested), SleepCallback(stages, memory, generator)
        trainer = pl.Trainer(
            max_epochs=5, max_steps=max_steps, callbacks=[sleep], reload_dataloaders_every_n_epochs=1, **QUIET
        )
        trainer.fit(learner, datamodule=data, ckpt_path=start, weights_only=False) if start else trainer.fit(
            learner, data
        )
        trainer.save_checkpoint("own.ckpt")
        days = sum(-(-int((data.learnt[1] // 2 == day).sum()) // 16) for day in range(5))
        nights, rest = divmod(trainer.global_step - days, 25)
        assert max_steps > 0 or (nights >= 2 and not rest), (trainer.global_step, days)
        saved = torch.load("own.ckpt", weights_only=False)
        return {
            "rows": learner.rows,
            "metrics": {"average_accuracy": sum(learner.rows[-1]) / 5 if learner.rows else None},
            "global_step": trainer.global_step,
            "nights": None if max_steps > 0 else nights,
            "weights": hashed(learner.state_dict()),
            "generator": hashed(generator.state_dict()),
            "optimizer": heap(saved["optimizer_states"]),
            "memory": heap(memory.state_dict()),
            "callback": heap(saved["callbacks"]),
            "losses": list(losses),
        }

    if stop is None:
        return fit()
    first = fit(max_steps=stop)
    os.replace("own.ckpt", "first.ckpt")
    last = fit(start="first.ckpt")
    whole = fit()
    # rows and losses are those of the second part alone
    for key in ("rows", "losses"):
        whole[key] = whole[key][-len(last[key]) :]
    return last | {"stopped": first, "as_undisturbed": [key for key in whole if whole[key] != last[key]] or "in all"}


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Avalanche prints and warns while it is imported and at work; its output is no outcome."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def dream_plugin() -> Outcome:
    """Naive of Avalanche with our memory, generator, awake replay and nights."""
    from sklearn.datasets import load_digits

    from dreamer import NREM, REM
    from dreamer.generators import ClassConditionalVAE
    from dreamer.interop.avalanche.plugin import DreamPlugin
    from dreamer.memory import ClassBalanced
    from dreamer.networks import MLP
    from dreamer.perturbations import Affine, LatentMixing

    with muted():
        from avalanche.benchmarks import nc_benchmark
        from avalanche.evaluation.metrics import accuracy_metrics
        from avalanche.training.plugins import EvaluationPlugin
        from avalanche.training.supervised import Naive
    shape, classes = (1, 8, 8), 10

    class Labelled(TensorDataset):
        def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
            super().__init__(x, y)
            self.targets = y.tolist()

    bunch = load_digits()
    x, y = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1), torch.from_numpy(bunch.target)
    tested = torch.arange(len(y)) % 5 == 0
    with muted():
        benchmark = nc_benchmark(
            Labelled(x[~tested], y[~tested]), Labelled(x[tested], y[tested]), n_experiences=5, task_labels=False, seed=4
        )
        torch.manual_seed(0)
        network = MLP(shape, classes, hidden=[100])
        memory = ClassBalanced(capacity=100, store="uint8")
        generator = ClassConditionalVAE(shape, classes, latent_dim=8, hidden=(50,), components=2)
        rem = REM(steps=15, batch_size=32, perturbations=[Affine(), LatentMixing()])
        plugin = DreamPlugin(
            memory=memory,
            generator=generator,
            wake_replay=16,
            night=[NREM(steps=10, batch_size=32, perturbations=[Affine()]), rem],
        )
        strategy = Naive(
            model=network,
            optimizer=torch.optim.Adam(network.parameters(), lr=1e-3),
            criterion=torch.nn.CrossEntropyLoss(),
            train_mb_size=32,
            train_epochs=2,
            eval_mb_size=256,
            plugins=[plugin],
            evaluator=EvaluationPlugin(accuracy_metrics(experience=True, stream=True), loggers=[]),
        )
        rows = []
        for experience in benchmark.train_stream:
            strategy.train(experience, eval_streams=[])
            found = strategy.eval(benchmark.test_stream)
            rows.append([found[name] for name in sorted(found) if "Acc" in name and "eval_phase" in name])
        # Avalanche keeps every value that was published, the mean losses of the nights among them
        history = {
            name: [[int(step) for step in steps], [float(value) for value in values]]
            for name, (steps, values) in strategy.evaluator.get_all_metrics().items()
        }
    return {
        "rows": rows,
        "metrics": {"average_accuracy": rows[-1][-1]},
        "samples": dict(plugin.samples),
        "optimizer_steps": dict(plugin.optimizer_steps),
        "bytes": dict(plugin.bytes()),
        "clock": strategy.clock.train_iterations,
        "nights": plugin.optimizer_steps["nrem"] // 10,
        "weights": hashed(network.state_dict()),
        "generator": hashed(generator.state_dict()),
        "memory": heap(memory.state_dict()),
        "optimizer": heap(strategy.optimizer.state_dict()),
        "history": history,
    }


def avalanche_replay() -> Outcome:
    """A strategy of Avalanche's own as our comparisons run it."""
    from dreamer.interop.avalanche.strategies import run as run_strategy
    from dreamer.networks import MLP
    from dreamer.streams import digits

    stream = digits(experiences=5, seed=1)
    torch.manual_seed(0)
    network = MLP(stream.sample_shape, stream.num_classes, (50,))
    results = run_strategy(
        "Replay",
        {},
        stream=stream,
        network=network,
        optimizer=torch.optim.Adam,
        batch_size=32,
        steps=30,
        seed=1,
        memory=100,
    )
    return of_results(results)

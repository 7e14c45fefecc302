"""What the Trainer's flags mean: for a run of the project's own module, and for nights in a user's own training.

Both train on the same three days of five batches, and sleep five batches after each.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from dreamer import NREM, REM, SleepCallback, Wake
from dreamer.memory import ClassBalanced
from dreamer.perturbations import InfillSpans, MaskSpans, Noise
from dreamer.training.data import StreamDataModule
from tests.helpers.tiny_llama import language_module, llama, loader, tokeniser
from tests.helpers.tiny_runs import tiny_module, tiny_network, tiny_stream

TREES = ("pytorch_lightning", "lightning.pytorch")
SUBJECTS = ("module", *TREES, pytest.param("language", marks=pytest.mark.slow))
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
# Lightning's advice on loaders and loops is meant for a reader of the terminal, in either tree
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::UserWarning:pytorch_lightning")


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> str:
    """The project's own module, a callback in either of Lightning's import trees, or one round a language model."""
    return request.param


def tree(subject: str) -> Any:
    return importlib.import_module(subject if subject in TREES else TREES[0])


# -------------------------------------------------------------------- the two who sleep


def night() -> list[NREM | REM]:
    return [NREM(2, 4), REM(3, 4, perturbations=[Noise()])]


def own_run() -> tuple[Any, Any, list[Any]]:
    """Module, data and callbacks of a run of the project's own."""
    stream = tiny_stream()
    module = tiny_module(stream, wake=Wake(batch_size=4), night=night())
    return module, StreamDataModule(stream), []


def users_own(pl: Any, changing: bool = True) -> tuple[Any, Any, list[Any]]:
    """The same of a script that knows nothing of sleep, but for one line."""
    stream = tiny_stream()

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            # without dropout: Lightning saves no random state
            self.network = tiny_network(stream, dropout=0.0)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = functional.cross_entropy(self.network(batch[0]), batch[1])
            self.log("train/loss", loss, sync_dist=True, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val/loss", functional.cross_entropy(self.network(batch[0]), batch[1]), sync_dist=True)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            samples = stream.experiences[min(self.trainer.current_epoch, 2) if changing else 0].train
            return DataLoader(TensorDataset(samples.x, samples.y), batch_size=4, shuffle=not changing)

        def val_dataloader(self) -> Any:
            samples = stream.experiences[0].test
            return DataLoader(TensorDataset(samples.x, samples.y), batch_size=4)

    return Module(), Data(), [SleepCallback(night(), memory=ClassBalanced(10), schedule=1)]


def users_language_model(pl: Any, changing: bool = True) -> tuple[Any, Any, list[Any]]:
    """The same of a script that trains adapters of a language model on mappings, one language after the other."""
    pytest.importorskip("peft")
    from dreamer.callbacks import OwnText

    module = language_module(pl, llama(lora=True), lr=0.03)
    # where a witness looks for weights, and for a layer
    module.network = nn.ModuleList([module.model, module.model.get_base_model().lm_head])

    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            return loader(self.trainer.current_epoch % 2 if changing else 0, shuffle=not changing)

        def val_dataloader(self) -> Any:
            return loader(1)

    stages = [NREM(2, 4), REM(3, 4, perturbations=[MaskSpans(), InfillSpans()])]
    # as heavy as it takes for the nights of a model that has hardly changed to have gradients of some size
    own = OwnText(tokeniser(), length=10, opening=3, weight=3000.0)
    return module, Data(), [SleepCallback(stages, generator=own)]


class Training:
    """One fit, and what a witness saw of it.

    Attributes:
        batches: of every batch that was trained on the epoch, whether the module was awake, and whether it ended with
            other weights than the batch before.
        days: (B, *S) samples of every batch awake.
        gradients: of every optimiser step all gradients in one row, as it used them.
        dtypes: of a layer's outputs, with whether it was awake.
    """

    def __init__(self, subject: str, module: Any, data: Any, callbacks: list[Any], ckpt_path: str | None, flags: Any):
        self.batches: list[tuple[int, bool, bool]] = []
        self.days: list[torch.Tensor] = []
        self.gradients: list[torch.Tensor] = []
        self.dtypes: set[tuple[bool, torch.dtype]] = set()
        self.module = module
        self._subject = subject
        self._awake = True
        # where processes are forked, what they have seen is known to their hooks alone
        module.witnessed = self
        pl = tree(subject)
        # a run sets its own length
        flags = {"max_epochs": -1 if subject == "module" else 3, "reload_dataloaders_every_n_epochs": 1, **flags}
        checkpoints = any("heckpoint" in type(callback).__name__ for callback in callbacks)
        callbacks = [self._witness(pl), *callbacks]
        self.trainer = pl.Trainer(callbacks=callbacks, enable_checkpointing=checkpoints, **{**QUIET, **flags})
        pl.seed_everything(1, verbose=False)
        self.trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)

    def _witness(self, pl: Any) -> Any:
        training = self

        class Witness(pl.Callback):
            def on_train_start(self, trainer: Any, module: Any) -> None:
                trainer.optimizers[0].register_step_post_hook(self.step)
                module.network[1].register_forward_hook(self.record)
                self.weights = training.weights()

            def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
                if training._subject == "module":
                    day = None if batch.real is None else batch.real.x
                else:
                    day = batch["input_ids"] if training._subject == "language" else batch[0]
                    day = None if any(getattr(c, "asleep", False) for c in trainer.callbacks) else day
                training._awake = day is not None
                training.days += [] if day is None else [day.clone()]

            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                before, self.weights = self.weights, training.weights()
                changed = not torch.equal(before, self.weights)
                training.batches.append((trainer.current_epoch, training._awake, changed))

            def on_train_end(self, trainer: Any, module: Any) -> None:
                if training._subject == "module":
                    counted = module.results()["cost"]["optimizer_steps"]
                    assert sum(counted.values()) == trainer.global_step

            def step(self, optimizer: Any, *_: Any) -> None:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                # a generator rests at night
                training.gradients.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))

            def record(self, layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:
                # copies have the hooks of what they are copies of
                if output.requires_grad:
                    training.dtypes.add((training._awake, output.dtype))

        return Witness()

    def weights(self) -> torch.Tensor:
        """All of the learner's, in one row."""
        return torch.cat([parameter.detach().flatten() for parameter in self.module.network.parameters()])

    @property
    def nights(self) -> list[tuple[int, int]]:
        """Batches of every day, and of the night after it."""
        stretches = [(awake, len(list(run))) for awake, run in itertools.groupby(self.batches, lambda batch: batch[1])]
        assert [awake for awake, _ in stretches] == [number % 2 == 0 for number in range(len(stretches))]
        counts = [count for _, count in stretches] + [0] * (len(stretches) % 2)
        return list(zip(counts[::2], counts[1::2], strict=True))


def train(subject: str, *callbacks: Any, ckpt_path: str | None = None, changing: bool = True, **flags: Any) -> Training:
    """Live three days, with a night after each."""
    tree(subject).seed_everything(0, verbose=False)
    if subject == "module":
        module, data, own = own_run()
    else:
        made = users_language_model if subject == "language" else users_own
        module, data, own = made(tree(subject), changing)
    return Training(subject, module, data, [*own, *callbacks], ckpt_path, flags)


@functools.cache
def unbroken(subject: str) -> Training:
    return train(subject)


# -------------------------------------------------------------------- the flags


def test_without_flags_every_batch_is_a_step(subject: str) -> None:
    training = unbroken(subject)
    assert training.nights == [(5, 5)] * 3
    assert training.trainer.global_step == len(training.gradients) == 30
    assert all(changed for _, _, changed in training.batches)


@pytest.mark.parametrize(("flag", "expected"), [(True, [(1, 2)]), (2, [(2, 4)])])
def test_fast_dev_run_trains_on_a_batch_or_n_of_every_stage(subject: str, flag: Any, expected: Any) -> None:
    training = train(subject, fast_dev_run=flag)
    assert training.nights == expected
    assert training.trainer.global_step == sum(map(sum, expected))


@pytest.mark.parametrize(("flag", "count"), [(1, 1), (2, 2), (0.5, 2)])
def test_overfit_batches_shows_the_same_few_on_every_day(subject: str, flag: float, count: int) -> None:
    training = train(subject, overfit_batches=flag, changing=False)
    asleep = 5
    expected = training.days[:count] * 3
    if subject == "module":
        # each of its stages is cut, and each experience begins as it does without the flag
        asleep = 2 * int(flag) if flag >= 1 else 2
        whole = unbroken(subject).days
        expected = [batch for day in range(3) for batch in whole[5 * day : 5 * day + count]]
    assert training.nights == [(count, asleep)] * 3
    assert all(map(torch.equal, training.days, expected))


@pytest.mark.parametrize(("flag", "awake"), [(2, 2), (0.5, 2), (99, 5)])
def test_limit_train_batches_counts_within_the_day(subject: str, flag: float, awake: int) -> None:
    training = train(subject, limit_train_batches=flag)
    asleep = {2: 4, 0.5: 2, 99: 5}[flag] if subject == "module" else 5
    assert training.nights == [(awake, asleep)] * 3
    assert training.trainer.global_step == 3 * (awake + asleep)


@pytest.mark.parametrize(("flags", "expected"), [({"max_steps": 8}, [(5, 3)]), ({"max_steps": 13}, [(5, 5), (3, 0)])])
def test_max_steps_counts_days_and_nights(subject: str, flags: dict[str, Any], expected: list[Any]) -> None:
    training = train(subject, **flags)
    assert training.nights == expected
    assert training.trainer.global_step == flags["max_steps"]


def test_accumulated_gradients_make_one_step(subject: str) -> None:
    training = train(subject, accumulate_grad_batches=2)
    # an epoch's last batch is stepped on alone: of each stage of a run, of each day with its night of the callback
    epochs = [5, 2, 3] * 3 if subject == "module" else [10] * 3
    steps = [number % 2 == 1 or number == length - 1 for length in epochs for number in range(length)]
    assert [changed for _, _, changed in training.batches] == steps
    assert training.trainer.global_step == len(training.gradients) == sum(steps)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_day_and_night(subject: str, algorithm: str) -> None:
    def sizes(training: Training) -> torch.Tensor:
        order = 2 if algorithm == "norm" else math.inf
        return torch.stack([row.norm(p=order) for row in training.gradients])

    clipped = sizes(train(subject, gradient_clip_val=1e-2, gradient_clip_algorithm=algorithm))
    assert len(clipped) == 30
    assert clipped.max() < 1.001e-2 < sizes(unbroken(subject)).min()


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_precision_is_that_of_day_and_night(subject: str, precision: str) -> None:
    # a CPU knows no mixture with float16: Lightning warns, and takes bfloat16
    training = train(subject, precision=precision)
    assert training.dtypes == {(True, torch.bfloat16), (False, torch.bfloat16)}
    assert training.weights().dtype == torch.float32
    assert training.weights().isfinite().all()
    assert training.nights == [(5, 5)] * 3


def test_checks_within_an_epoch_count_the_night(subject: str) -> None:
    """A fraction of an epoch is one of day and night together; a run evaluates itself, and its Trainer does not."""
    at = []

    class Checks(tree(subject).Callback):
        def on_validation_start(self, trainer: Any, *_: Any) -> None:
            at.append(trainer.global_step)

    train(subject, Checks(), val_check_interval=0.5, num_sanity_val_steps=0)
    assert at == ([] if subject == "module" else [5, 10, 15, 20, 25, 30])


@pytest.mark.parametrize("flags", [{"profiler": "simple"}, {"deterministic": True}, {"detect_anomaly": True}], ids=str)
def test_what_only_watches_changes_nothing(subject: str, flags: dict[str, Any]) -> None:
    assert torch.equal(train(subject, **flags).weights(), unbroken(subject).weights())


# -------------------------------------------------------------------- killed, and gone on with


class Killed(Exception):
    pass


@pytest.mark.parametrize("batch", [9, 10, 16, 19, 20])
def test_resumed_from_the_last_checkpoint_it_ends_as_if_unbroken(subject: str, batch: int, tmp_path: Path) -> None:
    """Killed before a batch of a night, or of a morning; a plain loader does not know where in a day it was."""
    pl = tree(subject)

    def saves() -> Any:
        return pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=1, save_last=True, save_top_k=0)

    class Kill(pl.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == batch:
                raise Killed

    with pytest.raises(Killed):
        train(subject, saves(), Kill())
    resumed, whole = train(subject, saves(), ckpt_path="last"), unbroken(subject)
    assert resumed.batches == whole.batches[batch:]
    assert torch.equal(resumed.weights(), whole.weights())
    assert resumed.trainer.global_step == 30


@pytest.mark.parametrize("steps", [7, 10, 19])
@pytest.mark.parametrize("by", ["max_steps", "should_stop"])
def test_stopped_within_a_night_it_goes_on_as_if_unbroken(subject: str, by: str, steps: int, tmp_path: Path) -> None:
    pl = tree(subject)

    class Stop(pl.Callback):
        """As early stopping and ``max_time`` do."""

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = by == "should_stop" and trainer.global_step == steps

    saves = [pl.callbacks.ModelCheckpoint(tmp_path, save_last=True) for _ in range(2)]
    stopped = train(subject, saves[0], Stop(), max_steps=steps if by == "max_steps" else -1)
    resumed, whole = train(subject, saves[1], ckpt_path="last"), unbroken(subject)
    assert stopped.batches + resumed.batches == whole.batches
    assert torch.equal(resumed.weights(), whole.weights())

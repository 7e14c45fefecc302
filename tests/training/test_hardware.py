"""Precision and compilation do not change a run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dreamer import SleepCallback, config
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.config.binding import ConfigError
from dreamer.memory import ClassBalanced, Herding, LatentCodes
from dreamer.networks import MLP
from dreamer.networks.base import Frozen, doubled
from dreamer.objectives import CrossEntropy, FeatureDistillation
from dreamer.plasticity import Downscaling, MovingAverage, SynapticIntelligence
from dreamer.runs import run as runs
from dreamer.stages import NREM, REM, Wake
from dreamer.streams.base import Stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import quiet_trainer, tiny_module, tiny_stream
from tests.helpers.tiny_runs import train as train_module

# Lightning's advice, and torch's on functions that are compiled again and again
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning", "ignore::UserWarning:torch")

WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch.compile(network)": lambda network: torch.compile(network, backend="eager"),  # type: ignore[dict-item]
    "network.compile()": lambda network: network.compile(backend="eager") or network,  # type: ignore[func-returns-value]
}


def make_network(stream: Stream, seed: int = 0) -> MLP:
    torch.manual_seed(seed)
    return MLP(stream.sample_shape, stream.num_classes, hidden=(16,))


def trained(network: nn.Module, **changes: Any) -> WakeSleepModule:
    """All that looks at the network: teachers, features, averages, penalties, codes behind its features."""
    parts: dict[str, Any] = {
        "wake": Wake(batch_size=9, replay=8),
        "night": [NREM(2, 8), REM(2, 8)],
        "memory": LatentCodes(10),
        "plasticity": [SynapticIntelligence(), Downscaling(), MovingAverage()],
        "evaluated": "average",
    }
    return WakeSleepModule(network, **(parts | changes))


# -------------------------------------------------------------------- compilation


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "memory": Herding(10),
            "night": [NREM(2, 8, objectives=(CrossEntropy(), FeatureDistillation()))],
            "plasticity": [],
            "evaluated": "network",
        },
    ],
    ids=["codes and averages", "features and herding"],
)
def test_a_compiled_network_gives_the_same_run(way: str, changes: dict[str, Any]) -> None:
    stream = tiny_stream()
    modules = []
    for wrap in (lambda network: network, WAYS[way]):
        module = trained(wrap(make_network(stream)), **copy.deepcopy(changes))
        train_module(module, stream)
        modules.append(module)
    plain, compiled = modules
    assert plain.results()["accuracy_matrix"] == compiled.results()["accuracy_matrix"]
    assert plain.bytes() == compiled.bytes()
    assert all(map(torch.equal, plain.state_dict().values(), compiled.state_dict().values()))


def test_a_teacher_of_a_compiled_network_is_a_copy() -> None:
    network = torch.compile(make_network(tiny_stream()), backend="eager")
    teacher, x = Frozen(network), torch.rand(4, 1, 4, 4)
    before = teacher(x)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    assert torch.equal(teacher(x), before) and before.abs().sum() > 0
    teacher.copy_from(network)
    assert teacher(x).abs().sum() == 0


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True)])
def test_a_checkpoint_does_not_know_whether_a_network_was_compiled(tmp_path: Path, before: bool, after: bool) -> None:
    stream = tiny_stream()

    def make(compiled: bool) -> WakeSleepModule:
        network = make_network(stream)
        return trained(torch.compile(network, backend="eager") if compiled else network)  # type: ignore[arg-type]

    whole = make(False)
    train_module(whole, stream)
    train_module(make(before), stream, max_steps=5, callbacks=[RunCheckpoint(tmp_path, every_n_steps=1)])
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert saved.keys() == whole.state_dict().keys()
    again = make(after)
    train_module(again, stream, ckpt_path=str(tmp_path / "last.ckpt"))
    assert again.results()["complete"]
    assert again.results()["accuracy_matrix"] == whole.results()["accuracy_matrix"]
    assert all(map(torch.equal, again.state_dict().values(), whole.state_dict().values()))


def test_a_compiled_module_of_ones_own_sleeps() -> None:
    class Own(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(16, 6)), backend="eager")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)  # type: ignore[no-any-return]

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    train = tiny_stream(1).experiences[0].train
    data = DataLoader(TensorDataset(train.x[:16], train.y[:16]), batch_size=8)  # type: ignore[attr-defined]
    trainer = quiet_trainer(max_epochs=2, callbacks=[SleepCallback([NREM(2, 4)], memory=ClassBalanced(8), schedule=1)])
    trainer.fit(Own(), data)
    assert trainer.global_step == 2 * (2 + 2)


# -------------------------------------------------------------------- precision


def test_half_precision_learns_and_keeps_float32() -> None:
    stream = tiny_stream()
    full, half = (tiny_module(stream) for _ in range(2))
    train_module(full, stream)
    train_module(half, stream, precision="bf16-mixed")
    ends = [module.results()["metrics"]["average_accuracy"] for module in (full, half)]
    assert abs(ends[0] - ends[1]) < 0.15
    assert {value.dtype for value in half.parameters() if value.requires_grad} == {torch.float32}
    assert half.memory is not None and half.memory.held["x"].dtype == torch.float32  # type: ignore[attr-defined]
    assert not all(map(torch.equal, full.state_dict().values(), half.state_dict().values()))


def test_float16_is_for_accelerators() -> None:
    with pytest.warns(UserWarning, match="not supported on CPU. Using `precision='bf16-mixed'` instead"):
        trainer = quiet_trainer(precision="16-mixed")
    assert trainer.precision == "bf16-mixed"


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_a_run_in_another_type_is_refused(precision: Any) -> None:
    with pytest.raises(ValueError, match=rf"weights and dreams are kept in float32: .* got '{precision}'"):
        train_module(tiny_module(tiny_stream()), tiny_stream(), precision=precision)


def test_clipping_that_lightning_would_refuse_in_the_first_step_is_refused_before() -> None:
    module = tiny_module(tiny_stream(), optimizer=partial(torch.optim.Adam, fused=True))
    with pytest.raises(ValueError, match=r"fused optimizer under 'bf16-mixed': expected .* got 0.5"):
        module.check_trainer(quiet_trainer(precision="bf16-mixed", gradient_clip_val=0.5))
    module.check_trainer(quiet_trainer(gradient_clip_val=0.5))
    module.check_trainer(quiet_trainer(precision="bf16-mixed"))


def test_a_trainer_that_does_not_fit_is_refused_when_a_run_is_built(tmp_path: Path) -> None:
    plain = config.read("digits", "trainer.precision=64-true")
    with pytest.raises(ConfigError, match="weights and dreams are kept in float32"):
        runs.prepare(plain, tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_double_numbers_are_those_of_the_device() -> None:
    assert doubled(torch.ones(2, dtype=torch.float16)).dtype == torch.float64
    assert doubled(torch.ones(2, device="meta")).device.type == "meta"

"""Backbones, heads that grow, several heads, and what is no learner."""

from __future__ import annotations

import importlib.util
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from dreamer import NREM, REM, SleepCallback, Wake
from dreamer.config import registry
from dreamer.core.types import Dream, Output
from dreamer.generators.latent_gaussians import LatentGaussians
from dreamer.generators.vae import VAE
from dreamer.memory import ClassBalanced, LatentCodes
from dreamer.networks import MLP, Backbone, GrowingHead, SmallConv
from dreamer.networks.base import Frozen, reset_parameters
from dreamer.objectives import CrossEntropy, Distillation, FeatureDistillation, LogitMatching
from dreamer.perturbations import Affine
from dreamer.plasticity import MovingAverage
from dreamer.runs.summary import summary
from dreamer.streams import Stream, blurred, online
from dreamer.streams.embedded import embedded
from dreamer.training.module import WakeSleepModule
from tests.helpers.stream_contract import everything
from tests.helpers.tiny_runs import quiet_trainer, tiny_stream, train

SHAPE, K = (1, 4, 4), 6
STREAM = tiny_stream()


def mlp(seed: int = 0, **options: Any) -> MLP:
    torch.manual_seed(seed)
    return MLP(SHAPE, K, (12,), **options)


def mask(*classes: int) -> Tensor:
    found = torch.zeros(K, dtype=torch.bool)
    found[list(classes)] = True
    return found


def module_of(network: nn.Module, **options: Any) -> WakeSleepModule:
    defaults = {"wake": Wake(steps=6, batch_size=8, replay=8), "night": [NREM(4, 8)], "memory": ClassBalanced(12)}
    return WakeSleepModule(network, **(defaults | options))


# --- heads that grow -----------------------------------------------------------------------------------------------


def test_an_output_appears_when_its_class_is_seen():
    network = mlp(growing=True)
    x = torch.rand(5, *SHAPE)
    assert network(x).softmax(1).min() > 0, "before any class is seen all outputs are active"
    network.head.add_classes(mask(1, 4))
    probabilities = network(x).softmax(1)
    assert torch.equal(probabilities > 0, mask(1, 4).expand(5, -1))
    network.head.add_classes(mask(2))
    assert torch.equal(network(x).softmax(1) > 0, mask(1, 2, 4).expand(5, -1))


def test_weights_of_classes_to_come_wait_as_they_were_drawn():
    network = mlp(growing=True)
    network.head.add_classes(mask(0, 1))
    before = network.head.weight.detach().clone()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        functional.cross_entropy(network(torch.rand(8, *SHAPE)), torch.arange(8) % 2).backward()
        optimizer.step()
    moved = (network.head.weight != before).any(dim=1)
    assert torch.equal(moved, mask(0, 1))


def test_a_growing_head_is_a_softmax_over_the_classes_seen():
    """The same run bit by bit, but for the evaluation of the untrained network, when no class was seen."""
    plain, growing = mlp(), mlp(growing=True)
    growing.load_state_dict(plain.state_dict(), strict=False)
    one, other = module_of(plain, active_outputs="seen"), module_of(growing, active_outputs="all")
    train(one, STREAM)
    train(other, STREAM)
    rows = [[row["accuracy"] for row in trained.ledger.rows[1:]] for trained in (one, other)]
    assert rows[0] == rows[1]
    assert torch.equal(plain.head.weight, growing.head.weight)


@pytest.mark.parametrize("stage", range(5))
def test_a_run_with_a_growing_head_resumes_from_a_checkpoint(stage: int, tmp_path: Path):
    whole, killed, resumed = (module_of(mlp(growing=True), plasticity=[MovingAverage()]) for _ in range(3))
    train(whole, STREAM)
    trainer = train(killed, STREAM, max_steps=3 + 5 * stage)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    train(resumed, STREAM, ckpt_path=str(tmp_path / "run.ckpt"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert resumed.ledger.rows == whole.ledger.rows
    # an output outside a run, from the file alone
    loaded = WakeSleepModule.load_from_checkpoint(
        tmp_path / "run.ckpt", weights_only=True, **{"network": mlp(1, growing=True), "plasticity": [MovingAverage()],
        "wake": whole.wake, "night": whole.night, "memory": ClassBalanced(12)}
    )  # fmt: skip
    x = torch.rand(4, *SHAPE)
    assert torch.equal(loaded(x), killed(x)) and torch.equal(loaded.network.head.seen, killed.network.head.seen)


def test_teachers_have_the_classes_seen_when_they_were_copied():
    trained = module_of(mlp(growing=True))
    train(trained, STREAM)
    assert torch.equal(trained.dawn.network.head.seen, mask(0, 1, 2, 3)) and trained.dusk.network.head.seen.all()


@pytest.mark.parametrize("growing", [False, True])
def test_stored_logits_of_classes_to_come_are_not_matched(growing: bool):
    memory = ClassBalanced(12, logits=True)
    objectives = (CrossEntropy(), LogitMatching())
    wake = Wake(steps=6, batch_size=8, replay=8, replay_objectives=objectives)
    trained = module_of(mlp(growing=growing), memory=memory, wake=wake, night=[NREM(4, 8, objectives=objectives)])
    train(trained, STREAM)
    assert all(torch.isfinite(weight).all() for weight in trained.parameters())
    assert (memory.held["logits"].abs() < 1e6).all() != growing


@pytest.mark.parametrize("name", registry.names("objectives"))
def test_every_objective_bears_outputs_that_are_to_come(name: str):
    objective = registry.resolve("objectives", name)()
    network, teacher = mlp(growing=True), mlp(1, growing=True)
    network.head.add_classes(mask(0, 1, 2))
    teacher.head.add_classes(mask(0, 1))
    x, y = torch.rand(4, *SHAPE), torch.tensor([0, 1, 1, 0])
    before = teacher(x).detach()
    for p in (None, functional.one_hot(y, K) * 0.7 + functional.one_hot(1 - y, K) * 0.3):
        h = network.features(x)
        target = Dream(x, y, p, teacher=before, teacher_features=teacher.features(x).detach(), logits=before)
        network.zero_grad()
        loss = objective(Output(network.classify(h), h), target, None)
        loss.backward()
        assert torch.isfinite(loss)
        found = [weight.grad for weight in network.parameters() if weight.grad is not None]
        assert found and all(torch.isfinite(gradient).all() for gradient in found)
        if network.head.weight.grad is not None:
            assert not network.head.weight.grad[~network.head.seen].any()


def test_the_plan_says_how_many_outputs_there_will_be():
    trained = module_of(mlp(growing=True))
    assert "outputs: 2 4 6, as classes are seen" in summary(STREAM, trained, trained.plan(STREAM))
    assert "outputs:" not in summary(STREAM, module_of(mlp()), trained.plan(STREAM))


def test_pieces_bring_their_own_classes_alone():
    pieces = online(STREAM, 3)
    trained = module_of(SmallConv(SHAPE, K, (8,), growing=True), night=[])
    seen_after = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            seen_after.append(set(trained.network.head.seen.nonzero().flatten().tolist()))

    train(trained, pieces, callbacks=[Watch()])
    assert seen_after == [set().union(*pieces.class_order[: index + 1]) for index in range(len(pieces))]


def test_in_joint_training_all_outputs_are_active_from_the_first_step():
    trained = module_of(mlp(growing=True), memory=None, night=[], wake=Wake(steps=2, data="joint"))
    train(trained, STREAM, max_steps=1)
    assert trained.network.head.seen.all()


class Grower(pl.LightningModule):
    """Somebody's own module: it gives its last layer two rows more every epoch, as they wrote it."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.ReLU())
        self.head = nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))

    def on_train_epoch_start(self) -> None:
        missing = 2 * (self.current_epoch + 1) - self.head.out_features
        if missing <= 0:
            return
        old, self.head = self.head, nn.Linear(24, self.head.out_features + missing)
        with torch.no_grad():
            self.head.weight[: old.out_features] = old.weight
            self.head.bias[: old.out_features] = old.bias
        optimizer = self.optimizers().optimizer
        optimizer.param_groups[1]["params"] = list(self.head.parameters())
        for weight in old.parameters():
            optimizer.state.pop(weight, None)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([{"params": self.trunk.parameters()}, {"params": self.head.parameters()}], lr=5e-3)


class Days(pl.LightningDataModule):
    """An experience of the stream in every epoch."""

    def train_dataloader(self) -> DataLoader:
        x, y = everything(STREAM.experiences[self.trainer.current_epoch].train)
        return DataLoader(TensorDataset(x.repeat(6, 1, 1, 1), y.repeat(6)), batch_size=12)


def grown(*callbacks: pl.Callback) -> float:
    """The accuracy over all classes after a run of three days."""
    torch.manual_seed(0)
    module = Grower()
    trainer = quiet_trainer(max_epochs=3, reload_dataloaders_every_n_epochs=1, callbacks=list(callbacks))
    trainer.fit(module, datamodule=Days())
    assert module.head.out_features == K
    tests = [everything(experience.test) for experience in STREAM.experiences]
    x, y = (torch.cat(each) for each in zip(*tests, strict=True))
    return float((module(x).argmax(1) == y).float().mean())


def test_a_users_own_head_that_grows_sleeps_too():
    without = grown()
    assert grown(SleepCallback(stages=[NREM(60, 12)])) > without + 0.3
    looking = SleepCallback(stages=[NREM(60, 12), REM(20, 12)], generator=VAE((1, 4, 4), K, 4, (16,)), schedule=1)
    assert grown(looking) >= without


# --- several heads -------------------------------------------------------------------------------------------------


def test_given_tasks_are_heads_of_their_own():
    """With ``active_outputs="task"`` the rows of other tasks get no gradient: a head per experience on one trunk."""
    network = mlp()
    # a day each, and no replay: what the second and third day leave of the first head
    trained = module_of(network, active_outputs="task", memory=None, night=[], wake=Wake(steps=6, batch_size=8))
    seen: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            seen.append(network.head.weight.detach().clone())

    train(trained, STREAM, callbacks=[Watch()])
    for day, (before, after) in enumerate(zip(seen[:-1], seen[1:], strict=True), start=1):
        # Adam goes on moving a row whose gradients have ended; only rows that never had any stand still
        later = mask(*range(2 * day + 2, K))
        assert torch.equal(before[later], after[later])
    single = module_of(mlp(), active_outputs="task", memory=None, night=[], wake=Wake(steps=6, batch_size=8),
                  optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1))  # fmt: skip
    network, seen = single.network, []
    train(single, STREAM, callbacks=[Watch()])
    for day, (before, after) in enumerate(zip(seen[:-1], seen[1:], strict=True), start=1):
        assert torch.equal((before != after).any(dim=1), mask(2 * day, 2 * day + 1))


def test_tasks_whose_classes_leak_or_return_are_refused():
    with pytest.raises(ValueError, match="active_outputs='task' needs experiences with classes of their own"):
        module_of(mlp(), active_outputs="task").plan(blurred(STREAM, 0.3))


# --- backbones -----------------------------------------------------------------------------------------------------


def convolutions() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU())


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "mobilenetv3_small_050"])
def test_networks_by_name_are_cut_before_their_last_layer(name: str):
    network = Backbone((1, 8, 8), K, name, size=32).eval()
    x = torch.rand(2, 1, 8, 8)
    h = network.features(x)
    assert h.shape == (2, network.head.in_features) and network(x).shape == (2, K)
    assert torch.equal(network(x), network.classify(h))


def test_weights_come_from_a_file_of_the_whole_classifier(tmp_path: Path):
    from torchvision import models

    torch.manual_seed(5)
    whole = models.shufflenet_v2_x0_5(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "weights.pt")
    network = Backbone(
        (3, 32, 32), K, "shufflenet_v2_x0_5", weights=str(tmp_path / "weights.pt"), mean=[0.0], std=[1.0]
    )
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(whole.fc(network.eval().features(x)), whole(x))
    normalised = Backbone((3, 32, 32), K, "shufflenet_v2_x0_5", weights=str(tmp_path / "weights.pt")).eval()
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.allclose(normalised.features(x), network.features((x - mean) / std), atol=1e-5)
    with pytest.raises(ValueError, match=r"weights.pt' are not those of this Sequential: \d+ keys differ"):
        Backbone(SHAPE, K, convolutions(), weights=str(tmp_path / "weights.pt"))
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"cannot read weights in .*: expected a state dict"):
        Backbone(SHAPE, K, convolutions(), weights=str(tmp_path / "weights.pt"))


def test_a_frozen_backbone_rests_in_everything():
    network = Backbone(SHAPE, K, convolutions(), frozen=True)
    before = {name: value.clone() for name, value in network.trunk.state_dict().items()}
    trained = module_of(network)
    train(trained, STREAM)
    assert all(torch.equal(value, before[name]) for name, value in network.trunk.state_dict().items())
    assert all(module.training for module in network.modules()), "modes are as they were"
    drawn = network.head.weight.detach().clone()
    reset_parameters(network)
    assert all(torch.equal(value, before[name]) for name, value in network.trunk.state_dict().items())
    assert not torch.equal(network.head.weight, drawn)


def test_a_backbone_that_learns_moves():
    network = Backbone(SHAPE, K, convolutions())
    before = network.trunk[0].weight.detach().clone()
    train(module_of(network), STREAM)
    assert not torch.equal(network.trunk[0].weight, before)


@pytest.mark.parametrize(
    "changes",
    [
        {"memory": LatentCodes(12)},
        {"memory": None, "generator": LatentGaussians(SHAPE, K, space="features")},
        {"night": [NREM(4, 8, objectives=(FeatureDistillation(),))]},
    ],
    ids=["latent replay", "dreams of features", "features of a teacher"],
)
def test_backbones_have_features(changes: dict[str, Any]):
    trained = module_of(Backbone(SHAPE, K, convolutions(), growing=True), **changes)
    train(trained, STREAM)
    assert isinstance(trained.network.head, GrowingHead) and trained.network.head.seen.all()


def test_a_name_that_is_nowhere_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(
        ValueError, match=r"neither torchvision nor timm has a network 'resnt18'; did you mean 'resnet18'"
    ):
        Backbone((3, 32, 32), K, "resnt18")
    with pytest.raises(ValueError, match="squeezenet1_1 does not end in a linear layer"):
        Backbone((3, 32, 32), K, "squeezenet1_1")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "timm" else find(name, *rest))
    with pytest.raises(ValueError, match=r"torchvision has no network 'vit_tiny_patch16_224'.*: pip install timm"):
        Backbone((3, 32, 32), K, "vit_tiny_patch16_224")


# --- features computed once ----------------------------------------------------------------------------------------


def test_features_take_the_place_of_samples():
    trunk = convolutions()
    stream = embedded(STREAM, trunk, batch_size=5)
    assert stream.sample_shape == (24,) and stream.class_order == STREAM.class_order
    network = Backbone(SHAPE, K, trunk, frozen=True)
    for one, other in zip(stream.experiences, STREAM.experiences, strict=True):
        for part in ("train", "test", "validation"):
            x, y = everything(getattr(other, part))
            h, labels = everything(getattr(one, part))
            assert torch.allclose(h, network.features(x), atol=1e-6) and torch.equal(y, labels)
    pieces = embedded(online(STREAM, 4), trunk)
    assert len({id(each.test) for each in pieces.experiences}) == 3, "what pieces have in common is seen once"


def test_a_run_on_features_is_that_of_the_frozen_backbone():
    trunk = convolutions()
    network = Backbone(SHAPE, K, trunk, frozen=True)
    head = MLP((24,), K, ())
    head.head.load_state_dict(network.head.state_dict())
    # rounding differs with the size of a batch
    options = {"night": [], "memory": None, "wake": Wake(steps=6, batch_size=8)}
    train(module_of(network, **options), STREAM)
    train(module_of(head, **options), embedded(STREAM, trunk))
    assert torch.allclose(head.head.weight, network.head.weight, atol=1e-4)


def test_augmentation_of_images_comes_too_late_for_features():
    stream = embedded(STREAM, convolutions())
    with pytest.raises(ValueError, match=r"wake: Affine perturbs images of shape .*, got samples of shape \(2, 24\)"):
        module_of(MLP((24,), K, ()), wake=Wake(perturbations=[Affine()])).plan(stream)


# --- what is no learner --------------------------------------------------------------------------------------------


class Outputs(NamedTuple):
    loss: Tensor
    logits: Tensor


class Wordy(nn.Module):
    """Outputs in a user's own container."""

    def __init__(self, kind: type):
        super().__init__()
        self.kind = kind
        self.layer = nn.Linear(16, K)

    def forward(self, x: Tensor) -> Any:
        logits = self.layer(x.flatten(1))
        if self.kind is OrderedDict:
            return OrderedDict(loss=None, logits=logits)
        return self.kind((logits.sum(), logits)) if self.kind is tuple else Outputs(logits.sum(), logits)


@pytest.mark.parametrize("kind", [tuple, OrderedDict, Outputs])
def test_an_output_that_is_no_tensor_is_refused_when_the_run_is_planned(kind: type):
    message = (
        rf"expected Wordy to map \(2, 1, 4, 4\) samples of torch.float32 to \(2, 6\) logits, got a {kind.__name__}: "
    )
    with pytest.raises(ValueError, match=message + "wrap it in a module whose forward picks out the logits"):
        module_of(Wordy(kind)).plan(STREAM)


def test_a_wrapped_network_trains():
    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Wordy(Outputs)

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x).logits

    train(module_of(Logits()), STREAM)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 5)), r"to \(2, 6\) logits, got a tensor of shape \(2, 5\)"),
        (nn.Linear(3, K), r"Linear cannot take \(2, 1, 4, 4\) samples of torch.float32: "),
        (nn.Embedding(3, K), r"Embedding cannot take \(2, 1, 4, 4\) samples of torch.float32: "),
    ],
    ids=["classes", "shape", "type"],
)
def test_a_network_for_other_samples_or_classes_is_refused(network: nn.Module, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        module_of(network, night=[NREM(2, objectives=(CrossEntropy(),))]).plan(STREAM)
    assert "\n" not in str(caught.value)


def test_calling_the_learner_beforehand_leaves_no_trace():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(), nn.Linear(16, K))
    module = module_of(network)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network[2].eval()
    before = torch.random.get_rng_state()
    module.plan(STREAM)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [part.training for part in network] == [True, True, False, True]


def test_a_network_that_cannot_be_copied_is_refused_where_a_copy_is_needed():
    class Locked(MLP):
        def __init__(self) -> None:
            super().__init__(SHAPE, K, (4,))
            self.lock = threading.Lock()

    with pytest.raises(
        ValueError, match=r"frozen copy of the learner is needed, but Locked cannot be copied \(cannot pickle"
    ):
        module_of(Locked(), night=[NREM(2, objectives=(Distillation(),))])
    with pytest.raises(ValueError, match="keep what cannot be copied out of the network"):
        Frozen(Locked())
    plain = (CrossEntropy(),)
    train(
        module_of(
            Locked(), night=[NREM(2, 8, objectives=plain)], wake=Wake(steps=2, replay=4, replay_objectives=plain)
        ),
        STREAM,
    )


def test_a_watcher_of_the_learner_is_not_copied_with_it():
    class Watcher:
        seen = 0

        def __deepcopy__(self, memo: dict[int, Any]) -> Watcher:
            raise AssertionError("copied")

        def watch(self, *_: Any) -> None:
            self.seen += 1

    network, watcher = nn.Sequential(nn.Linear(2, 2)), Watcher()
    network[0].register_forward_hook(watcher.watch)
    Frozen(network)(torch.zeros(1, 2))
    assert watcher.seen == 1


def test_streams_are_seen_by_a_model_from_a_configuration():
    from dreamer import config
    from dreamer.runs.run_config import run_config

    plain = config.read(
        "digits", "stream.experiences=2", "stream.then=[{name: embedded, model: mobilenet_v3_small, size: 32}]"
    )
    stream: Stream = run_config(plain).stream.build()
    assert stream.sample_shape == (1024,) and stream.name == "digits embedded"

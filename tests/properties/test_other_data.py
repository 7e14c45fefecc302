"""Tables, series and texts: no image in sight, from the stream to the run folder."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from sklearn.datasets import load_wine
from torch import Tensor, nn

from dreamer.callbacks.run_folder import RunFolder
from dreamer.generators import ClassConditionalVAE
from dreamer.generators.flow_matching import FlowMatching
from dreamer.generators.latent_gaussians import LatentGaussians
from dreamer.memory import ClassBalanced, LatentCodes, Reservoir
from dreamer.networks import MLP
from dreamer.objectives import CrossEntropy, Distillation
from dreamer.perturbations import Affine, LatentMixing, Mixup, Noise
from dreamer.runs.summary import summary
from dreamer.stages import NREM, REM, Wake
from dreamer.streams import Stream, from_tensors
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import train


def wine() -> Stream:
    """13 measurements of wines from three growers, standardised: values outside [0, 1]; an array of float64."""
    bunch = load_wine()
    x = (bunch.data - bunch.data.mean(axis=0)) / bunch.data.std(axis=0)
    return from_tensors(x, bunch.target, experiences=3, name="wine", shuffle=False)


def sentences(length: int = 8, each: int = 40) -> Stream:
    """Four classes of sentences of 12 tokens: every class repeats two of its own between words of all."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(4).repeat_interleave(each)
    x = torch.randint(8, 12, (len(y), length), generator=rng)
    x[:, ::2] = 2 * y[:, None] + torch.randint(2, (len(y), length // 2), generator=rng)
    return from_tensors(x, y, experiences=2, name="sentences", shuffle=False)


class Reader(nn.Module):
    """The mean of embeddings, a hidden layer, and an output for each class."""

    def __init__(self, tokens: int = 12, width: int = 16, classes: int = 4):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.is_features = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.int64
        return torch.relu(self.is_features(self.embedding(x).mean(dim=1)))

    def classify(self, h: Tensor) -> Tensor:
        return self.head(h)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))


def module(stream: Stream, **parts: Any) -> WakeSleepModule:
    torch.manual_seed(0)
    network = Reader() if stream.name == "sentences" else MLP(stream.sample_shape, stream.num_classes, (32,))
    night = [NREM(20, 16, objectives=(CrossEntropy(),)), REM(20, 16, objectives=(CrossEntropy(),))]
    wake = Wake(steps=60, batch_size=16, replay=16, replay_objectives=(CrossEntropy(),))
    return WakeSleepModule(network, **{"wake": wake, "night": night, "active_outputs": "seen", **parts})


def average(trained: WakeSleepModule) -> float:
    return trained.results()["metrics"]["average_accuracy"]


@functools.cache
def without_nights(data: Literal["wine", "sentences"]) -> float:
    stream = wine() if data == "wine" else sentences()
    trained = module(stream, wake=Wake(steps=60, batch_size=16), night=[])
    train(trained, stream)
    return average(trained)


# --- tables --------------------------------------------------------------------------------------------------------


def test_a_table_of_float64_comes_as_float32_and_keeps_its_values():
    stream = wine()
    x = stream.experiences[0].train.x
    assert x.dtype == torch.float32 and float(x.min()) < -1 and float(x.max()) > 1


@pytest.mark.parametrize(
    "parts",
    [
        {"memory": ClassBalanced(30)},
        {"generator": LatentGaussians((13,), 3, latent_dim=8)},
        {"generator": ClassConditionalVAE((13,), 3, 4, (32,), likelihood="gaussian", components=1)},
        {"generator": FlowMatching((13,), 3, hidden=(32,), span=None)},
        {"memory": LatentCodes(30)},
    ],
    ids=["memory", "gaussians", "autoencoder", "flow", "codes"],
)
def test_a_table_is_dreamt_of_and_remembered(parts: dict[str, Any]):
    stream = wine()
    trained = module(stream, **parts)
    train(trained, stream)
    assert average(trained) > max(0.75, without_nights("wine") + 0.1)


def test_a_table_leaves_its_run_folder(tmp_path: Path):
    stream = wine()
    train(module(stream, memory=ClassBalanced(30)), stream, callbacks=[RunFolder(tmp_path)])
    assert (tmp_path / "results.json").is_file() and (tmp_path / "hypnogram.png").is_file()


def test_dreams_of_a_table_leave_the_unit_interval():
    stream = wine()
    trained = module(stream, generator=ClassConditionalVAE((13,), 3, 4, (32,), likelihood="gaussian", components=1))
    train(trained, stream)
    dream = trained.gallery(20)
    assert float(dream.x.min()) < -0.5 and float(dream.x.max()) > 1.2


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"generator": ClassConditionalVAE((13,), 3, 4, (8,))},
            r"ClassConditionalVAE is for values in \[0, 1\], wine has .*: expected likelihood='gaussian'",
        ),
        ({"generator": FlowMatching((13,), 3, hidden=(8,))}, r"FlowMatching is for values .* expected span=None"),
        ({"memory": ClassBalanced(9, store="uint8")}, r"ClassBalanced is for values .* expected store='float32'"),
        (
            {"memory": ClassBalanced(9), "night": [REM(2, perturbations=(Noise(),))]},
            r"night stage 0 \(rem\): Noise clips to \[0, 1\], wine has .*: expected clip=None",
        ),
        (
            {"memory": ClassBalanced(9), "night": [REM(2, perturbations=(Affine(),))]},
            r"night stage 0 \(rem\): Affine perturbs images",
        ),
    ],
    ids=["bernoulli", "span", "uint8", "clip", "affine"],
)
def test_parts_for_pixels_are_refused_before_anything_runs(parts: dict[str, Any], message: str):
    stream = wine()
    with pytest.raises(ValueError, match=message) as caught:
        module(stream, **parts).plan(stream)
    assert "\n" not in str(caught.value)


def test_a_byte_for_a_value_outside_its_range_is_refused_by_the_memory_itself():
    with pytest.raises(ValueError, match=r"store='uint8' keeps values in \[0, 1\], got -2 to 0.5"):
        Reservoir(3, store="uint8").add(torch.tensor([[-2.0, 0.5]]), torch.tensor([0]), torch.Generator())


# --- series --------------------------------------------------------------------------------------------------------


def test_series_of_several_channels_leave_a_run_without_a_picture_of_them(tmp_path: Path):
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(80) % 4
    wave = torch.sin(torch.linspace(0, 12, 20) * (1 + y[:, None, None]))
    x = wave.expand(-1, 4, -1) + 0.3 * torch.randn(80, 4, 20, generator=rng)
    stream = from_tensors(x, y, experiences=2, name="waves")
    # samples of shape (4, 5, 4, 1): nothing that could be drawn
    odd = from_tensors(x.reshape(80, 4, 5, 4, 1), y, experiences=2, name="waves")
    for each in (stream, odd):
        trained = module(each, generator=LatentGaussians(each.sample_shape, 4, latent_dim=8))
        folder = tmp_path / str(len(each.sample_shape))
        train(trained, each, callbacks=[RunFolder(folder)])
        assert average(trained) > 0.7 and (folder / "matrix.png").is_file()
    assert not (tmp_path / "4" / "dreams").exists()


# --- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "codes", "gaussians"])
def test_tokens_stay_whole_numbers_through_memory_and_nights(kind: str, tmp_path: Path):
    stream = sentences()
    parts: dict[str, Any] = {
        "memory": {"memory": ClassBalanced(24), "night": [NREM(40, 16), REM(20, 16, perturbations=[])]},
        "codes": {"memory": LatentCodes(24)},
        "gaussians": {"generator": LatentGaussians((8,), 4, space="features")},
    }[kind]
    trained = module(stream, **parts)
    train(trained, stream, callbacks=[RunFolder(tmp_path)] if kind == "memory" else [])
    assert average(trained) > without_nights("sentences") + 0.2
    if kind == "memory":
        assert trained.memory.held["x"].dtype == torch.int64
        assert trained.memory.nbytes == trained.memory.planned_bytes((8,), 4, itemsize=8)
        assert f"memory {trained.memory.nbytes / 1e6:.2f} MB" in summary(stream, trained, trained.plan(stream))


def test_tokens_go_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path):
    stream = sentences()

    def fresh() -> WakeSleepModule:
        night = [NREM(6, 8, objectives=(Distillation(),))]
        return module(stream, memory=ClassBalanced(12), night=night, wake=Wake(steps=8, batch_size=8))

    whole = fresh()
    train(whole, stream)
    first = fresh()
    trainer = train(first, stream, max_steps=17)
    trainer.save_checkpoint(tmp_path / "killed.ckpt")
    second = fresh()
    train(second, stream, ckpt_path=str(tmp_path / "killed.ckpt"))
    assert second.memory.held["x"].dtype == torch.int64
    assert all(torch.equal(a, b) for a, b in zip(whole.network.parameters(), second.network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"memory": ClassBalanced(9)},
            r"night stage 1 \(rem\): Noise perturbs floating-point .*int64; perturbations=\[\]",
        ),
        (
            {"memory": ClassBalanced(9), "night": [NREM(2, perturbations=(Mixup(),))]},
            r"night stage 0 \(nrem\): Mixup perturbs floating-point samples, got torch.int64$",
        ),
        (
            {"memory": ClassBalanced(9), "night": [NREM(2, perturbations=(LatentMixing(),))]},
            "LatentMixing perturbs latent codes",
        ),
        (
            {"generator": ClassConditionalVAE((8,), 4, 4, (8,))},
            r"ClassConditionalVAE makes floating-point samples, sentences gives torch.int64: expected a generator of",
        ),
    ],
    ids=["default noise", "mixup", "latent", "autoencoder"],
)
def test_what_needs_numbers_between_is_refused_for_tokens(parts: dict[str, Any], message: str):
    stream = sentences()
    with pytest.raises(ValueError, match=message):
        module(stream, **parts).plan(stream)


def test_half_precision_is_refused_for_tokens_by_the_memory():
    with pytest.raises(ValueError, match=r"float16.* keeps floating-point samples, got torch\.int64"):
        Reservoir(3, store="float16").add(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([0]), torch.Generator())

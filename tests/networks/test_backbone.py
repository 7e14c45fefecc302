"""Pretrained networks: weights from files, the pixels they want, and which of their blocks are trained."""

from __future__ import annotations

import argparse
import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from dreamer.networks import Backbone
from dreamer.networks._blocks import blocks_of
from dreamer.networks._efficientnet_lite import EfficientNetLite0

K = 3


def randomised(network: nn.Module) -> nn.Module:
    """The network with other weights and running statistics than a fresh one, in evaluation mode."""
    rng = torch.Generator().manual_seed(0)
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=rng)
            value.copy_(noise + 0.5 if "running_var" in key else value + 0.1 * (noise - 0.5))
    return network.eval()


def images(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def convolutions() -> nn.Sequential:
    """Three blocks, one of them with a normalisation."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 6),
    )


def test_efficientnet_lite0_is_the_official_one_layer_by_layer() -> None:
    timm = pytest.importorskip("timm")
    ours = randomised(EfficientNetLite0())
    assert sum(parameter.numel() for parameter in ours.parameters()) == 4_652_008
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = theirs.state_dict()
    assert [value.shape for value in state.values()] == [value.shape for value in ours.state_dict().values()]
    theirs.load_state_dict(dict(zip(state, ours.state_dict().values(), strict=True)))
    # an odd size, where the padding is not the same on both sides
    x = images(size=75)
    with torch.no_grad():
        expected = theirs(x)
        assert torch.allclose(ours(x), expected, atol=1e-4 * float(expected.abs().max()))


def test_its_keys_are_those_of_the_published_file() -> None:
    keys = list(EfficientNetLite0().state_dict())
    assert len(keys) == 296
    assert keys[:2] == ["_conv_stem.weight", "_bn0.weight"] and keys[-2:] == ["_fc.weight", "_fc.bias"]
    assert "_blocks.0._expand_conv.weight" not in keys and "_blocks.15._project_conv.weight" in keys


def test_it_is_shown_the_pixels_that_its_weights_were_trained_on(tmp_path: Path) -> None:
    whole = randomised(EfficientNetLite0())
    torch.save(whole.state_dict(), tmp_path / "weights.pt")
    network = Backbone((3, 64, 64), K, "efficientnet_lite0", str(tmp_path / "weights.pt"), frozen=True)
    x = (255 * images()).round() / 255
    whole._fc = nn.Identity()
    with torch.no_grad():
        expected = whole((255 * x - 127) / 128)
    assert torch.allclose(network.features(x), expected, rtol=1e-3, atol=1e-4)


def test_a_network_of_timm_is_shown_the_pixels_that_its_authors_used() -> None:
    pytest.importorskip("timm")
    half = Backbone((3, 64, 64), K, "tf_efficientnet_lite0")
    assert half.mean is not None and half.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    theirs = Backbone((3, 64, 64), K, "timm/efficientnet_lite0")
    assert "conv_stem.weight" in theirs.trunk.state_dict()


def test_safetensors_hold_weights_as_well(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    state = convolutions().state_dict()
    safetensors.save_file(state, tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    other = convolutions()
    nn.init.zeros_(other[0].weight)
    Backbone((3, 16, 16), K, other, str(tmp_path / "weights.safetensors"))
    assert all(torch.equal(value, state[key]) for key, value in other.state_dict().items())
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"cannot read weights in .*damaged.safetensors"):
        Backbone((3, 16, 16), K, other, str(tmp_path / "damaged.safetensors"))


def forms(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What people have saved a ResNet's weights as."""
    headless = {key: value for key, value in state.items() if not key.startswith("fc.")}
    return {
        "with a head for other classes": {**headless, "fc.weight": torch.rand(7, 512), "fc.bias": torch.rand(7)},
        "with a head of two layers": {**headless, "fc.1.weight": torch.rand(7, 512), "fc.1.bias": torch.rand(7)},
        "without its head": headless,
        "of data parallel": {f"module.{key}": value for key, value in state.items()},
        "checkpoint": {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
        "checkpoint under another key": {"model": state, "args": argparse.Namespace(lr=0.1), "best": torch.tensor(0.5)},
        "of Lightning": {
            "state_dict": {**{f"net.{key}": value for key, value in state.items()}, "loss.weight": torch.rand(3)},
            "hyper_parameters": {"lr": 0.1},
        },
        "without counters": {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")},
        "average beside the same": {"model": state, "model_ema": state},
    }


@functools.cache
def resnet() -> nn.Module:
    torch.manual_seed(3)
    return randomised(models.resnet18())


@pytest.mark.parametrize("form", list(forms({})))
def test_weights_are_found_whatever_lies_round_them(form: str, tmp_path: Path) -> None:
    torch.save(forms(dict(resnet().state_dict()))[form], tmp_path / "weights.pth")
    network = Backbone((3, 32, 32), K, "resnet18", str(tmp_path / "weights.pth"), frozen=True)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    whole = copy.deepcopy(resnet())
    whole.fc = nn.Identity()
    x = images(size=32)
    with torch.no_grad():
        assert torch.equal(network.features(x), whole((x - mean) / std))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("another network", "are not those of this ResNet: 96 keys differ, 'layer1.2.bn1.bias' is the first"),
        ("a part more", "are not those of this ResNet: 1 keys differ, 'extra.weight' is the first"),
        ("NaN", "hold NaN or infinity, 'conv1.weight' is the first"),
        ("two networks", "holds 2 networks that fit: expected a file with the state dict of one of them"),
        ("an average beside", "holds 2 networks that fit"),
        ("the module itself", r"expected a state dict of tensors \(it holds objects of other kinds, .* may run code"),
        ("a list", "expected a state dict of tensors in .*, got a list without one"),
        ("cut", "cannot read weights in .*: expected a state dict of tensors"),
        ("a page of a website", r"cannot read weights in .*: expected a state dict of tensors \(torch.save did not"),
    ],
)
def test_other_weights_are_refused_in_a_sentence(damage: str, reason: str, tmp_path: Path) -> None:
    state = dict(resnet().state_dict())
    path = tmp_path / "weights.pth"
    wrong: dict[str, Any] = {
        "another network": lambda: models.resnet34().state_dict(),
        "a part more": lambda: {**state, "extra.weight": torch.zeros(2)},
        "NaN": lambda: {**state, "conv1.weight": state["conv1.weight"] * torch.nan},
        "two networks": lambda: {
            f"{part}.{key}": value * scale for part, scale in (("q", 1), ("k", 2)) for key, value in state.items()
        },
        "an average beside": lambda: {"model": state, "model_ema": {key: value * 2 for key, value in state.items()}},
        "the module itself": resnet,
        "a list": lambda: [1, 2],
        "cut": lambda: state,
    }
    if damage in wrong:
        torch.save(wrong[damage](), path)
    else:
        path.write_text("<html>not found</html>")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=reason) as refused:
        Backbone((3, 32, 32), K, "resnet18", str(path), frozen=True)
    assert "\n" not in str(refused.value) and "\x1b" not in str(refused.value)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "mobilenet_v3_small"])
def test_networks_by_name_can_be_cut_between_blocks(name: str) -> None:
    torch.manual_seed(0)
    whole = Backbone((3, 64, 64), K, name).eval()
    torch.manual_seed(0)
    cut = Backbone((3, 64, 64), K, name, trainable_blocks=2).eval()
    assert torch.allclose(cut(images()), whole(images()), rtol=1e-3, atol=1e-4)
    trained = {key for key, parameter in cut.named_parameters() if parameter.requires_grad}
    assert trained and all(key.startswith(("trunk.", "head.")) for key in trained)
    assert any(True for _ in cut.below.parameters())


def test_a_block_is_a_layer_with_its_normalisation() -> None:
    assert [[type(layer).__name__ for layer in block] for block in blocks_of(convolutions())] == [
        ["Conv2d", "ReLU"],
        ["Conv2d", "BatchNorm2d", "ReLU", "AdaptiveAvgPool2d", "Flatten"],
        ["Flatten", "Linear"],
    ]


def test_only_the_last_blocks_learn_and_no_running_statistics_move() -> None:
    network = Backbone((3, 16, 16), K, convolutions(), trainable_blocks=2).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(network(images(size=16)), torch.tensor([0, 1])).backward()
    optimizer.step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {
        f"{layer}.{part}" for layer in ("trunk.0.0", "trunk.0.1", "trunk.1.1", "head") for part in ("weight", "bias")
    }
    assert all(module.training for module in network.trunk.modules())


def test_what_lies_behind_the_frozen_part_learns_from_what_that_puts_out() -> None:
    whole = Backbone((3, 16, 16), K, convolutions(), trainable_blocks=1)
    h = whole.frozen_features(images(size=16))
    inner = Backbone(tuple(h.shape[1:]), K, convolutions(), trainable_blocks=1, inner=True)
    inner.head.load_state_dict(whole.head.state_dict())
    assert torch.equal(inner(h), whole(images(size=16)))
    assert sum(p.numel() for p in inner.parameters()) == 5 * 6 + 6 + 6 * K + K


class Skipping(nn.Module):
    """A network whose forward does more than to call its children in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.two(self.one(x))


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="Skipping cannot be cut: its forward does more"):
        Backbone((4,), K, Skipping(), trainable_blocks=1)
    with pytest.raises(ValueError, match="ShuffleNetV2 cannot be cut"):
        Backbone((3, 64, 64), K, "shufflenet_v2_x0_5", trainable_blocks=1)
    with pytest.raises(ValueError, match="expected between 1 and 2 trainable blocks of this Sequential, got 3"):
        Backbone((3, 16, 16), K, convolutions(), trainable_blocks=3)
    with pytest.raises(ValueError, match="expected frozen or trainable_blocks"):
        Backbone((3, 16, 16), K, convolutions(), frozen=True, trainable_blocks=1)
    with pytest.raises(ValueError, match="inner needs trainable_blocks"):
        Backbone((3, 16, 16), K, convolutions(), inner=True)

"""Pretrained networks: weights from files, the pixels they want, and which of their blocks are trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

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

"""The contract of every network found, and what is particular to some."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dreamer.config import registry
from dreamer.generators import VAEPerClass
from dreamer.networks import Featured, ResNet18
from dreamer.networks.base import module_bytes, reset_parameters

SHAPE, K = (1, 8, 8), 10
NAMES = [name for name in registry.names("networks") if name not in ("causal_lm", "decoder")]
"""All but those that read tokens, which have contracts of their own in test_causal_lm.py and test_decoder.py."""


def build(name: str) -> nn.Module:
    """A network in evaluation mode; one that classifies with a generator is attached to one."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())
    small: dict[str, dict[str, object]] = {
        "backbone": {"model": trunk},
        "random_fourier_lda": {"features": 200},
        "random_projection_ridge": {"features": 200},
        "resnet18": {"width": 16},
    }
    network = registry.resolve("networks", name)(SHAPE, K, **small.get(name, {}))
    if hasattr(network, "attach"):
        network.attach(VAEPerClass(SHAPE, K))
    return network.eval()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def network(name: str) -> nn.Module:
    return build(name)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_it_maps_samples_to_finite_logits_and_leaves_them_alone(network: nn.Module, x: torch.Tensor) -> None:
    before = x.clone()
    output = network(x)
    assert output.shape == (6, K) and output.dtype == torch.float32
    assert torch.equal(x, before)
    assert not output.isnan().any()


def test_an_output_depends_on_its_own_sample_alone(network: nn.Module, x: torch.Tensor) -> None:
    if hasattr(network, "attach"):
        pytest.skip("estimates a likelihood with random numbers of the batch")
    assert torch.allclose(network(x)[:2], network(x[:2]), atol=1e-5)


def test_features_and_classify_make_the_whole(network: nn.Module, x: torch.Tensor) -> None:
    if not isinstance(network, Featured):
        pytest.skip("cannot be entered behind its features")
    h = network.features(x)
    assert h.ndim == 2 and torch.equal(network.classify(h), network(x))


def test_the_same_seed_gives_the_same_network(name: str, x: torch.Tensor) -> None:
    first, second = build(name), build(name)
    assert torch.equal(first(x), second(x))


def test_its_state_is_restored_and_its_copy_gives_the_same_output(
    name: str, network: nn.Module, x: torch.Tensor
) -> None:
    again = build(name)
    for parameter in again.parameters():
        nn.init.zeros_(parameter)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(x), network(x)) and torch.equal(copy.deepcopy(network)(x), network(x))


def test_what_learns_by_gradient_learns_and_can_be_reset(name: str, x: torch.Tensor) -> None:
    network = build(name).train()
    own = list(network.parameters())
    if not any(parameter.requires_grad for parameter in own):
        pytest.skip("learns without gradients")
    y = torch.arange(6)
    if hasattr(network, "absorb"):
        network.absorb(x, y)
    optimizer = torch.optim.Adam(own, lr=0.01)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    learnt = copy.deepcopy(dict(network.named_parameters()))
    torch.manual_seed(1)
    reset_parameters(network)
    matrices = [key for key, value in learnt.items() if value.ndim > 1]
    assert matrices and not any(torch.equal(network.get_parameter(key), learnt[key]) for key in matrices)


def test_resnet18_is_the_published_one() -> None:
    """11.17 million weights with ten outputs, as the networks of that form have elsewhere."""
    assert sum(parameter.numel() for parameter in ResNet18((3, 32, 32), 10).parameters()) == 11_173_962
    assert ResNet18((3, 32, 32), 10).features(torch.rand(2, 3, 32, 32)).shape == (2, 512)
    assert module_bytes(ResNet18((3, 32, 32), 10, width=20)) < 5_000_000


def test_resnet18_refuses_what_is_no_image() -> None:
    with pytest.raises(ValueError, match=r"expected images of shape \(C, H, W\), got samples of \(64,\)"):
        ResNet18((64,), 10)

"""Numbers too small for their format are zero for a while, and only for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dreamer.core.denormals import flushed_denormals

pytestmark = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="the processor has no such switch")


@pytest.fixture(autouse=True)
def switch_as_it_was() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)


def tiny() -> float:
    return float(torch.tensor(1e-38) / 10)


def test_they_are_zero_within_and_not_after() -> None:
    assert tiny() > 0
    with flushed_denormals():
        assert tiny() == 0
    assert tiny() > 0


def test_a_switch_that_was_on_stays_on() -> None:
    torch.set_flush_denormal(True)
    with flushed_denormals():
        pass
    assert tiny() == 0


def test_an_error_puts_the_switch_back() -> None:
    with pytest.raises(KeyError), flushed_denormals():
        raise KeyError
    assert tiny() > 0


def test_steps_of_adam_are_the_same() -> None:
    """Weights after 1000 steps, of which all but the first have a gradient of zero for half of them."""

    def trained() -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.Linear(8, 4)
        optimizer = torch.optim.Adam(layer.parameters())
        for step in range(1000):
            x = torch.ones(2, 8)
            x[:, :4] = step == 0
            optimizer.zero_grad()
            layer(x).square().sum().backward()
            optimizer.step()
        return layer.weight.detach()

    plain = trained()
    with flushed_denormals():
        flushed = trained()
    assert torch.equal(plain, flushed)

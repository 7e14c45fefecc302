"""The small language model: it is causal, writes as it reads, learns, and refuses what it cannot read."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from dreamer.networks import Decoder, Embeds, Featured, Writer
from dreamer.networks.base import dummy_input, reset_parameters

T, V = 8, 11
KINDS = pytest.mark.parametrize("options", [{}, {"positions": "learned"}, {"tied": True}, {"context": 20}], ids=str)


def decoder(seed: int = 0, **options: Any) -> Decoder:
    torch.manual_seed(seed)
    return Decoder((T,), V, **{"width": 16, "layers": 2, "heads": 2} | options).eval()


def texts(count: int = 5) -> torch.Tensor:
    return torch.randint(V, (count, T), generator=torch.Generator().manual_seed(1))


@KINDS
def test_an_output_depends_on_the_tokens_up_to_its_own_alone(options: dict[str, Any]) -> None:
    network, x = decoder(**options), texts()
    output = network(x)
    assert output.shape == (5, T, V) and torch.isfinite(output).all()
    changed = x.clone()
    changed[:, 4] = (changed[:, 4] + 1) % V
    same = (network(changed) - output).abs().amin(dim=(0, 2)) == 0
    assert same[:4].all() and not same[4:].any()
    torch.testing.assert_close(network(x[:2]), output[:2])


@KINDS
def test_reading_on_gives_what_reading_at_once_gives(options: dict[str, Any]) -> None:
    network, x = decoder(**options), texts()
    with torch.no_grad():
        at_once = network(x)
        for first in (1, 3):
            cache = network.new_cache(len(x), T)
            torch.testing.assert_close(network.extend(x[:, :first], cache), at_once[:, first - 1])
            for place in range(first, T):
                torch.testing.assert_close(network.extend(x[:, place : place + 1], cache), at_once[:, place])


def test_several_tokens_can_follow_on_what_was_read() -> None:
    network, x = decoder(), texts()
    with torch.no_grad():
        cache = network.new_cache(len(x), T)
        network.extend(x[:, :3], cache)
        torch.testing.assert_close(network.extend(x[:, 3:6], cache), network(x)[:, 5])


@KINDS
def test_embeddings_enter_in_place_of_tokens(options: dict[str, Any]) -> None:
    network, x = decoder(**options), texts()
    assert isinstance(network, Embeds) and network.embed(x).shape == (5, T, 16)
    assert torch.equal(network(network.embed(x)), network(x))
    shift = torch.randn(5, T, 16, generator=torch.Generator().manual_seed(2))
    moved = copy.deepcopy(network)
    moved.embedding.register_forward_hook(lambda _, __, output: output + shift)
    assert torch.equal(network(network.embed(x) + shift), moved(x))


@KINDS
def test_it_learns_can_be_reset_and_copied(options: dict[str, Any]) -> None:
    network, x = decoder(**options).train(), texts()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(network(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    assert torch.equal(copy.deepcopy(network)(x), network(x))
    again = decoder(seed=3, **options)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(x), network.eval()(x))
    learnt = copy.deepcopy(network.state_dict())
    torch.manual_seed(1)
    reset_parameters(network)
    assert not any(torch.equal(network.state_dict()[key], learnt[key]) for key in learnt if learnt[key].ndim > 1)


def test_a_tied_decoder_has_one_matrix_less() -> None:
    counts = [sum(p.numel() for p in decoder(tied=tied).parameters()) for tied in (False, True)]
    assert counts[0] - counts[1] == 16 * V


def test_sizes_grow_and_can_be_overridden() -> None:
    counts = [sum(p.numel() for p in Decoder((T,), V, size=size).parameters()) for size in ("mini", "small", "medium")]
    assert counts == sorted(counts) and counts[0] > 0.9e5 and counts[2] > 4e6
    assert Decoder((T,), V, size="small", layers=1).shape == (128, 1, 4)


def test_it_writes_and_has_no_features() -> None:
    network = decoder()
    assert isinstance(network, Writer) and not isinstance(network, Featured)
    assert dummy_input(network, (T,)).dtype == torch.int64


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 8, 8), {}, "reads blocks of tokens"),
        ((8,), {"width": 20, "heads": 4}, "multiple of twice the heads"),
        ((8,), {"context": 7}, "context of at least 8"),
        ((8,), {"dropout": 1.0}, "dropout"),
        ((8,), {"layers": 0}, "layers"),
    ],
)
def test_what_it_cannot_be_is_one_sentence(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decoder(shape, V, **options)


def test_a_text_longer_than_its_context_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 8 tokens, the context of this Decoder, got 9"):
        decoder()(torch.zeros(1, 9, dtype=torch.int64))

"""A language model of transformers learns, writes, and shares what is frozen with its copies."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from dreamer.networks import CausalLM
from dreamer.networks.base import Frozen, module_bytes

pytest.importorskip("transformers")
pytest.importorskip("peft")

V, T = 30, 12
GPT2 = {"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": V}
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": V,
}
SMALL = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "vocab_size": V}
FAMILIES = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "tied": LLAMA | {"tie_word_embeddings": True},
    "gpt_neox": {"model_type": "gpt_neox", **SMALL},
    "qwen2": {"model_type": "qwen2", "num_key_value_heads": 1, **SMALL},
    "mistral": {"model_type": "mistral", "num_key_value_heads": 1, "sliding_window": 4, **SMALL},
    "opt": {"model_type": "opt", "ffn_dim": 32, "word_embed_proj_dim": 16, **SMALL},
}


def network(config: dict[str, Any] = LLAMA, **options: Any) -> CausalLM:
    torch.manual_seed(0)
    return CausalLM((T,), V, config, **options)


def tokens(count: int = 3) -> torch.Tensor:
    return torch.randint(V, (count, T), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lora", [None, 2])
def test_token_by_token_it_says_what_it_says_at_once(family: str, lora: int | None) -> None:
    learner, x = network(FAMILIES[family], lora=lora).eval(), tokens()
    cache = learner.new_cache(len(x), T)
    written = torch.stack([learner.extend(x[:, place : place + 1], cache) for place in range(T)], dim=1)
    torch.testing.assert_close(written, learner(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"lora": 2, "checkpointing": True}], ids=str)
def test_embeddings_enter_in_place_of_tokens(family: str, options: dict[str, Any]) -> None:
    learner, x = network(FAMILIES[family], **options).eval(), tokens()
    embedded = learner.embed(x)
    torch.testing.assert_close(learner(embedded), learner(x))
    moved = learner(embedded + 0.3 * torch.randn(embedded.shape, generator=torch.Generator().manual_seed(2)))
    assert (moved - learner(x)).abs().max() > 1e-4
    moved.sum().backward()
    weight = learner.model.get_input_embeddings().weight
    assert options or weight.grad.abs().sum() > 0


def test_a_model_without_attention_keeps_its_state_where_others_keep_keys_and_values() -> None:
    learner, x = network({"model_type": "mamba", "state_size": 4, **SMALL}).eval(), tokens()
    cache = learner.new_cache(len(x), T)
    if type(cache.layers[0]).__name__ != "LinearAttentionLayer":
        pytest.skip("this version of transformers has no cache for such layers")
    written = torch.stack([learner.extend(x[:, place : place + 1], cache) for place in range(T)], dim=1)
    torch.testing.assert_close(written, learner(x), atol=1e-5, rtol=1e-4)


def test_of_a_window_no_more_is_kept_than_is_seen() -> None:
    learner, x = network(FAMILIES["mistral"]).eval(), tokens()
    cache = learner.new_cache(len(x), T)
    for place in range(T):
        learner.extend(x[:, place : place + 1], cache)
    assert cache.layers[0].keys.shape[2] == 3  # with the token that is read, four


def test_copies_have_adapters_of_their_own_and_the_rest_in_common() -> None:
    learner = network(lora=2)
    first, second = Frozen(learner), copy.deepcopy(learner)
    held = {id(weight) for weight in learner.parameters()}
    for other in (first.network, second):
        assert isinstance(other, CausalLM)
        own = {name for name, weight in other.named_parameters() if id(weight) not in held}
        assert own == set(dict(learner.named_parameters())) - learner.common
        assert all("lora" in name for name in own)
    trained = [weight for weight in learner.parameters() if weight.requires_grad]
    assert 0 < first.nbytes == sum(tensor.nbytes for tensor in (*trained, *learner.buffers()))
    assert module_bytes(learner) > 2 * first.nbytes


def test_a_teacher_stays_as_it_was_while_the_learner_learns_and_can_follow_it() -> None:
    learner, x = network(lora=2), tokens()
    teacher = Frozen(learner)
    before = teacher(x)
    optimizer = torch.optim.SGD([weight for weight in learner.parameters() if weight.requires_grad], 1.0)
    for _ in range(3):
        loss = nn.functional.cross_entropy(learner(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(teacher(x), before)
    teacher.copy_from(learner)
    assert not torch.allclose(teacher(x), before)
    torch.testing.assert_close(teacher(x), learner.eval()(x))


@pytest.mark.parametrize("config", [GPT2, LLAMA, LLAMA | {"tie_word_embeddings": True}], ids=["gpt2", "llama", "tied"])
def test_its_state_is_that_of_the_adapters(config: dict[str, Any]) -> None:
    learner, other, x = network(config, lora=2), network(config, lora=2), tokens()
    with torch.no_grad():
        for weight in learner.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight))
    state = learner.state_dict()
    assert state and all("lora" in name for name in state)
    holder, empty = nn.ModuleDict({"learner": learner}), nn.ModuleDict({"learner": other})
    empty.load_state_dict(holder.state_dict())
    torch.testing.assert_close(other.eval()(x), learner.eval()(x))


@pytest.mark.parametrize("lora", [None, 2])
def test_it_begins_in_training_mode_whatever_it_was_given(lora: int | None) -> None:
    given = network().model.eval()
    learner = CausalLM((T,), V, given, lora=lora)
    assert all(part.training for part in learner.modules())


def test_a_whole_model_has_nothing_in_common_with_its_copies() -> None:
    learner = network()
    assert not learner.common
    assert {name for name, _ in learner.named_parameters()} <= set(learner.state_dict())
    copied = copy.deepcopy(learner)
    assert not {id(weight) for weight in learner.parameters()} & {id(weight) for weight in copied.parameters()}


def test_activations_computed_anew_give_the_same_gradients() -> None:
    x = tokens()
    found = []
    for checkpointing in (False, True):
        learner = network(lora=2, checkpointing=checkpointing).train()
        torch.manual_seed(3)
        learner(x).square().mean().backward()
        found.append({name: weight.grad for name, weight in learner.named_parameters() if weight.grad is not None})
    assert found[0] and found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"outputs": V + 1}, "the model has 30 tokens, the texts 31"),
        ({"sample_shape": (4096,)}, "reads 2048 tokens at most"),
        ({"model": {"model_type": "none"}}, "model_type"),
        ({"model": {"n_layer": 1}}, "model_type"),
        ({"model": "/no/such/folder"}, "/no/such/folder"),
        ({"model": nn.Linear(3, 4)}, "a causal language model"),
        ({"sample_shape": (3, 4)}, "blocks of tokens"),
        ({"lora": 0}, "lora"),
        ({"model": {"model_type": "rwkv", "num_hidden_layers": 2, "hidden_size": 8, "vocab_size": V}}, "no cache"),
        ({"model": {"model_type": "bert", "num_hidden_layers": 1, "vocab_size": V}}, "causal mask"),
    ],
)
def test_what_cannot_serve_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CausalLM(**{"sample_shape": (T,), "outputs": V, "model": LLAMA, **given})

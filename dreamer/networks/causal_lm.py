"""A language model of transformers as a learner, whole or with low-rank adapters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import above, at_least, fractions
from dreamer.core.modes import evaluating
from dreamer.core.transformers import cache_argument, new_cache, pretrained, recompute_activations, untrained, with_lora


class CausalLM(nn.Module):
    """A causal language model of ``transformers``: tokens in, logits of the next ones out.

    With ``lora`` all weights are frozen but those of low-rank adapters. Frozen weights are in memory once: a copy of
    the network, such as a dawn or dusk teacher, has adapters of its own and everything else in common with it. They are
    not in its state dict either, so a checkpoint holds the adapters alone and needs the same ``model`` again.

    Args:
        sample_shape: (T,), the tokens of a block.
        outputs: V, the size of the vocabulary; the model may have more, which are left out.
        model: a folder, a ``.gguf`` file or a name of the hub, whose weights are taken; or the mapping of a
            configuration with its ``model_type``, whose weights are random; or a model itself.
        lora: rank of the adapters on all linear layers but the last; None trains every weight.
        alpha: scale of what the adapters add, over their rank; None means twice the rank.
        lora_dropout: fraction of what the adapters read that is dropped in training, in [0, 1).
        checkpointing: compute activations anew in the backward pass, which saves memory and costs time.

    Raises:
        ValueError: when there is no such model, it looks ahead, or it is too small for the vocabulary or the block.

    >>> tiny = {"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 20}
    >>> network = CausalLM((16,), 20, tiny, lora=2)
    >>> network(torch.zeros(5, 16, dtype=torch.int64)).shape
    torch.Size([5, 16, 20])
    """

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        outputs: int,
        model: str | Mapping[str, Any] | nn.Module,
        lora: int | None = None,
        alpha: float | None = None,
        lora_dropout: float = 0.0,
        checkpointing: bool = False,
    ):
        super().__init__()
        at_least(1, lora=lora)
        above(0, alpha=alpha)
        fractions(lora_dropout=lora_dropout)
        if len(sample_shape) != 1:
            raise ValueError(
                f"CausalLM reads blocks of tokens of shape (T,), got samples of shape {tuple(sample_shape)}"
            )
        # what was loaded is in evaluation mode
        loaded = _model(model).train()
        _check(loaded, sample_shape[0], outputs)
        self.vocabulary = outputs
        # adapters of peft take whatever they are given
        self._cache_argument = cache_argument(getattr(loaded, "get_base_model", lambda: loaded)())
        if checkpointing:
            recompute_activations(loaded)
        if lora is not None:
            if checkpointing:
                # frozen embeddings have no gradient, and checkpoints need one at their entrance
                loaded.enable_input_require_grads()  # type: ignore[operator]
            loaded = with_lora(loaded, lora, 2.0 * lora if alpha is None else alpha, lora_dropout)
        self.model = loaded
        # an embedding that is the output layer too has two names
        every = self.named_parameters(remove_duplicate=False)
        self.common = frozenset(name for name, weight in every if not weight.requires_grad)
        """Names of the weights that all copies have in common."""
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_pre_hook(_fill_in)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T) int64 tokens, or their (B, T, D) embeddings, to (B, T, V) logits of the token behind each."""
        entering = {"inputs_embeds" if x.is_floating_point() else "input_ids": x}
        return self.model(**entering, use_cache=False).logits[..., : self.vocabulary]

    def embed(self, x: Tensor) -> Tensor:
        """Map (B, T) int64 tokens to their (B, T, D) embeddings."""
        return self.model.get_input_embeddings()(x)  # type: ignore[operator]

    def new_cache(self, count: int, length: int) -> Any:
        """Room for what texts leave behind when they are read; it grows with them."""
        return new_cache(self.model)

    def extend(self, tokens: Tensor, cache: Any) -> Tensor:
        """Read (B, t) further tokens into the cache; gives the (B, V) logits of the token behind the last."""
        found = self.model(input_ids=tokens, use_cache=True, logits_to_keep=1, **{self._cache_argument: cache})
        return found.logits[:, -1, : self.vocabulary]

    @property
    def common_bytes(self) -> int:
        """Bytes of the weights that all copies have in common."""
        return sum(weight.nbytes for name, weight in self.named_parameters() if name in self.common)

    def __deepcopy__(self, memo: dict[int, Any]) -> CausalLM:
        memo.update({id(weight): weight for name, weight in self.named_parameters() if name in self.common})
        made = self.__class__.__new__(self.__class__)
        memo[id(self)] = made
        made.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        return made


def _model(given: str | Mapping[str, Any] | nn.Module) -> nn.Module:
    if isinstance(given, nn.Module):
        return given
    return pretrained(given) if isinstance(given, str) else untrained(given)


@torch.no_grad()
def _check(model: nn.Module, length: int, outputs: int) -> None:
    """Refuse a model that cannot learn such blocks, with a ``ValueError``."""
    config: Any = getattr(model, "config", None)
    held = getattr(config, "vocab_size", None)
    if held is None:
        raise ValueError(f"expected a causal language model of transformers, got {type(model).__name__}")
    if held < outputs:
        raise ValueError(
            f"the model has {held} tokens, the texts {outputs}: expected the model's own tokeniser, and texts that "
            "add no tokens to it (opening='beginning', 'turn' or 'name' of a stream)"
        )
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and context < length:
        raise ValueError(f"the model reads {context} tokens at most, the texts are blocks of {length}")
    with evaluating(model):
        tokens = torch.tensor([[0, 0], [0, 1]], device=next(model.parameters()).device)
        first, second = model(input_ids=tokens, use_cache=False).logits[:, 0]
    if not torch.allclose(first, second, rtol=1e-3, atol=1e-4):
        raise ValueError(
            f"{type(model).__name__} sees the tokens that it is to predict: expected a model with a causal mask"
        )


def _leave_out(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    assert isinstance(module, CausalLM)
    for name in module.common:
        state.pop(prefix + name, None)


def _fill_in(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(module, CausalLM)
    own = dict(module.named_parameters(remove_duplicate=False))
    state.update({prefix + name: own[name].detach() for name in module.common if prefix + name not in state})

"""What is taken from transformers, tokenizers and peft; they are imported here alone, and where they are needed."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

EXTRA = "pip install 'dreamer[language]'"


def pretrained(model: str) -> nn.Module:
    """A causal language model with its weights, from a folder, a ``.gguf`` file, or the hub and its cache.

    Raises:
        ValueError: when there is none, or a library is missing.
    """
    with _reading(f"a language model, got {model!r}"):
        from transformers import AutoModelForCausalLM

        place, options = _place(model)
        # in the type of the learner's other weights; what a file has is often half as precise
        return AutoModelForCausalLM.from_pretrained(place, dtype="float32", **options)


def untrained(config: Mapping[str, Any]) -> nn.Module:
    """A causal language model with random weights.

    Args:
        config: ``model_type``, such as ``gpt2`` or ``llama``, and what its configuration is to differ in.

    Raises:
        ValueError: when there is no such model, or a library is missing.
    """
    options = dict(config)
    kind = options.pop("model_type", None)
    with _reading(f"the configuration of a language model with its model_type, got {dict(config)}"):
        from transformers import AutoConfig, AutoModelForCausalLM

        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **options))


def with_lora(model: nn.Module, rank: int, alpha: float, dropout: float) -> nn.Module:
    """The model with low-rank adapters on all its linear layers but the last; all other weights are frozen.

    Source: Hu et al. 2021, arXiv 2106.09685; the library ``peft``.
    """
    with _reading("a model that takes low-rank adapters"), warnings.catch_warnings():
        # what peft has to catch up with in transformers is theirs to mend, and the layers of GPT-2 are told apart right
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        from peft import LoraConfig, get_peft_model

        # peft says int, and takes any number
        scale: Any = alpha
        wanted = LoraConfig(
            r=rank, lora_alpha=scale, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        return get_peft_model(model, wanted)


def recompute_activations(model: nn.Module) -> None:
    """Let a model keep few activations and compute the others anew in the backward pass."""
    new: Any = getattr(model, "activation_checkpointing_enable", None)
    (new or model.gradient_checkpointing_enable)()  # type: ignore[operator]


def cache_argument(model: nn.Module) -> str:
    """What the model's ``forward`` calls a cache; a ``ValueError`` when it takes none."""
    named = inspect.signature(model.forward).parameters
    for name in ("cache", "past_key_values"):
        if name in named:
            return name
    raise ValueError(
        f"{type(model).__name__} takes no cache, without which it cannot write token by token: expected a causal "
        f"language model with one, got forward({', '.join(named)})"
    )


def new_cache(model: nn.Module) -> Any:
    """Room for what a model keeps of what it has read: keys and values, all or of a window, or the state of a layer."""
    from transformers import DynamicCache

    # older versions keep the keys and values of everything
    knows_layers = "config" in inspect.signature(DynamicCache.__init__).parameters
    config: Any = model.config
    return DynamicCache(config=config) if knows_layers else DynamicCache()


def tokeniser(name: str) -> Any:
    """A tokeniser, from a folder, a ``.gguf`` file, or the hub and its cache; a ``ValueError`` when there is none."""
    with _reading(f"the folder or name of a tokeniser, got {name!r}"):
        from transformers import AutoTokenizer

        place, options = _place(name)
        return AutoTokenizer.from_pretrained(place, **options)


def chat(tokeniser: Any, turns: Iterable[tuple[str, str]], opened: bool) -> str:
    """Turns of who speaks and what is said, as a chat template writes them; a ``ValueError`` when it refuses them."""
    from jinja2.exceptions import TemplateError

    messages = [{"role": role, "content": said} for role, said in turns]
    try:
        return str(tokeniser.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened))
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages) or "no turns"
        raise ValueError(f"the tokeniser's chat template refuses a conversation of {roles}: {error}") from error


def byte_pairs(lines: Iterable[str], size: int) -> Any:
    """Byte-level pairs, trained; a ``tokenizers.Tokenizer``."""
    with _reading("tokenizers"):
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        pairs = Tokenizer(models.BPE())
        pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        pairs.train_from_iterator(
            lines, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        )
        return pairs


def _place(name: str) -> tuple[str, dict[str, Any]]:
    path = Path(name)
    return (str(path.parent), {"gguf_file": path.name}) if path.suffix == ".gguf" else (name, {})


@contextmanager
def _reading(expected: str) -> Iterator[None]:
    """Turn what a library raises into one sentence: what was expected, and the first line of why not."""
    try:
        yield
    except ImportError as error:
        missing = error.name or expected
        raise ValueError(f"language models need {missing}, which is not installed: {EXTRA}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"expected {expected}: {first}") from error

"""A language model and a tokeniser of a few thousand weights, and a module round them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from dreamer.core.transformers import byte_pairs, with_lora

V, LONG = 300, 12
WORDS = ("the cat sat on the mat and the dog lay by the door. ", "le chat dort sur le lit et le chien sous la table. ")
CHAT = "{% for m in messages %}<start>{{ m['role'] }}: {{ m['content'] }}<end>{% endfor %}"


def tokeniser(chat: bool = False, beginning: bool = True) -> Any:
    """Byte pairs of ``transformers`` with two marks, V tokens in all."""
    import transformers

    pairs = byte_pairs([word * 20 for word in WORDS], V - 2)
    marks = {"bos_token": "<start>", "eos_token": "<end>"} if beginning else {}
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=pairs, **marks)
    made.chat_template = CHAT if chat else None
    return made


def llama(vocabulary: int = V, lora: bool = False, **options: Any) -> nn.Module:
    """A Llama with random weights; with adapters of ``peft``, whose other weights are frozen."""
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(4)
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = transformers.LlamaConfig(vocab_size=vocabulary, **(sizes | options))
        model = transformers.AutoModelForCausalLM.from_config(config)
        return with_lora(model, 2, 4.0, 0.0) if lora else model


def rows(domain: int = 0, count: int = 20) -> list[dict[str, torch.Tensor]]:
    """Texts of a domain as a tokeniser gives them, some padded on the right."""
    ids = tokeniser()((WORDS[domain] * 40), add_special_tokens=False)["input_ids"]
    made = []
    for number in range(count):
        tokens = torch.tensor(ids[number : number + LONG])
        mask = torch.ones_like(tokens)
        if number % 5 == 4:
            mask[9:] = 0
        made.append({"input_ids": tokens, "attention_mask": mask, "labels": tokens.masked_fill(mask == 0, -100)})
    return made


def loader(domain: int = 0, **options: Any) -> DataLoader[Any]:
    return DataLoader(rows(domain), **({"batch_size": 4} | options))  # type: ignore[arg-type]


def language_module(pl: Any, model: nn.Module, lr: float = 1e-3) -> Any:
    """A module as scripts have it: the model's own loss of a mapping."""

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss: torch.Tensor = self.model(**batch).loss
            self.log("train/loss", loss, sync_dist=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val/loss", self.model(**batch).loss, sync_dist=True)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            trained = [weight for weight in self.parameters() if weight.requires_grad]
            return torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)

    return Module()

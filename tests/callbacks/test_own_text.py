"""A language model in a script of one's own sleeps on what its own copies write."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from dreamer import NREM, OwnText, SleepCallback
from dreamer.callbacks.sleep.own_text import BEFORE, DAY
from dreamer.callbacks.sleep.text_epochs import language_model
from dreamer.perturbations import Embedded, Mixup, ShuffleSegments
from tests.helpers.tiny_llama import V, language_module, llama, loader, tokeniser

pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")
TOKENISER = tokeniser()


def fit(callback: Any, module: Any = None, data: Any = None, **options: Any) -> Any:
    module = language_module(pl, llama(lora=True)) if module is None else module
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(callbacks=[callback], enable_checkpointing=False, **{"max_epochs": 2, **quiet, **options})
    trainer.fit(module, loader() if data is None else data)
    return module


def as_it_is(batch: Any) -> DataLoader[Any]:
    return DataLoader([batch], batch_size=None)  # type: ignore[arg-type]


class Steps(pl.Callback):
    """What is seen of every batch."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.losses: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch)
        self.losses.append(outputs["loss"])


def own(**options: Any) -> OwnText:
    return OwnText(TOKENISER, **({"length": 10, "opening": 3} | options))


def test_the_tokeniser_is_all_it_needs() -> None:
    callback = SleepCallback(generator=OwnText(TOKENISER))
    steps = Steps()
    module = language_module(pl, llama(lora=True))
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=2, callbacks=[callback, steps], enable_checkpointing=False, **quiet)
    trainer.fit(module, loader())
    assert trainer.global_step == 2 * (5 + 5), "a night as long as the day after each"
    day, night = steps.batches[0], steps.batches[5]
    assert day["input_ids"].shape == (4, 12) and night["input_ids"].shape == (4, 128)
    assert night["attention_mask"].all() and (night["labels"][:, 0] == -100).all()
    counted = night["labels"] != -100
    assert torch.equal(night["labels"][counted], night["input_ids"][counted])
    assert "training_step" not in vars(module), "the module is left as it was"


@pytest.mark.parametrize(("how", "steps"), [({}, 2), ({"replay": 2}, 1)], ids=["nights", "by day"])
def test_a_quick_look_has_a_night_where_nights_come(how: dict[str, Any], steps: int) -> None:
    callback = SleepCallback([NREM(2, 4)], generator=own(**how))
    assert fit(callback, fast_dev_run=True).trainer.global_step == steps


def test_dawn_writes_of_what_was_known_and_dusk_of_the_day() -> None:
    text = own()
    callback = SleepCallback([NREM(2, 8)], generator=text)
    before = {name: weight.clone() for name, weight in llama(lora=True).state_dict().items()}
    module = fit(callback, max_epochs=1)
    dawn, dusk = callback._copies.dawn.network.model, callback._copies.dusk.network.model
    for name, weight in dawn.state_dict().items():
        assert torch.equal(weight, before[name]), "as before the training"
    changed = [n for n, weight in dusk.state_dict().items() if not torch.equal(weight, before[n])]
    assert changed and all("lora" in name for name in changed)
    assert any(not torch.equal(weight, dusk.state_dict()[name]) for name, weight in module.model.state_dict().items())
    first = text.writer.write(torch.tensor([BEFORE, DAY] * 20), torch.Generator().manual_seed(0))
    start = text.tokens.openings[0][0]
    assert (first.x[::2, 0] == start).all()
    kept = {tuple(row.tolist()) for row in text.memory.held["x"]}
    assert {tuple(row.tolist()) for row in first.x[1::2, :3]} <= kept
    assert (first.y[1::2, :2] == -100).all() and (first.y[1::2, 2:] != -100).all(), "what was given does not count"
    assert text.nbytes >= 20 * 3 * 8, "openings of the day are counted"


def test_frozen_weights_are_in_memory_once() -> None:
    callback = SleepCallback([NREM(1, 4)], generator=own())
    module = fit(callback, max_epochs=1)
    held = {id(weight) for weight in module.parameters()}
    for copied in (callback._copies.dawn, callback._copies.dusk):
        assert all(id(w) in held for n, w in copied.network.named_parameters() if "lora" not in n)
        assert not any(id(w) in held for n, w in copied.network.named_parameters() if "lora" in n)


@pytest.mark.parametrize("how", [{"schedule": 1}, {"replay": 6}], ids=["nights", "by day"])
def test_it_keeps_its_words_where_it_would_have_lost_them(how: dict[str, Any]) -> None:
    """Held-out loss of the language that it knew, after it has learnt another."""

    def loss(module: Any) -> float:
        batch = next(iter(loader(0, batch_size=20)))
        with torch.no_grad():
            return float(module.model.eval()(**batch).loss)

    model = llama(hidden_size=32, intermediate_size=64)

    def trained(domain: int, epochs: int, *callbacks: Any) -> float:
        module = language_module(pl, model, lr=0.01)
        return loss(fit(*callbacks or (pl.Callback(),), module, loader(domain), max_epochs=epochs))

    known = trained(0, 10)
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    forgotten = trained(1, 4)
    model.load_state_dict(state)
    text = own(prompts=["the", "the cat"], replay=how.get("replay", 0))
    kept = trained(1, 4, SleepCallback([NREM(15, 16)], generator=text, schedule=how.get("schedule")))
    assert forgotten > known + 2, "a hard day"
    assert kept < known + 0.5 * (forgotten - known)


def test_the_loss_of_a_night_is_the_divergence_from_the_writers_words() -> None:
    steps = Steps()
    callback = SleepCallback([NREM(3, 8)], generator=own(logits=V, opening=0))
    module = language_module(pl, llama(lora=True), lr=0.0)
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    pl.Trainer(max_epochs=1, callbacks=[callback, steps], enable_checkpointing=False, **quiet).fit(module, loader())
    assert all(abs(float(loss)) < 1e-5 for loss in steps.losses[5:]), "nothing was learnt, so nothing is to be unlearnt"
    assert all(float(loss) > 1 for loss in steps.losses[:5])


def test_replay_by_day_adds_its_loss_to_that_of_the_module_and_brings_no_night() -> None:
    def run(**options: Any) -> Steps:
        steps = Steps()
        module = language_module(pl, llama(lora=True), lr=0.05)
        quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        callback = SleepCallback(generator=own(opening=0, **options), schedule=None if options else 99)
        pl.Trainer(max_epochs=1, callbacks=[callback, steps], enable_checkpointing=False, **quiet).fit(module, loader())
        return steps

    plain, replayed = run(), run(replay=4, weight=50.0)
    assert len(plain.losses) == len(replayed.losses) == 5
    torch.testing.assert_close(plain.losses[0], replayed.losses[0], atol=1e-3, rtol=1e-3)  # a copy says what it says
    assert float(replayed.losses[-1]) != float(plain.losses[-1])


def test_gradient_checkpointing_and_half_precision_train_too() -> None:
    model = llama(lora=True)
    model.gradient_checkpointing_enable() if not hasattr(model, "activation_checkpointing_enable") else (
        model.activation_checkpointing_enable()
    )
    model.enable_input_require_grads()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    module = fit(
        SleepCallback([NREM(2, 4)], generator=own()), language_module(pl, model, lr=0.05), precision="bf16-true"
    )
    changed = [
        name for name, weight in module.model.state_dict().items() if not torch.equal(weight, before[name].to(weight))
    ]
    assert changed and all("lora" in name for name in changed)


def test_an_empty_turn_of_the_user_opens_where_there_is_a_chat_template() -> None:
    chatting = OwnText(tokeniser(chat=True), length=20)
    assert [chatting.tokens.write(opening) for opening in chatting.tokens.openings] == ["<start>", "<start>user: "]
    assert OwnText(TOKENISER, prompts=["the", "the dog"]).nbytes == len("thethe dog")


def test_padding_on_either_side_is_no_opening() -> None:
    ids = torch.tensor([[0, 0, 5, 6, 7], [8, 9, 10, 0, 0], [1, 0, 0, 0, 0]])
    batch = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    assert own(opening=2).openings_of(batch).tolist() == [[5, 6], [8, 9]]


def test_padding_without_a_mask_is_refused() -> None:
    padding = tokeniser()
    padding.pad_token = "<end>"
    text = OwnText(padding, length=10, opening=2)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, padding.pad_token_id, padding.pad_token_id]])
    with pytest.raises(ValueError, match="texts are padded, and the batch has no attention_mask"):
        text.openings_of({"input_ids": ids})
    with pytest.raises(ValueError, match="texts are padded, and the batch has no attention_mask"):
        text.openings_of({"input_ids": ids.flip(1)})
    mask = (ids != padding.pad_token_id).long()
    assert text.openings_of({"input_ids": ids, "attention_mask": mask}).tolist() == [[5, 6], [9, 10]]
    assert text.openings_of({"input_ids": ids[:1]}).tolist() == [[5, 6]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: own(opening=10), "expected a length of more than the 10 tokens of an opening, got 10"),
        (lambda: own(prompts=[]), "expected prompts with at least one token each"),
        (lambda: OwnText(tokeniser(beginning=False)), "neither a mark of beginning or end nor a chat template"),
        (lambda: own(weight=0), "expected weight above 0"),
        (
            lambda: own(prompts=["the cat sat on the mat and the dog lay by the door"]),
            "openings and prompts of at most 10 tokens",
        ),
        (
            lambda: fit(SleepCallback(generator=own()), data=as_it_is((torch.zeros(2, 3),))),
            "expects batches with input_ids.*got list",
        ),
        (
            lambda: fit(SleepCallback(generator=own()), data=as_it_is({"ids": torch.zeros(2, 3)})),
            "expects batches with input_ids, as tokenisers give them, got the keys 'ids'",
        ),
        (
            lambda: fit(SleepCallback(generator=own()), language_module(pl, llama(V - 20))),
            "the model has 280 tokens, the texts 300: expected the model's own tokeniser",
        ),
        (
            lambda: fit(SleepCallback(generator=own()), language_module(pl, llama(max_position_embeddings=8))),
            "the model reads 8 tokens at most, the texts are blocks of 10",
        ),
        (
            lambda: fit(SleepCallback(generator=own(model="net"))),
            "OwnText: Module has no module 'net'",
        ),
        (
            lambda: fit(
                SleepCallback(generator=own()),
                data=as_it_is({"input_ids": torch.full((2, 4), V + 5)}),
            ),
            "the batch has token 305, the tokeniser 300: expected the tokeniser of the model",
        ),
        (
            lambda: language_model(torch.nn.Linear(2, 2), None),
            "found no causal language model of transformers in Linear",
        ),
    ],
)
def test_what_makes_no_sense_is_one_sentence(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_perturbations_of_texts_serve_its_nights_and_those_of_images_do_not() -> None:
    fit(SleepCallback([NREM(2, 4, perturbations=[ShuffleSegments(), Embedded()])], generator=own()), max_epochs=1)
    with pytest.raises(ValueError, match="Embedded mixes whole distributions, but OwnText keeps the most likely"):
        SleepCallback([NREM(perturbations=[Embedded(Mixup())])], generator=own())
    with pytest.raises(ValueError, match="Embedded perturbs embeddings of texts, but nothing that is replayed"):
        SleepCallback([NREM(perturbations=[Embedded()])])
    with pytest.raises(ValueError, match="LatentMixing perturbs a generator's latent numbers"):
        from dreamer.perturbations import LatentMixing

        SleepCallback([NREM(perturbations=[LatentMixing()])], generator=own())

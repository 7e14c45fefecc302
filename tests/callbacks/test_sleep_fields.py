"""What belongs to a sample beside its target stays with it at night: masks, lengths, names, weights."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dreamer import NREM, SleepCallback
from dreamer.callbacks.sleep.batch_fields import BatchFields
from dreamer.generators import ClassConditionalVAE
from dreamer.memory import Reservoir
from tests.callbacks.test_sleep import QUIET, samples

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


class Texts(pl.LightningModule):
    """Counts tokens under the mask, and keeps what it was shown asleep."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 4)
        self.shown: list[dict[str, Any]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        if any(getattr(callback, "asleep", False) for callback in self.trainer.callbacks):
            self.shown.append(batch)
        total = (batch["input_ids"] * batch["attention_mask"]).sum(dim=1, keepdim=True).float()
        return nn.functional.cross_entropy(self.layer(total / 100), batch["labels"])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def text(number: int) -> dict[str, Any]:
    """The n-th text has n tokens of the value n."""
    return {"input_ids": torch.full((number,), number), "labels": number % 4, "name": f"text {number}"}


def padded(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch as long as its longest text, as collators of tokenisers make it."""
    ids = nn.utils.rnn.pad_sequence([row["input_ids"] for row in rows], batch_first=True)
    return {
        "input_ids": ids,
        "attention_mask": (ids > 0).long(),
        "labels": torch.tensor([row["labels"] for row in rows]),
        "name": [row["name"] for row in rows],
        "epoch": 3,
    }


def loader(numbers: range = range(1, 13)) -> DataLoader:
    return DataLoader([text(number) for number in numbers], batch_size=4, collate_fn=padded)  # type: ignore[arg-type]


def train(callback: SleepCallback, data: Any, epochs: int = 2, **options: Any) -> Texts:
    torch.manual_seed(0)
    module = Texts()
    pl.Trainer(max_epochs=epochs, callbacks=[callback], **QUIET).fit(module, data, **options)
    return module


def sleep(**options: Any) -> SleepCallback:
    where = {"inputs": "input_ids", "targets": "labels", "schedule": 1}
    return SleepCallback([NREM(5, batch_size=6)], **(where | options))  # type: ignore[arg-type]


def check(batch: dict[str, Any]) -> None:
    lengths = batch["attention_mask"].sum(dim=1)
    for ids, mask, label, name, length in zip(
        batch["input_ids"], batch["attention_mask"], batch["labels"], batch["name"], lengths.tolist(), strict=True
    ):
        assert ids[mask.bool()].tolist() == [length] * length
        assert not ids[~mask.bool()].any()
        assert (int(label), name) == (length % 4, f"text {length}")
    assert batch["epoch"] == 3


@pytest.mark.parametrize("inputs", ["input_ids", ["input_ids", "attention_mask"]])
def test_masks_and_names_of_padded_texts_are_those_of_their_sample(inputs: Any) -> None:
    module = train(sleep(inputs=inputs), loader())
    assert len(module.shown) == 10
    for batch in module.shown:
        check(batch)
    assert len({batch["input_ids"].shape[1] for batch in module.shown}) > 1
    seen = {name for batch in module.shown for name in batch["name"]}
    assert len(seen) > 8


def test_resumed_in_a_night_they_still_are(tmp_path: Any) -> None:
    class Save(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 5:
                trainer.save_checkpoint(tmp_path / "at.ckpt")

    torch.manual_seed(0)
    whole = Texts()
    pl.Trainer(max_epochs=1, callbacks=[sleep(), Save()], **QUIET).fit(whole, loader())
    torch.load(tmp_path / "at.ckpt", weights_only=True)
    module = train(sleep(), loader(), epochs=1, ckpt_path=tmp_path / "at.ckpt")
    assert len(module.shown) == 3
    for one, two in zip(whole.shown[2:], module.shown, strict=True):
        check(two)
        assert torch.equal(one["input_ids"], two["input_ids"]) and one["name"] == two["name"]


def test_a_second_fit_keeps_them() -> None:
    callback = sleep()
    train(callback, loader(), epochs=1)
    for batch in train(callback, loader(range(5, 17)), epochs=1).shown:
        check(batch)


def test_targets_of_each_token_are_filled_up_with_what_the_loss_leaves_out() -> None:
    memory = Reservoir(4)
    rng = torch.Generator().manual_seed(0)
    memory.add(
        torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.int64), rng, group=torch.zeros(2).long()
    )
    memory.add(
        torch.ones(2, 5, dtype=torch.int64), torch.ones(2, 5, dtype=torch.int64), rng, group=torch.zeros(2).long()
    )
    drawn = memory.draw(4, rng)
    assert drawn.x.sum(dim=1).sort().values.tolist() == [3, 3, 5, 5]
    assert (drawn.y == -100).sum() == 4


class Recordings(pl.LightningModule):
    """Sums steps, and keeps what it was shown asleep."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 4)
        self.shown: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if any(getattr(callback, "asleep", False) for callback in self.trainer.callbacks):
            self.shown.append(batch)
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.sum(dim=1))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def recordings(with_lengths: bool) -> DataLoader:
    def collate(lengths: list[int]) -> tuple[torch.Tensor, ...]:
        x = nn.utils.rnn.pad_sequence([torch.full((length, 2), 0.5) for length in lengths], batch_first=True)
        batch = x, torch.tensor(lengths) % 4, torch.tensor(lengths)
        return batch if with_lengths else batch[:2]

    return DataLoader(range(1, 13), batch_size=4, collate_fn=collate)  # type: ignore[arg-type]


def test_steps_that_are_padded_stay_with_their_lengths() -> None:
    def fit(callback: SleepCallback, with_lengths: bool = True) -> list[Any]:
        module = Recordings()
        pl.Trainer(max_epochs=2, callbacks=[callback], **QUIET).fit(module, recordings(with_lengths))
        return module.shown

    callback = SleepCallback([NREM(5, batch_size=6)], schedule=1)
    # a further fit goes on with the memory of the first
    for x, y, lengths in [*fit(callback), *fit(callback)]:
        assert torch.equal(x.sum(dim=(1, 2)).long(), lengths) and torch.equal(y, lengths % 4)
        assert x.shape[1] == lengths.max()
    with pytest.raises(ValueError, match=r"got .4, 2. first and .8, 2. now; padded steps need a mask or lengths"):
        fit(SleepCallback([NREM(5)], schedule=1), with_lengths=False)


def test_a_number_that_looks_like_a_length_in_the_first_batch_cuts_nothing() -> None:
    class Rows(Recordings):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(12, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    month = torch.arange(12, 0, -1).repeat_interleave(4)
    rows = TensorDataset(1 + torch.rand(48, 12), torch.arange(48) % 3, month)
    module = Rows()
    callback = SleepCallback([NREM(20, batch_size=1)], schedule=1)
    pl.Trainer(max_epochs=1, callbacks=[callback], **QUIET).fit(module, DataLoader(rows, batch_size=4))
    assert len(module.shown) == 20 and {x.shape[1] for x, _, _ in module.shown} == {12}


def test_images_of_other_sizes_are_no_sequences() -> None:
    class Pictures(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 10)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.layer(batch[0].mean(dim=(1, 2, 3))[:, None]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    batches = [(torch.rand(4, 1, side, side), torch.arange(4)) for side in (8, 9)]
    with pytest.raises(ValueError, match=r"samples of one shape, got \(1, 8, 8\) first and \(1, 9, 9\) now"):
        pl.Trainer(max_epochs=1, callbacks=[SleepCallback()], **QUIET).fit(Pictures(), DataLoader(batches, None))


X, Y = torch.arange(12.0).view(4, 3), torch.arange(4)


@pytest.mark.parametrize(
    "extra", [torch.arange(4), ["a", "bö", "", "d"], (0.5, 1.5, 2.5, 3.5), [True, False, True, True]]
)
def test_fields_of_each_sample_travel(extra: Any) -> None:
    fields = BatchFields(0, 1, "keep")
    batch = (X, Y, {"deep": extra})
    others = fields.read_others(batch)
    assert list(others) == ["batch[2]['deep']"]
    order = torch.tensor([2, 0])
    dream = fields.rebuild(batch, X[order], Y[order], {name: column[order] for name, column in others.items()})
    assert type(dream[2]["deep"]) is type(extra)
    assert list(dream[2]["deep"]) == [extra[2], extra[0]]


def test_two_tensors_of_two_samples_are_two_fields() -> None:
    fields = BatchFields(lambda batch: batch[0][0], 1, "keep")
    batch = ([X[:2], Y[:2]], Y[:2])
    assert list(fields.read_others(batch)) == ["batch[0][1]"]


def test_what_cannot_be_kept_is_refused() -> None:
    boxes = [{"box": torch.rand(2, 4)} for _ in range(4)]
    with pytest.raises(
        ValueError, match=r"batch\[2\] has an entry for every sample, a dict, which a memory cannot keep"
    ):
        BatchFields(0, 1, "keep").read_others((X, Y, boxes))
    fields = BatchFields(0, 1, "keep")
    fields.read_others((X, Y, torch.arange(4)))
    with pytest.raises(
        ValueError, match=r"batch\[2\] had an entry for every sample in the first batch, and has not now"
    ):
        fields.read_others((X[:2], Y[:2], torch.arange(4)))
    # what came to have as many entries by chance belongs to no sample
    chance = BatchFields(0, 1, "keep")
    chance.read_others((X, Y, torch.arange(3)))
    assert chance.read_others((X[:3], Y[:3], torch.arange(3))) == {}
    assert torch.equal(chance.rebuild((X[:3], Y[:3], torch.arange(3)), X[:2], Y[:2])[2], torch.arange(3))


def test_a_generator_has_no_fields() -> None:
    data = DataLoader([(x, y, float(y)) for x, y in samples(range(2))], batch_size=8)

    class Weighted(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            x, y, weight = batch
            return (weight * nn.functional.cross_entropy(self.layer(x.flatten(1)), y, reduction="none")).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    def fit(source: Any) -> None:
        generator = ClassConditionalVAE((1, 8, 8), 10, latent_dim=2, hidden=[8])
        callback = SleepCallback([NREM(2, source=source)], generator=generator, schedule=1)
        pl.Trainer(max_epochs=1, callbacks=[callback], **QUIET).fit(Weighted(), data)

    with pytest.raises(ValueError, match=r"batch\[2\] has an entry for every sample, and no generator dreams of one"):
        fit("both")
    fit("memory")

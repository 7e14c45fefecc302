"""Labels and containers as people have them: understood, or refused with the cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from dreamer.streams import from_datasets, from_tensors, split_stream
from dreamer.streams.labels import label_of

X = np.random.RandomState(0).rand(40, 4)
Y = np.arange(40) % 4
NAMES = np.array(["bee", "cat", "ant", "dog"])[Y]


def labels_of(y: Any, x: Any = X) -> tuple[list[int], tuple[str, ...]]:
    stream = from_tensors(x, y, x, y, experiences=1, validation=0.0)
    return stream.experiences[0].train.y.tolist(), stream.class_names


@pytest.mark.parametrize(
    "y",
    [
        Y.astype(float),
        np.eye(4)[Y],
        np.eye(4, dtype=bool)[Y],
        Y.astype(np.uint16),
        Y[:, None],
        Y.tolist(),
        torch.from_numpy(Y).to(torch.uint8),
    ],
)
def test_numbers_of_any_type_are_labels(y: Any) -> None:
    assert labels_of(y) == (Y.tolist(), ("0", "1", "2", "3"))


@pytest.mark.parametrize("y", [NAMES, NAMES.tolist(), NAMES.astype(object), NAMES.astype(bytes)])
def test_texts_are_numbered_in_their_order_and_kept(y: Any) -> None:
    numbers, names = labels_of(y)
    assert names == ("ant", "bee", "cat", "dog")
    assert [names[number] for number in numbers] == NAMES.tolist()


def test_frames_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(kind=NAMES)
    stream = from_tensors(frame[list("abcd")], frame["kind"], experiences=2)
    assert stream.sample_shape == (4,) and stream.class_names == ("ant", "bee", "cat", "dog")
    with pytest.raises(ValueError, match="expected x to hold numbers, got other values in the column 'kind'"):
        from_tensors(frame, frame["kind"], experiences=2)


def test_arrays_that_may_not_be_written_to_are_copied() -> None:
    x, y = X.astype(np.float32), Y.copy()
    x.flags.writeable = y.flags.writeable = False
    train = from_tensors(x, y, experiences=2).experiences[0].train
    assert not np.shares_memory(train.x.numpy(), x)


def test_whole_numbers_of_16_bits_are_samples() -> None:
    stream = from_tensors((60000 * X).astype(np.uint16), Y, experiences=2)
    batch = next(iter(stream.experiences[0].train.batches([torch.arange(3)])))
    assert batch.x.dtype == torch.int32 and int(batch.x.max()) > 32767


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y + 0.5, "stream 'tensors': expected y to hold one integer label >= 0 per sample, got 0.5"),
        (Y - 1, "one integer label >= 0 per sample, got -1"),
        (np.ones((40, 4)), "to be one-hot"),
        (np.zeros((40, 2, 2)), "one label for each sample, a whole number or a text"),
        ([None] * 40, "one label for each sample, a whole number or a text, got object"),
    ],
)
def test_what_is_no_label_is_said(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels_of(y)


def test_a_class_that_training_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match="expected test_y to have the classes ant, bee, cat, dog, got 'eel' too"):
        from_tensors(X, NAMES, X[:2], ["ant", "eel"], experiences=1)


IMAGE = torch.rand(3, 4, 4)


@pytest.mark.parametrize(
    ("item", "label"),
    [
        ((IMAGE, 3), 3),
        ((IMAGE, "12.png", 3), 3),
        ((IMAGE, "cat"), "cat"),
        ((IMAGE, 3.0, "cat"), 3),
        ((IMAGE, torch.tensor([0, 0, 1])), 2),
        ((IMAGE, np.uint16(3)), 3),
        ((IMAGE, IMAGE), None),
        (IMAGE, None),
    ],
)
def test_the_label_of_an_item(item: Any, label: Any) -> None:
    assert label_of(item) == label


def test_items_with_texts_share_their_names_over_experiences() -> None:
    def items(*names: str) -> list[Any]:
        return [(torch.rand(2), name) for name in names for _ in range(5)]

    stream = from_datasets([(items("cat", "ant"), items("cat", "ant")), (items("bee", "dog"), items("bee"))])  # type: ignore[list-item]
    assert stream.class_names == ("ant", "bee", "cat", "dog")
    assert stream.class_order == ((0, 2), (1, 3))


def test_of_a_file_name_and_a_class_in_an_item_the_class_is_the_label() -> None:
    def items(*numbers: int) -> list[Any]:
        return [(torch.rand(2), f"{number}.png", ("ant", "bee")[number % 2]) for number in numbers]

    # two test samples alone would not tell
    stream = from_datasets([(items(*range(8)), items(8, 9))], validation=0.0)  # type: ignore[list-item]
    assert stream.class_names == ("ant", "bee")
    assert stream.experiences[0].test.y.tolist() == [0, 1]
    alone = [(torch.rand(2), "ant", "red"), (torch.rand(2), "bee", "blue")]
    with pytest.raises(ValueError, match="not clear which of the texts in an item, such as 'ant' and 'red'"):
        from_datasets([(alone, [])])  # type: ignore[list-item]


@pytest.mark.parametrize("behind", ["one source", "two parts", "fewer values", "a gap"])
def test_the_first_text_of_an_item_is_the_label_whatever_stands_behind_it(behind: str) -> None:
    def items(part: str) -> list[Any]:
        texts = {
            "one source": lambda number: "kaggle",
            "two parts": lambda number: part,
            "fewer values": lambda number: ("f", "m")[number % 2],
            "a gap": lambda number: (None, "note")[number % 2],
        }
        return [(torch.rand(2), ("ant", "bee", "cat")[n % 3], texts[behind](n)) for n in range(12)]

    stream = from_datasets([(items("train"), items("test"))], validation=0.0)  # type: ignore[list-item]
    assert stream.class_names == ("ant", "bee", "cat")


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        yield torch.rand(2), 1


DATA = TensorDataset(torch.rand(8, 2), torch.arange(8) % 2)


def test_a_loader_stands_for_its_dataset() -> None:
    stream = from_datasets([(DataLoader(DATA), DataLoader(DATA))], validation=0.0)  # type: ignore[list-item]
    assert len(stream.experiences[0].train) == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_datasets([(Endless(), DATA)]), "a Endless can only be read once.*from_iterable"),
        (lambda: from_datasets(DATA), "pair for each experience, got TensorDataset"),
        (lambda: from_datasets([DATA, DATA]), "pair for each experience, got a list of TensorDataset"),
        (lambda: split_stream(DATA), "expected split_stream.name, train, test.*, got TensorDataset"),
    ],
)
def test_other_containers_are_refused_with_what_to_do(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

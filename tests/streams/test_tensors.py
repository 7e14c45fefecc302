from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from dreamer.streams import DatasetSamples, TensorSamples, find_labels, from_datasets, from_tensors, materialise
from tests.helpers.stream_contract import check_stream, everything, same


def tensors(n: int = 60, k: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    return x, torch.arange(n) % k


class Pictures(Dataset):
    """PIL images whose labels are only inside the items."""

    def __init__(self, n: int = 12, mode: str = "RGB", labels: bool = True):
        self.n, self.mode, self.with_labels = n, mode, labels
        self.reads = 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int):
        self.reads += 1
        image = Image.fromarray(np.full((5, 5, 3), 20 * i, dtype=np.uint8)).convert(self.mode)
        return (image, i % 3) if self.with_labels else image


class Named(Dataset):
    """Samples with their labels under any attribute."""

    def __init__(self, **attributes):
        for key, value in attributes.items():
            setattr(self, key, value)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int):
        return torch.full((2,), i / 6), i % 2


def test_tensors_are_split_by_class():
    x, y = tensors()
    stream = from_tensors(x, y, experiences=3, test=0.3)
    check_stream(stream)
    assert stream.num_classes == 6 and len(stream) == 3
    assert sum(len(e.test) for e in stream.experiences) == 18
    assert same(stream, from_tensors(x, y, experiences=3, test=0.3))
    assert stream.class_order != from_tensors(x, y, experiences=3, seed=5).class_order


def test_given_test_tensors_are_used_and_bytes_are_scaled():
    x, y = (torch.arange(40) * 6).to(torch.uint8).reshape(40, 1), torch.arange(40) % 4
    stream = from_tensors(x, y, x[:4], y[:4], experiences=2, scale=1 / 255, validation=0.0, shuffle=False)
    first = everything(stream.experiences[0].test)
    assert torch.allclose(first[0], torch.tensor([[0.0], [6 / 255]])) and first[1].tolist() == [0, 1]


def test_labels_with_gaps_keep_their_numbers():
    x, y = tensors(40, 4)
    stream = from_tensors(x, torch.tensor([0, 3, 7, 9])[y], experiences=2, shuffle=False)
    assert stream.class_order == ((0, 3), (7, 9)) and stream.num_classes == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": torch.rand(60)}, "y to hold one integer label"),
        ({"y": torch.arange(60) - 1}, "y to hold one integer label"),
        ({"y": torch.zeros(3, dtype=torch.long)}, "60 samples and 3 labels"),
        ({"y": torch.arange(60)}, "one sample, expected two or more"),
        ({"test_x": torch.rand(2, 1, 4, 4)}, "test_x and test_y together"),
        ({"test": 1.0}, r"in \(0, 1\), got 1.0"),
    ],
)
def test_impossible_tensors_are_one_sentence(change: dict, message: str):
    x, y = tensors()
    with pytest.raises(ValueError, match=message):
        from_tensors(**{"x": x, "y": y, "experiences": 2, **change})


def test_datasets_make_the_scenario_that_they_are():
    pairs = [(Pictures(), Pictures()) for _ in range(2)]
    stream = from_datasets(pairs, validation=0.25)
    assert stream.scenario == "domain" and stream.sample_shape == (3, 5, 5)
    check_stream(stream, distinct=False)
    task = from_datasets(pairs, scenario="task")
    assert task.class_order == ((0, 1, 2), (3, 4, 5)) and task.num_classes == 6
    check_stream(task, distinct=False)
    x, y = tensors()
    split = [TensorDataset(x[y // 3 == i], y[y // 3 == i]) for i in range(2)]
    assert from_datasets([(part, part) for part in split]).scenario == "class"


def test_pictures_are_read_once_and_kept_as_bytes():
    data = Pictures(n=12)
    samples = materialise(data)
    assert isinstance(samples, TensorSamples) and samples.x.dtype == torch.uint8
    assert data.reads <= 12 + 3  # every item once, and a few looks at the first
    assert samples.y.tolist() == [i % 3 for i in range(12)]
    assert torch.allclose(everything(samples)[0][3], torch.full((3, 5, 5), 60 / 255))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # Python 3.12 on every fork
@pytest.mark.parametrize("workers", [0, pytest.param(100, marks=pytest.mark.process)])
def test_lazy_samples_equal_those_in_memory(workers: int):
    lazy, held = materialise(Pictures(), limit_bytes=10, workers=workers), materialise(Pictures())
    assert isinstance(lazy, DatasetSamples) and isinstance(held, TensorSamples)
    chosen = torch.tensor([7, 2, 9, 4])
    for one, other in ((lazy, held), (lazy.subset(chosen), held.subset(chosen)), (lazy.to("cpu"), held)):
        assert one.sample_shape == other.sample_shape and len(one) == len(other)
        for index in (torch.tensor([3, 0, 0]), torch.arange(len(one))):
            (a,), (b,) = one.batches([index]), other.batches([index])
            assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)
    relabelled = lazy.with_labels(lazy.y + 5).subset(chosen)
    assert next(relabelled.batches([torch.tensor([0])])).y.tolist() == [7 % 3 + 5]
    assert torch.equal(materialise(lazy).x, held.x)


def test_reading_leaves_the_global_random_numbers_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    everything(materialise(Pictures(), limit_bytes=10))
    materialise(Pictures())
    assert torch.equal(before, torch.random.get_rng_state())


def test_lazy_reading_reads_no_batch_too_many():
    lazy = materialise(Pictures(), limit_bytes=10)
    read = []

    def indices():
        for i in range(5):
            read.append(i)
            yield torch.tensor([i])

    batches = lazy.batches(indices())
    next(batches)
    assert len(read) <= 2


LABELS = [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "attributes",
    [
        {"targets": LABELS},
        {"labels": np.array(LABELS)},
        {"y": torch.tensor(LABELS)},
        {"tensors": (None, torch.tensor(LABELS))},
        {"labels": ["odd", "even"], "y": [torch.tensor(label) for label in LABELS]},
        {"targets": [1 - label for label in LABELS], "target_transform": lambda label: 1 - label},
    ],
    ids=["targets", "labels", "y", "tensors", "names-aside", "target_transform"],
)
def test_labels_are_found(attributes: dict):
    data = Named(**attributes)
    assert find_labels(data).tolist() == LABELS
    assert find_labels(Subset(data, [1, 3, 4])).tolist() == [1, 1, 0]
    assert find_labels(ConcatDataset([data, Subset(data, [1])])).tolist() == [*LABELS, 1]
    assert materialise(data).y.tolist() == LABELS


def test_labels_come_from_a_callable_or_the_items():
    assert find_labels(Named()) is None
    assert materialise(Named()).y.tolist() == LABELS
    assert materialise(Named(secret=LABELS), targets=lambda d: [label + 2 for label in d.secret]).y.tolist() == [
        label + 2 for label in LABELS
    ]
    with pytest.raises(ValueError, match="targets to give 6 integer labels of Named"):
        materialise(Named(), targets=lambda d: [1, 2])


def test_what_cannot_be_read_is_one_sentence():
    with pytest.raises(ValueError, match="cannot find the labels of Pictures"):
        materialise(Pictures(labels=False))
    with pytest.raises(ValueError, match="item 0 has label 0 but the labels found beside it begin with 1"):
        materialise(Named(targets=[1] * 6))
    with pytest.raises(ValueError, match="expected at least one item"):
        materialise(Pictures(n=0))
    with pytest.raises(TypeError, match="PIL images, got str"):
        materialise([("a word", 1), ("another", 0)])
    with pytest.raises(ValueError, match=r"samples of one shape, got \[\(2,\), \(3,\)\]"):
        materialise([(torch.zeros(2), 0), (torch.zeros(3), 1)])


# --- whatever is map-style -----------------------------------------------------------------------------------------


def test_torchvisions_made_up_images_and_subsets_of_them():
    from torchvision.datasets import FakeData

    data = FakeData(24, (3, 6, 6), 4)
    stream = from_datasets([(data, Subset(data, range(0, 24, 2)))], validation=0.0)
    assert stream.sample_shape == (3, 6, 6)
    x, y = everything(stream.experiences[0].test)
    assert y.tolist() == [data[i][1] for i in range(0, 24, 2)] and float(x.max()) <= 1
    grey = from_datasets([(data, data)], inputs=lambda item: item[0].convert("L"))
    assert grey.sample_shape == (1, 6, 6)


def test_items_with_named_fields():
    rng = torch.Generator().manual_seed(0)
    items = [{"signal": torch.rand(3, generator=rng), "kind": i % 2, "target": i % 3} for i in range(12)]
    found = from_datasets([(items, items)], inputs="signal", validation=0.0)
    assert found.class_order == ((0, 1, 2),)
    named = from_datasets([(items, items)], inputs="signal", targets="kind", validation=0.0)
    assert named.class_order == ((0, 1),)
    assert torch.equal(everything(named.experiences[0].train)[0], torch.stack([item["signal"] for item in items]))
    few = from_datasets([([{"x": np.arange(4.0), "label": i % 2} for i in range(6)],) * 2])
    assert few.sample_shape == (4,) and everything(few.experiences[0].test)[0].dtype == torch.float32
    rows = [{"wide": 1.5, "high": i, "label": i % 2} for i in range(6)]
    assert everything(from_datasets([(rows, rows)]).experiences[0].test)[0].tolist()[4] == [1.5, 4.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "sign"}, "expected items with a field 'sign', got signal, other, kind"),
        ({"targets": "sort"}, "expected items with a field 'sort', got signal, other, kind"),
        ({"targets": "kind"}, "cannot tell which field holds the sample, expected inputs=..., one of signal, other"),
        ({"inputs": "signal"}, "cannot find the labels of Picked"),
    ],
)
def test_fields_that_are_not_there_or_not_clear_are_one_sentence(options: dict, message: str):
    items = [{"signal": torch.zeros(3), "other": torch.zeros(3), "kind": 0}] * 4
    with pytest.raises(ValueError, match=message):
        from_datasets([(items, items)], **options)


def test_arrays_are_tensors_and_float64_becomes_float32():
    x, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    stream = from_tensors(x, y, experiences=3)
    assert everything(stream.experiences[0].train)[0].dtype == torch.float32
    lazy = materialise([(row, int(label)) for row, label in zip(x, y, strict=True)], limit_bytes=10)
    assert isinstance(lazy, DatasetSamples) and everything(lazy)[0].dtype == torch.float32
    with pytest.raises(TypeError, match="expected a sample that is a list to hold numbers"):
        materialise([(["a", "b"], 1)] * 3)

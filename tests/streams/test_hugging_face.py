"""Datasets of Hugging Face, made on the spot: nothing is downloaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dreamer.streams import DataNotFound, DatasetSamples
from dreamer.streams.hugging_face import from_hugging_face, hugging_face
from dreamer.streams.registry import build
from tests.helpers.stream_contract import check_stream, everything, same

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def _silent() -> Any:
    datasets.disable_progress_bars()


def pictures(count: int = 40, names: bool = True) -> Any:
    made = [Image.fromarray(np.full((5, 5, 3), 6 * i, dtype=np.uint8)) for i in range(count)]
    kinds = ["hen", "ant", "fox", "cat"]
    label = datasets.ClassLabel(names=kinds) if names else datasets.Value("int64")
    features = datasets.Features({"img": datasets.Image(), "label": label, "note": datasets.Value("string")})
    columns = {"img": made, "label": [i % 4 for i in range(count)], "note": ["?"] * count}
    return datasets.Dataset.from_dict(columns, features=features)


def test_images_become_pixels_and_labels_have_names():
    stream = from_hugging_face(pictures(), experiences=2, shuffle=False, validation=0.2)
    check_stream(stream)
    assert stream.sample_shape == (3, 5, 5) and stream.class_names == ("hen", "ant", "fox", "cat")
    assert stream.class_order == ((0, 1), (2, 3))
    x, y = everything(stream.experiences[0].train)
    # every picture is of one grey, 6 i of 255
    assert all(int(torch.round(255 * value / 6)) % 4 == label for value, label in zip(x[:, 0, 0, 0], y, strict=True))


def test_a_dictionary_of_parts_has_its_test_data():
    parts = datasets.DatasetDict({"train": pictures(32), "test": pictures(8)})
    stream = from_hugging_face(parts, experiences=2, validation=0.0)
    assert sum(len(each.test) for each in stream.experiences) == 8
    assert same(stream, from_hugging_face(parts["train"], parts["test"], experiences=2, validation=0.0))
    with pytest.raises(ValueError, match="expected a part 'train', got held"):
        from_hugging_face(datasets.DatasetDict({"held": pictures()}))


def test_what_does_not_fit_is_read_batch_by_batch():
    lazy = from_hugging_face(pictures(), experiences=2, limit_bytes=10)
    assert isinstance(lazy.experiences[0].train, DatasetSamples)
    assert same(lazy, from_hugging_face(pictures(), experiences=2))


def test_tokens_stay_whole_numbers():
    rows = [[i % 7, i % 5, 3] for i in range(24)]
    data = datasets.Dataset.from_dict(
        {"input_ids": rows, "attention_mask": [[1, 1, 1]] * 24, "label": ["no", "yes"] * 12}
    )
    stream = from_hugging_face(data, experiences=2, validation=0.0, shuffle=False)
    x, y = everything(stream.experiences[1].train)
    assert x.dtype == torch.int64 and x.shape[1:] == (3,) and stream.class_names == ("no", "yes")
    assert y.unique().tolist() == [1] and all(row.tolist() in rows[1::2] for row in x)
    ours = from_hugging_face(data, experiences=2, inputs=lambda item: item["input_ids"][:2])
    assert ours.sample_shape == (2,)


def test_columns_of_numbers_are_one_vector():
    columns = {"a": [0.5 * i for i in range(20)], "b": list(range(20)), "y": [i % 2 for i in range(20)]}
    data = datasets.Dataset.from_dict(columns)
    stream = from_hugging_face(data, experiences=2, shuffle=False, validation=0.0)
    x, _ = everything(stream.experiences[0].train)
    assert x.dtype == torch.float32 and torch.equal(2 * x[:, 0], x[:, 1])
    assert from_hugging_face(data, experiences=2, inputs=["b"]).sample_shape == (1,)
    assert from_hugging_face(data.with_format("torch"), experiences=2).sample_shape == (2,)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([1], {}, "expected a datasets.Dataset or DatasetDict, got list"),
        ({"x": [[0.0]] * 4, "sort": [0, 1] * 2}, {}, r"cannot tell which column holds the labels, .* one of x, sort"),
        ({"x": [[0.0]] * 4, "y": [0, 1] * 2}, {"inputs": "z"}, "expected items with a field 'z', got x, y"),
        ({"x": [[0.0]] * 4, "y": [0, 1] * 2}, {"label": "z"}, "expected items with a field 'z', got x, y"),
        ({"x": [[0.0]] * 4, "y": [0.5, 1.0] * 2}, {}, "expected whole numbers from 0 or texts in the column 'y'"),
        (
            {"p": [[0.0]] * 4, "q": [[0.0]] * 4, "y": [0, 1] * 2},
            {},
            "cannot tell which field holds the sample, .* p, q",
        ),
        ({"x": [[0.0], [0.0, 1.0]] * 4, "y": [0, 1] * 4}, {}, "resize, crop or pad them first"),
        ({"a": [1.0, None] * 4, "b": [1.0] * 8, "y": [0, 1] * 4}, {"inputs": ["a", "b"]}, "a number in the field 'a'"),
        ({"x": [], "y": []}, {}, "expected at least one row"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(data: Any, options: dict[str, Any], message: str):
    data = datasets.Dataset.from_dict(data) if isinstance(data, dict) else data
    with pytest.raises(ValueError, match=message) as caught:
        from_hugging_face(data, **options)
    assert "\n" not in str(caught.value)


def test_texts_are_no_samples():
    with pytest.raises(TypeError, match="got str: make token numbers of texts first"):
        from_hugging_face(datasets.Dataset.from_dict({"text": ["a b", "c d"] * 4, "label": [0, 1] * 4}))


def test_test_data_of_another_class_are_refused():
    train, test = ({"x": [[0.0]] * 4, "y": names * 2} for names in (["a", "b"], ["a", "c"]))
    with pytest.raises(ValueError, match="the test data have the class 'c', the training data have not"):
        from_hugging_face(datasets.Dataset.from_dict(train), datasets.Dataset.from_dict(test))


def test_a_saved_folder_is_a_stream_by_name(tmp_path: Path):
    pictures().save_to_disk(str(tmp_path / "pets"))
    stream = build("hugging_face", root=tmp_path / "pets", seed=2, experiences=2)
    assert same(stream, from_hugging_face(pictures(), experiences=2, seed=2))
    with pytest.raises(DataNotFound, match=r"there is no dataset that save_to_disk wrote in '.*nowhere'"):
        hugging_face(str(tmp_path / "nowhere"))
    with pytest.raises(DataNotFound, match=r"set data.root"):
        hugging_face()


def test_its_absence_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="needs the package datasets: pip install datasets"):
        hugging_face(str(tmp_path))

"""A csv file as a stream: what is understood, and what is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dreamer import config
from dreamer.config.binding import ConfigError
from dreamer.runs import run as runs
from dreamer.streams import DataNotFound, table
from tests.helpers.stream_contract import everything, same


def write(path: Path, header: str = "length,colour,kind", rows: int = 24, delimiter: str = ",") -> Path:
    kinds, colours = ("ant", "bee", "cat"), ("red", "blue")
    lines = [header, *(f"{i % 7 + 10 * (i % 3)},{colours[i % 2]},{kinds[i % 3]}" for i in range(rows))]
    path.write_text("\n".join(lines).replace(",", delimiter) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("header", "label"), [("length,colour,Class", None), ("length,colour,kind", "kind")])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_numbers_and_texts_become_inputs(tmp_path: Path, header: str, label: str | None, delimiter: str):
    stream = table(write(tmp_path / "bugs.csv", header, delimiter=delimiter), label, validation=0)
    assert stream.name == "bugs" and stream.sample_shape == (3,) and len(stream) == 2
    assert stream.class_names == ("ant", "bee", "cat")
    learnt = torch.cat([everything(each.train)[0] for each in stream.experiences])
    assert torch.allclose(learnt.mean(dim=0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(learnt.std(dim=0, correction=0), torch.ones(3), atol=1e-4)
    assert len(learnt) + sum(len(each.test) for each in stream.experiences) == 24
    assert same(stream, table(tmp_path / "bugs.csv", label, validation=0))


def test_a_missing_number_is_the_mean_and_a_column_without_spread_says_nothing(tmp_path: Path):
    path = tmp_path / "holes.csv"
    path.write_text("a,b,label\n" + "".join(f"{'' if i == 3 else i},5,{i % 2}\n" for i in range(20)))
    stream = table(path, experiences=1, validation=0)
    x = torch.cat([everything(part)[0] for part in (stream.experiences[0].train, stream.experiences[0].test)])
    assert (x[:, 1] == 0).all() and (x[:, 0] == 0).sum() == 1


def test_whole_numbers_keep_their_order_and_row_numbers_are_no_input(tmp_path: Path):
    path = tmp_path / "numbered.csv"
    path.write_text(",x,target\n" + "".join(f"{i},{i / 3},{(10, 9)[i % 2]}\n" for i in range(12)))
    with pytest.warns(UserWarning, match="numbers the rows and is left out"):
        stream = table(path)
    assert stream.class_names == ("9", "10") and stream.sample_shape == (1,)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n", {}, r"which column holds the classes\? say stream.label=COLUMN, one of a, b"),
        ("a,b\n1,2\n", {"label": "c"}, "has no column 'c', only a, b"),
        ("a,label\n1,x\n1,x\n", {}, "there is one class, 'x'"),
        ("a,label\n1,x\n1,x\n2,y\n", {}, "class 'y' has one row"),
        ("a,label\n1,.5\n1,.7\n", {}, "holds fractions, which are no classes"),
        ("a,label\n1\n", {}, "expected 2 columns in every row, got 1"),
        ("1,2\n1,2\n", {}, "expected a header with a name of its own for each column"),
        ("a,label\n" + "".join(f"w{i},{i % 2}\n" for i in range(60)), {}, r"60 different texts.*leave_out=\[a\]"),
        ("a,label\n1,\n", {}, "no class in column 'label' of row 1"),
        ("", {}, "expected a header of at least two columns"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, options: dict[str, str], message: str):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        table(path, **options)


def test_a_file_that_is_not_there():
    with pytest.raises(DataNotFound, match=r"expected a csv file at 'nowhere\.csv', found none"):
        table("nowhere.csv")
    with pytest.raises(ConfigError, match=r"expected a table at 'nowhere\.csv', found none"):
        config.read("nowhere.csv")


def test_a_file_stands_for_itself_where_a_configuration_is_named(tmp_path: Path):
    path = write(tmp_path / "bugs.csv", "length,colour,class")
    plain = config.read(str(path), "wake.epochs=1", "fine_tune")
    assert plain["stream"] == {"name": "table", "file": str(path)} and plain["name"] == "bugs-fine_tune"
    prepared = runs.prepare({**config.read(str(path)), "out": None})
    assert prepared.stream.class_names == ("ant", "bee", "cat")


@pytest.mark.parametrize("strategy", ["slda", "nearest_mean", "randumb"])
def test_learners_in_closed_form_take_tables(tmp_path: Path, strategy: str):
    path = write(tmp_path / "bugs.csv", "length,colour,class")
    prepared = runs.prepare({**config.read(str(path), strategy), "out": None})
    assert prepared.hypnogram.steps()["wake"] > 0 == prepared.hypnogram.steps()["nrem"]


def test_a_folder_in_the_place_of_a_configuration_says_how_it_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=f"'{tmp_path}' is a folder: expected 'folder data.root={tmp_path}'"):
        config.read(str(tmp_path))

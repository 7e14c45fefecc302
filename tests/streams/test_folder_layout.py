"""Folders as people have them: which are understood, and what the others are told."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dreamer.runs.summary import data_line
from dreamer.streams import folder
from dreamer.streams.folder_layout import Layout, find_layout


def draw(place: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (9 * number, 30, 200)).save(path)
    return place


def labels(path: Path, *rows: str) -> None:
    path.write_text("\n".join(rows) + "\n")


def counts(layout: Layout) -> tuple[dict[str, int], dict[str, int]]:
    train, test = ({name: len(paths) for name, paths in part.items()} for part in layout)
    return train, test


FOUR = ("1.jpg", "2.jpg", "3.jpg", "4.jpg")
ROWS = ("1,dog", "2,cat", "3,dog", "4,cat")


def kaggle(place: Path) -> None:
    draw(place / "train", *FOUR)
    draw(place / "test", "5.jpg", "6.jpg")
    labels(place / "train.csv", "id,breed", *ROWS)
    labels(place / "sample_submission.csv", "id,breed", "5,cat", "6,cat")


def flat_with_names(place: Path) -> None:
    draw(place / "train", "00012_cat.jpg", "00013_dog.jpg", "00014_cat.jpg", "00015_dog.jpg")
    names = ("00012_cat.jpg;cat", "00013_dog.jpg;dog", "00014_cat.jpg;cat", "00015_dog.jpg;dog")
    labels(place / "train" / "labels.csv", *names)


def images_beside_masks(place: Path) -> None:
    draw(place / "images", *FOUR)
    draw(place / "masks", *FOUR[:1])
    labels(place / "labels.csv", "path,width,Label", *(f"images/{row.replace(',', '.jpg,4,')}" for row in ROWS))


def bare(place: Path) -> None:
    draw(place, *FOUR)
    labels(place / "labels.tsv", "file\tkind", *(row.replace(",", ".jpg\t") for row in ROWS))


@pytest.mark.parametrize("prepare", [kaggle, flat_with_names, images_beside_masks, bare])
@pytest.mark.filterwarnings("ignore:the 2 pictures in")
def test_a_file_of_names_and_labels_is_read(tmp_path: Path, prepare: Callable[[Path], None]):
    prepare(tmp_path)
    assert counts(find_layout(tmp_path)) == ({"cat": 2, "dog": 2}, {})
    found = find_layout(tmp_path).train
    cats = {Path(path).stem.split("_")[0].lstrip("0") for path in found["cat"]}
    assert cats in ({"2", "4"}, {"12", "14"})


def test_pictures_without_labels_are_no_test_data_and_it_is_said(tmp_path: Path):
    kaggle(tmp_path)
    with pytest.warns(UserWarning, match=r"the 2 pictures in '.*test' have no labels and are left out"):
        find_layout(tmp_path)


def test_one_folder_may_serve_two_label_files(tmp_path: Path):
    draw(tmp_path / "images", *FOUR, "5.jpg", "6.jpg")
    labels(tmp_path / "train.csv", "image,label", *ROWS)
    labels(tmp_path / "test.csv", "image,label", "5,cat", "6,dog")
    assert counts(find_layout(tmp_path)) == ({"cat": 2, "dog": 2}, {"cat": 1, "dog": 1})


def test_numbers_as_labels_are_classes_in_the_order_of_their_values(tmp_path: Path):
    draw(tmp_path, *FOUR)
    labels(tmp_path / "labels.csv", "id,label", "1,10", "2,9", "3,10", "4,9")
    assert list(find_layout(tmp_path).train) == ["9", "10"]


def test_the_column_of_the_labels_may_be_named(tmp_path: Path):
    draw(tmp_path, *FOUR)
    labels(tmp_path / "all.csv", "id,size,kind", *(row.replace(",", ",4,") for row in ROWS))
    with pytest.raises(ValueError, match=r"columns id, size, kind.*expected stream\.label=COLUMN"):
        find_layout(tmp_path)
    assert counts(find_layout(tmp_path, "kind"))[0] == {"cat": 2, "dog": 2}
    with pytest.raises(ValueError, match="has no column 'knd', only id, size, kind"):
        find_layout(tmp_path, "knd")


def test_a_file_of_several_columns_is_named_where_the_pictures_lie_in_one_folder(tmp_path: Path):
    draw(tmp_path / "images", *FOUR)
    labels(tmp_path / "train.csv", "id,healthy,rust", "1,1,0", "2,0,1", "3,1,0", "4,0,1")
    with pytest.raises(ValueError, match=r"columns id, healthy, rust.*expected stream\.label=COLUMN"):
        find_layout(tmp_path)


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("training_set", "test_set"), ("TRAIN", "Validation")])
def test_parts_are_known_in_any_spelling(tmp_path: Path, train: str, test: str):
    draw(tmp_path / train, "cat/1.jpg", "dog/1.jpg", "dog/2.jpg")
    draw(tmp_path / test, "cat/1.jpg", "dog/1.jpg")
    assert counts(find_layout(tmp_path)) == ({"cat": 1, "dog": 2}, {"cat": 1, "dog": 1})


def test_what_an_archive_wrapped_is_unwrapped(tmp_path: Path):
    draw(tmp_path / "pets" / "pets", "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg")
    (tmp_path / "__MACOSX").mkdir()
    assert counts(find_layout(tmp_path)) == ({"cat": 1, "dog": 1}, {"cat": 1, "dog": 1})


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_images", "test_images"),
        ("train/train", "test/test"),
        ("Pets Training", "Pets Val"),
    ],
)
def test_parts_may_have_more_words_in_their_names(tmp_path: Path, train: str, test: str):
    draw(tmp_path / train, "cat/1.jpg", "dog/1.jpg", "dog/2.jpg")
    draw(tmp_path / test, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "seg_pred").mkdir()
    assert counts(find_layout(tmp_path)) == ({"cat": 1, "dog": 2}, {"cat": 1, "dog": 1})


@pytest.mark.filterwarnings("ignore:the 2 pictures in")
def test_such_parts_have_label_files_too(tmp_path: Path):
    draw(tmp_path / "train_images", *FOUR)
    draw(tmp_path / "test_images", "5.jpg", "6.jpg")
    labels(tmp_path / "train.csv", "id_code,diagnosis", *ROWS)
    assert counts(find_layout(tmp_path)) == ({"cat": 2, "dog": 2}, {})


def test_classes_may_have_such_words_too(tmp_path: Path):
    draw(tmp_path, "toy_train/1.jpg", "test_tube/1.jpg", "cat/1.jpg")
    assert counts(find_layout(tmp_path))[0] == {"cat": 1, "test_tube": 1, "toy_train": 1}


def test_a_test_part_beside_the_class_folders(tmp_path: Path):
    draw(tmp_path, "cat/1.jpg", "dog/1.jpg", "test/cat/1.jpg", "test/dog/1.jpg")
    assert counts(find_layout(tmp_path)) == ({"cat": 1, "dog": 1}, {"cat": 1, "dog": 1})


def test_a_table_of_something_else_leaves_the_class_folders_alone(tmp_path: Path):
    draw(tmp_path / "train", "cat/1.jpg", "dog/2.jpg")
    labels(tmp_path / "train" / "sizes.csv", "file,width", "1.jpg,3", "2.jpg,4")
    assert counts(find_layout(tmp_path))[0] == {"cat": 1, "dog": 1}


REFUSED = {
    "no_labels": (("train/1.jpg", "train/2.jpg", "test/3.jpg"), (), r"2 pictures such as '1\.jpg' lie in '.*train'"),
    "names_hold_them": (("cat.1.jpg", "dog.1.jpg"), (), r"2 pictures such as 'cat\.1\.jpg'.*a folder for each class"),
    "same_classes_elsewhere": (
        ("train/cat/1.jpg", "train/dog/1.jpg", "holdout/cat/1.jpg", "holdout/dog/1.jpg"),
        (),
        "'.*holdout' has the classes of '.*train', but its name",
    ),
    "two_parts_of_other_names": (
        ("first/cat/1.jpg", "first/dog/1.jpg", "second/cat/1.jpg", "second/dog/1.jpg"),
        (),
        r"'first', 'second' have the same sub-folders \(cat, dog\)",
    ),
    "a_repository": ((".git/config.png", "docs/1.jpg", "assets/2.jpg"), (), "is a repository"),
    "a_repository_without_its_history": (("docs/1.jpg", "assets/2.jpg"), ("pyproject.toml",), "is a repository"),
    "several_training_parts": (
        ("train_a/cat/1.jpg", "test_a/cat/1.jpg", "train_b/cat/1.jpg", "test_b/cat/1.jpg"),
        (),
        "'train_a', 'train_b' in .* are all training parts",
    ),
    "labels_in_a_text": (("images/1.jpg", "images/2.jpg"), ("labels.txt",), "or a csv of names and labels"),
    "code_among_pictures": (("docs/1.jpg", "src/2.jpg"), ("src/a.py", "src/b.py"), "'.*src' has 2 files that are no"),
    "a_part_inside": (("data/train/cat/1.jpg", "extra/1.jpg"), (), "'.*data' has a training part of its own"),
    "flat_test_beside_classes": (("cat/1.jpg", "dog/1.jpg", "test/1.jpg"), (), "lies beside class folders"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_understood_is_refused_in_a_sentence(tmp_path: Path, case: str):
    pictures, others, message = REFUSED[case]
    draw(tmp_path, *pictures)
    for name in others:
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=message) as caught:
        find_layout(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("id,label", "1,a", "7,b"), "names '7', but there is no such picture"),
        (("id,label", "1,a", "2,"), "has no label for '2' in its column 'label'"),
        (("id,label", "1,a", "2,a"), "at least two classes, found a"),
        (("id,label", "1,a", "2"), "expected 2 columns in every row, got 1"),
    ],
)
def test_a_wrong_label_file_is_named(tmp_path: Path, rows: tuple[str, ...], message: str):
    draw(tmp_path, *FOUR[:2])
    labels(tmp_path / "labels.csv", *rows)
    with pytest.raises(ValueError, match=message):
        find_layout(tmp_path)


def test_the_plan_says_what_was_understood(tmp_path: Path):
    draw(tmp_path, *(f"{name}/{number}.jpg" for name in ("ant", "bee", "cat") for number in range(4)))
    stream = folder(tmp_path, size=5, experiences=1, validation=0.0, test=0.25)
    assert data_line(stream, most=2) == "samples: 3 x 5 x 5; 3 classes: ant (3), bee (3), ..."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_among_pictures_is_refused_and_not_waited_for(tmp_path):
    draw(tmp_path, "cat/a.png", "cat/b.png", "dog/c.png", "dog/d.png")
    os.mkfifo(tmp_path / "cat" / "z.png")
    with pytest.raises(ValueError, match=r"z\.png'?, got something that is no file"):
        folder(tmp_path, experiences=2)


def birds(place: Path) -> Path:
    """The layout of CUB-200-2011, with three pictures to learn from and two to test on."""
    names = [f"{folder}/{i}.jpg" for folder in ("001.Gull", "002.Wren") for i in range(2)] + ["002.Wren/9.jpg"]
    draw(place / "images", *names)
    labels(place / "images.txt", *(f"{number} {name}" for number, name in enumerate(names, 1)))
    labels(place / "train_test_split.txt", "1 1", "2 0", "3 1", "4 0", "5 1")
    labels(place / "classes.txt", "1 001.Gull", "2 002.Wren")
    (place / "attributes").mkdir()
    return place


def test_an_official_split_in_lists_is_kept(tmp_path: Path) -> None:
    birds(tmp_path / "CUB_200_2011")
    found = find_layout(tmp_path)
    assert counts(found) == ({"Gull": 1, "Wren": 2}, {"Gull": 1, "Wren": 1})
    assert Path(found.test["Wren"][0]).name == "1.jpg"


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("train_test_split.txt", "6 1", "number '6' is in one of"),
        ("images.txt", "6 002.Wren/none.jpg\n", "number '6' is in one of"),
        ("train_test_split.txt", "5 2", "expected 0 or 1 for number 5, got '2'"),
        ("images.txt", "5 ../away.jpg", "expected a picture <class>/<file> in 'images', got '../away.jpg'"),
        ("images.txt", "5", "expected two words in line 6, got '5'"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path: Path, file: str, line: str, message: str) -> None:
    birds(tmp_path)
    with (tmp_path / file).open("a") as out:
        out.write(line + "\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        find_layout(tmp_path)


def test_class_folders_may_lie_beside_a_file_of_a_package(tmp_path: Path) -> None:
    draw(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "package.json").write_text("{}")
    assert counts(find_layout(tmp_path)) == ({"cat": 1, "dog": 1}, {})

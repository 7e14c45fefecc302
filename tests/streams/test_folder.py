from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dreamer.streams import DataNotFound, DatasetSamples, TensorSamples, folder
from dreamer.streams.folder import default_experiences
from dreamer.streams.pixels import coloured, pixels
from tests.helpers.stream_contract import check_stream, everything, same


def picture(seed: int, size: tuple[int, int] = (12, 9), mode: str = "RGB") -> Image.Image:
    noise = np.random.RandomState(seed).randint(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def write(place: Path, classes: dict[str, int], ending: str = "png", mode: str = "RGB") -> Path:
    for i, (name, count) in enumerate(classes.items()):
        (place / name).mkdir(parents=True, exist_ok=True)
        for j in range(count):
            picture(1000 * i + j + len(str(place)), (8 + j, 9 + i), mode).save(place / name / f"{j}.{ending}")
    return place


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    write(tmp_path / "train", {"ant": 10, "bee": 11, "cat": 10, "dog": 12}, "jpg")
    write(tmp_path / "test", {"ant": 2, "bee": 3, "cat": 2, "dog": 2})
    return tmp_path


def test_train_and_test_folders(halves: Path):
    stream = folder(halves, size=6)
    check_stream(stream)
    assert stream.sample_shape == (3, 6, 6) and len(stream) == 2
    assert stream.class_names == ("ant", "bee", "cat", "dog")
    assert sum(len(e.test) for e in stream.experiences) == 9
    assert sum(len(e.train) + len(e.validation) for e in stream.experiences) == 43
    assert isinstance(stream.experiences[0].train, TensorSamples)
    assert same(stream, folder(halves, size=6))


def test_a_folder_without_a_test_part_is_split_by_its_own_seed(tmp_path: Path):
    write(tmp_path, {"a": 10, "b": 10, "c": 5})
    stream = folder(tmp_path, size=5)
    check_stream(stream)
    assert sum(len(e.test) for e in stream.experiences) == 2 + 2 + 1
    tested = [{x.numpy().tobytes() for e in s.experiences for x in everything(e.test)[0]} for s in _three(tmp_path)]
    assert tested[0] == tested[1] != tested[2]


def _three(place: Path):
    return folder(place, size=5), folder(place, size=5, seed=9), folder(place, size=5, split_seed=1)


def test_a_validation_folder_serves_as_test_and_a_lone_train_folder_is_split(tmp_path: Path):
    write(tmp_path / "train", {"a": 5, "b": 5})
    lone = folder(tmp_path, size=4, experiences=1)
    assert len(lone.experiences[0].test) == 2
    write(tmp_path / "val", {"a": 4, "b": 3})
    assert len(folder(tmp_path, size=4, experiences=1).experiences[0].test) == 7


def test_a_class_may_be_called_train(tmp_path: Path):
    write(tmp_path, {"train": 5, "bus": 5})
    assert folder(tmp_path, size=4).class_names == ("bus", "train")


def test_deeper_folders_and_other_files(tmp_path: Path):
    write(tmp_path / "a", {"images": 4, "more": 2})
    write(tmp_path, {"b": 5})
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    (tmp_path / "b" / ".is_features.png").write_bytes(b"no picture")
    (tmp_path / ".cache").mkdir()
    stream = folder(tmp_path, size=4, experiences=1, validation=0.0, test=0.4)
    assert len(stream.experiences[0].train) + len(stream.experiences[0].test) == 11


def test_lazy_reading_gives_the_same_stream(halves: Path):
    lazy = folder(halves, size=6, limit_bytes=100, workers=0)
    assert isinstance(lazy.experiences[0].train, DatasetSamples)
    assert same(lazy, folder(halves, size=6))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L", "LA", "1", "I;16", "YCbCr"])
def test_every_mode_is_read(tmp_path: Path, mode: str):
    ending = {"CMYK": "tiff", "YCbCr": "jpg"}.get(mode, "png")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            if mode == "I;16":
                deep = np.random.RandomState(i + 7 * (name == "b")).randint(0, 65536, (8, 8)).astype(np.uint16)
                image = Image.fromarray(deep)
            else:
                image = picture(i + 7 * (name == "b"), (8, 8), mode)
            image.save(tmp_path / name / f"{i}.{ending}")
    stream = folder(tmp_path, size=8, validation=0.0)
    grey = mode in ("L", "LA", "1", "I;16")
    assert stream.sample_shape == ((1 if grey else 3), 8, 8)
    check_stream(stream)
    assert folder(tmp_path, size=8, channels=3).sample_shape == (3, 8, 8)
    assert folder(tmp_path, size=8, channels=1).sample_shape == (1, 8, 8)


def test_one_coloured_picture_colours_the_folder(tmp_path: Path):
    write(tmp_path, {"a": 4, "b": 4}, mode="L")
    picture(1, mode="L").convert("RGB").save(tmp_path / "a" / "grey.png")
    assert folder(tmp_path, size=4).sample_shape == (1, 4, 4)
    picture(1).save(tmp_path / "b" / "coloured.png")
    assert folder(tmp_path, size=4).sample_shape == (3, 4, 4)


def test_pixels_keep_their_values():
    deep = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
    assert pixels(deep).tolist() == [[[0, 1, 255]]]
    clear = Image.new("RGBA", (1, 1), (10, 20, 30, 0))
    assert pixels(clear).flatten().tolist() == [255, 255, 255]
    solid = Image.new("RGBA", (1, 1), (10, 20, 30, 255))
    assert pixels(solid).flatten().tolist() == [10, 20, 30]
    assert pixels(Image.new("1", (1, 1), 1)).tolist() == [[[255]]]
    assert not coloured(Image.new("RGB", (2, 2), (7, 7, 7))) and coloured(Image.new("P", (1, 1), 3)) is False
    with pytest.raises(ValueError, match="32-bit floats"):
        pixels(Image.new("F", (1, 1)))
    wide = picture(1, (40, 10))
    assert pixels(wide, size=16).shape == (3, 16, 16)


def test_rotated_photographs_stand_upright(tmp_path: Path):
    from dreamer.streams.pixels import open_image

    exif = Image.Exif()
    exif[0x0112] = 6
    picture(1, (4, 2)).save(tmp_path / "photo.png", exif=exif)
    assert open_image(tmp_path / "photo.png").size == (2, 4)


@pytest.mark.parametrize(("classes", "experiences"), [(1, 1), (2, 2), (3, 2), (4, 2), (10, 5), (20, 10), (200, 10)])
def test_a_sensible_number_of_experiences(classes: int, experiences: int):
    assert default_experiences(classes) == experiences


def test_the_variable_names_the_folder(halves: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DREAMER_DATA", str(halves))
    assert len(folder(size=4)) == 2
    monkeypatch.delenv("DREAMER_DATA")
    with pytest.raises(DataNotFound, match=r"set data\.root or the variable DREAMER_DATA"):
        folder()


def _nothing(place: Path) -> str:
    return "at least two class folders of pictures"


def _one_class(place: Path) -> str:
    write(place, {"lonely": 3})
    return "at least two class folders .* found only 'lonely'"


def _empty_class(place: Path) -> str:
    write(place, {"a": 3, "b": 3})
    (place / "c").mkdir()
    (place / "c" / "notes.txt").write_text("no picture")
    return "expected pictures .* in the class folder '.*c'"


def _only_in_test(place: Path) -> str:
    write(place / "train", {"a": 3, "b": 3})
    write(place / "test", {"a": 3, "b": 3, "z": 3})
    return "class 'z' has pictures in '.*test', none in '.*train'"


def _only_in_train(place: Path) -> str:
    write(place / "train", {"a": 3, "b": 3, "z": 3})
    write(place / "test", {"a": 3, "b": 3})
    return "class 'z' has pictures in '.*train', none in '.*test'"


def _no_train(place: Path) -> str:
    write(place / "test", {"a": 3, "b": 3})
    return "expected '.*train' beside the test part"


def _garbage(place: Path) -> str:
    write(place, {"a": 3, "b": 3})
    (place / "b" / "1.png").write_bytes(b"this is no picture")
    return r"cannot read the image '.*b/1\.png'"


def _truncated(place: Path) -> str:
    write(place, {"a": 3, "b": 3}, "jpg")
    whole = (place / "b" / "1.jpg").read_bytes()
    (place / "b" / "1.jpg").write_bytes(whole[: len(whole) - 40])
    return r"cannot read the image '.*b/1\.jpg'"


def _single_pictures(place: Path) -> str:
    write(place, {"a": 3, "b": 1})
    return "class 'b' has one picture"


def _floats(place: Path) -> str:
    write(place, {"a": 3, "b": 3})
    Image.new("F", (4, 4)).save(place / "b" / "deep.tiff")
    return r"cannot read the image '.*deep\.tiff' \(expected an image of whole numbers"


@pytest.mark.parametrize(
    "prepare",
    [
        _nothing,
        _one_class,
        _empty_class,
        _only_in_test,
        _only_in_train,
        _no_train,
        _garbage,
        _truncated,
        _single_pictures,
        _floats,
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, prepare):
    message = prepare(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        folder(tmp_path, size=4)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(DataNotFound, match="nowhere"):
        folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataNotFound, match="which is no folder"):
        folder(tmp_path / "file")


def test_impossible_options(halves: Path):
    for options in ({"channels": 2}, {"size": 0}):
        with pytest.raises(ValueError, match="channels 1, 3 or null and a size of at least 1"):
            folder(halves, **options)


@pytest.mark.slow
def test_cifar10_as_pictures(data_root: Path):
    if not (data_root / "cifar10" / "train").is_dir():
        pytest.skip("needs cifar10/{train,test}/<class>/*.jpg in DREAMER_DATA")
    # the limit leaves the 60 000 pictures on disk, so that only a few are read
    stream = folder(data_root / "cifar10", limit_bytes=2**20, workers=0)
    assert len(stream) == 5 and stream.sample_shape == (3, 32, 32)
    assert all(len(e.train) == 9000 and len(e.validation) == 1000 and len(e.test) == 2000 for e in stream.experiences)
    x = next(stream.experiences[0].train.batches([torch.arange(0, 9000, 90)])).x
    assert x.shape == (100, 3, 32, 32) and 0.3 < float(x.mean()) < 0.6


def test_a_picture_is_cropped_to_the_square_in_its_middle_or_stretched():
    wide = Image.fromarray(np.arange(12, dtype=np.uint8)[None].repeat(4, axis=0))
    assert torch.equal(pixels(wide, crop=True), torch.arange(4, 8, dtype=torch.uint8).expand(1, 4, 4))
    assert torch.equal(
        pixels(wide.transpose(Image.Transpose.ROTATE_90), crop=True)[0, :, 0].flip(0), torch.arange(4, 8)
    )
    assert pixels(wide, size=2, crop=True).flatten()[0] >= 4 > pixels(wide, size=2).flatten()[0]


def test_a_folder_crops_its_pictures(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(5):
            picture(index, (20, 8)).save(tmp_path / name / f"{index}.png")
    cropped, whole = folder(tmp_path, size=8, crop=True), folder(tmp_path, size=8)
    x = torch.cat([everything(each.train)[0] for each in cropped.experiences])
    expected = {pixels(picture(index, (20, 8)).crop((6, 0, 14, 8))).numpy().tobytes() for index in range(5)}
    assert {(255 * row).round().to(torch.uint8).numpy().tobytes() for row in x} <= expected
    assert not same(cropped, whole)


def test_pictures_that_cannot_be_read_are_left_out_on_request_and_counted(tmp_path: Path):
    place = write(tmp_path, {"ant": 4, "bee": 4})
    whole = folder(place, size=8)
    broken = place / "bee" / "broken.png"
    broken.write_bytes((place / "bee" / "0.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"broken\.png"):
        folder(place, size=8)
    with pytest.warns(UserWarning, match=r"left out 1 of 9 pictures that cannot be read: .*broken\.png"):
        found = folder(place, size=8, skip_bad=True)
    assert same(found, whole)
    for path in (place / "bee").iterdir():
        path.write_bytes(b"no picture")
    with (
        pytest.warns(UserWarning, match="left out 5 of 9"),
        pytest.raises(ValueError, match="'bee' has no picture left"),
    ):
        folder(place, size=8, skip_bad=True)

"""Pictures are drawn for every kind of run, and show what was measured."""

from __future__ import annotations

import re

import pytest
import torch

from dreamer.report import _fonts
from dreamer.report._canvas import class_name
from dreamer.report._fonts import OWN, families, legible
from dreamer.report.pictures import draw_dreams, draw_hypnogram, draw_matrix
from tests.helpers.made_up_runs import fake_results


def pixels(path):
    """(H, W, 4) in [0, 1]."""
    from matplotlib.image import imread

    return torch.from_numpy(imread(path))


@pytest.mark.parametrize(
    "results",
    [
        {"experiences": 5},
        {"experiences": 10, "cycles": 2},
        {"experiences": 1},
        {"experiences": 5, "sleep": False},
        {"experiences": 40, "wake": 30},
    ],
    ids=str,
)
@pytest.mark.parametrize("draw", [draw_hypnogram, draw_matrix])
def test_every_run_has_its_picture(tmp_path, results, draw):
    picture = pixels(draw(fake_results(**results), tmp_path / "new" / "picture.png"))
    inked = (picture[..., :3] < 0.9).any(-1).float().mean()
    assert inked > 0.01


def test_an_interrupted_run_is_drawn_as_far_as_it_came(tmp_path):
    results = fake_results(5)
    whole, matrix = (
        pixels(draw_hypnogram(results, tmp_path / "a.png")),
        pixels(draw_matrix(results, tmp_path / "b.png")),
    )
    results["complete"] = False
    results["accuracy_matrix"]["rows"] = results["accuracy_matrix"]["rows"][:4]
    results["metrics"] = dict.fromkeys(results["metrics"])
    assert not torch.equal(pixels(draw_hypnogram(results, tmp_path / "a.png")), whole)
    assert (pixels(draw_matrix(results, tmp_path / "b.png"))[..., :3] > 0.99).float().mean() > (
        matrix[..., :3] > 0.99
    ).float().mean(), "what was not reached is left white"
    results["accuracy_matrix"]["rows"] = results["accuracy_matrix"]["rows"][:1]
    draw_hypnogram(results, tmp_path / "a.png")
    draw_matrix(results, tmp_path / "b.png")


@pytest.mark.parametrize("draw", [draw_hypnogram, draw_matrix])
def test_domains_are_called_by_their_names(tmp_path, draw):
    results = fake_results(3)
    results["protocol"] |= {"groups": "domain", "class_order": [[2], [0], [1]], "class_names": ["code", "law", "plays"]}
    assert written(draw(results, tmp_path / "a.svg")) >= {"plays", "code", "law"}
    assert not written(draw(fake_results(3), tmp_path / "b.svg")) & {"plays", "code", "law"}


@pytest.mark.parametrize(
    ("largest", "shown"),
    [(8.25, {"8.25", "2.00"}), (825.0, {"825", "200"}), (0.0825, {"0.0825", "0.0200"})],
)
def test_all_cells_of_a_matrix_have_as_many_decimals(tmp_path, largest, shown):
    results = fake_results(2)
    results["protocol"] |= {"problem": "regression", "score": "error", "unit": "", "higher_is_better": False}
    for row in results["accuracy_matrix"]["rows"]:
        row["accuracy"] = [largest, 8 / 33 * largest]
    assert written(draw_matrix(results, tmp_path / "a.svg")) >= shown


def written(path):
    """The words of a picture whose text is kept as text."""
    return set(re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8")))


@pytest.fixture(autouse=True)
def text_as_text():
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        yield


def test_an_experience_without_test_data_is_left_out(tmp_path):
    results = fake_results(3)
    for row in results["accuracy_matrix"]["rows"]:
        row["accuracy"][1] = None
    results["metrics"]["average_accuracy"] = None
    assert draw_hypnogram(results, tmp_path / "a.png").is_file()
    assert draw_matrix(results, tmp_path / "b.png").is_file()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12), (20, 30), (64,)], ids=str)
@pytest.mark.parametrize("sure", [True, False])
def test_dreams_of_many_shapes(tmp_path, shape, sure):
    random = torch.Generator().manual_seed(0)
    x, y = torch.rand(12, *shape, generator=random), torch.arange(12) % 3
    confidence = torch.rand(12, generator=random) if sure else None
    path = draw_dreams(x, y, tmp_path / "dreams.png", ["cat", "dog", "frog"], confidence)
    assert path is not None and (pixels(path)[..., :3] < 0.9).any(-1).float().mean() > 0.1


def test_a_dream_is_shown_as_it_is(tmp_path):
    x = torch.zeros(2, 3, 4, 4)
    x[0, 0], x[1, 2] = 1.0, 1.0
    picture = pixels(draw_dreams(x, torch.tensor([0, 1]), tmp_path / "dreams.png"))
    for colour in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]):
        fraction = (picture[..., :3] == torch.tensor(colour)).all(-1).float().mean()
        assert 0.25 < fraction < 0.5


def test_pixels_keep_their_scale(tmp_path):
    dim = pixels(draw_dreams(torch.full((1, 1, 4, 4), 0.25), torch.tensor([0]), tmp_path / "dreams.png"))
    grey = (dim[..., :3] - 0.25).abs().amax(-1) < 0.01
    assert grey.float().mean() > 0.5, "pixels lie in [0, 1] and are not stretched"


def test_what_cannot_be_shown_has_no_picture(tmp_path):
    path = tmp_path / "dreams.png"
    assert draw_dreams(torch.rand(4, 2, 3, 4, 5), torch.arange(4), path) is None
    assert draw_dreams(torch.rand(4, 7, 8, 8), torch.arange(4), path) is None
    assert draw_dreams(torch.rand(0, 1, 8, 8), torch.arange(0), path) is None
    assert not path.exists()


def test_names_in_other_scripts_are_drawn_or_give_way_to_numbers(tmp_path, caplog):
    x, y = torch.rand(3, 1, 6, 6), torch.arange(3)
    nowhere = chr(0x10FF00)  # of a plane for private use
    with caplog.at_level("INFO"):
        assert draw_dreams(x, y, tmp_path / "dreams.png", ["кошка", nowhere, "fox"]) is not None
    assert [class_name(label, ["кошка", nowhere, "fox"]) for label in range(3)] == ["кошка", "1", "fox"]
    assert "no installed font has" in caplog.text
    assert families(["кошка", "fox"]) == [OWN]


def test_a_letter_that_matplotlib_lacks_is_looked_for_among_installed_fonts(monkeypatch):
    monkeypatch.setattr(_fonts, "_installed", lambda: (("Other", "other.ttf"), ("Third", "third.ttf")))
    known = {"other.ttf": frozenset("猫"), "third.ttf": frozenset("猫犬")}
    own = _fonts._letters(_fonts._own_path())
    monkeypatch.setattr(_fonts, "_letters", lambda path: known.get(path, own))
    _fonts._fallbacks.cache_clear()
    assert families(["a 猫"]) == [OWN, "Other"]
    assert families(["猫犬"]) == [OWN, "Other", "Third"]
    assert legible("犬") and not legible("鳥")
    _fonts._fallbacks.cache_clear()

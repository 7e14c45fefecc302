"""A pretrained network under any recipe: the key ``backbone``, on folders laid out as people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dreamer import config
from dreamer.config.binding import ConfigError
from dreamer.networks import MLP, Backbone, StreamingLDA
from dreamer.networks._efficientnet_lite import EfficientNetLite0
from dreamer.runs.run import execute, prepare, run
from dreamer.runs.run_config import run_config
from dreamer.streams import Stream

SMALL = ("stream.size=32", "stream.experiences=2", "dream_quality=null")


def picture(colour: int, seed: int) -> Image.Image:
    """Noise around one colour, in another shape each time."""
    noise = np.random.RandomState(seed).randint(0, 40, (36 + seed % 5, 40, 3))
    noise[..., colour % 3] += 100 + 50 * (colour // 3)
    return Image.fromarray(noise.astype(np.uint8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(EfficientNetLite0().state_dict(), path)
    return str(path)


@pytest.fixture(scope="module", params=["cub", "imagenet-r", "halves"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes: as CUB-200-2011 and ImageNet-R name their folders, or in a training and a test part."""
    place = tmp_path_factory.mktemp(request.param)
    names = {
        "cub": ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross", "004.Groove_billed_Ani"],
        "imagenet-r": ["n01443537", "n01484850", "n01494475", "n01498041"],
        "halves": ["a", "b", "c", "d"],
    }[request.param]
    for part in ("train", "test") if request.param == "halves" else ("",):
        for colour, name in enumerate(names):
            (place / part / name).mkdir(parents=True)
            for seed in range(6):
                picture(colour, seed + 10 * len(part)).save(place / part / name / f"{name}_{seed}.jpg")
    return place


def words(root: Path, weights: str, *more: str) -> list[str]:
    return ["caltech101", f"data.root={root}", f"backbone.weights={weights}", *SMALL, *more]


@pytest.mark.parametrize("recipe", ["slda", "nearest_mean"])
def test_a_folder_is_learnt_in_features(recipe: str, root: Path, weights: str, tmp_path: Path) -> None:
    results = run(*words(root, weights), recipe, out=str(tmp_path / "run"))
    assert results["complete"] and results["metrics"]["average_accuracy"] > 0.5
    assert results["cost"]["bytes"]["memory"] == 0


@pytest.mark.parametrize("root", ["halves"], indirect=True)
def test_a_night_dreams_features(root: Path, weights: str, tmp_path: Path) -> None:
    short = ("wake.steps=5", "night.0.steps=5", "night.1.steps=5", "generator.latent_dim=4")
    prepared = prepare(config.read(*words(root, weights, *short)), tmp_path / "run")
    results = execute(prepared)
    assert results["complete"] and results["cost"]["bytes"]["memory"] == 0 < results["cost"]["bytes"]["generator"]
    dreamt = prepared.module.gallery(2)
    assert dreamt is not None and dreamt.x.shape == (8, 1280) and dreamt.y.bincount().tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("root", ["halves"], indirect=True)
@pytest.mark.parametrize("last", [(), ("backbone.trainable_blocks=1",)], ids=["frozen", "last block trained"])
def test_a_folder_needs_a_backbone_alone_to_be_dreamt_in_features(
    root: Path, weights: str, last: tuple[str, ...], tmp_path: Path
) -> None:
    short = ("stream.size=32", "stream.validation=0.34", "wake.steps=5", "night.0.steps=5", "night.1.steps=5")
    typed = ("folder", f"data.root={root}", "backbone=efficientnet_lite0", f"backbone.weights={weights}")
    results = run(*typed, *short, *last, out=str(tmp_path / "run"))
    assert results["complete"] and results["cost"]["bytes"]["memory"] == 0 < results["cost"]["bytes"]["generator"]
    assert (tmp_path / "run" / "dream_quality" / "night_01.png").is_file(), "what was dreamt is shown"


def test_a_folder_is_laid_out_for_a_backbone_only_where_one_is_given() -> None:
    plain = config.read("folder", "data.root=x")
    assert plain["memory"]["name"] == "class_balanced" and "size" not in plain["stream"] and "backbone" not in plain
    below = config.read("folder", "data.root=x", "backbone.weights=f.pth")
    assert below["backbone"] == {"model": "efficientnet_lite0", "weights": "f.pth"}
    assert below["memory"] is None and below["generator"]["name"] == "latent_gaussians"
    assert below["stream"] == {"name": "folder", "size": 224, "crop": True, "channels": 3}
    over = config.read("folder", "er_features", "data.root=x", "backbone.weights=f.pth", "stream.size=96")
    assert over["memory"]["capacity"] == 2020 and over["generator"] is None and over["stream"]["size"] == 96
    assert config.read("folder", "data.root=x", "backbone=null") == {**plain, "backbone": None}


@pytest.mark.parametrize("root", ["halves"], indirect=True)
def test_a_network_for_images_is_refused_with_what_to_do(root: Path, weights: str) -> None:
    words = ("folder", f"data.root={root}", f"backbone.weights={weights}", "stream.size=32", "network=small_conv")
    with pytest.raises(ConfigError, match=r"images of shape .*got samples of shape \(1280,\), which the backbone puts"):
        prepare(config.read(*words))


@pytest.mark.parametrize("backbone", ["resnet18", {"model": "resnet18"}])
def test_a_backbone_without_weights_is_said_to_be_untrained(backbone: Any, digits_stream: Stream) -> None:
    checked = run_config({**config.read("digits"), "backbone": backbone})
    with pytest.warns(
        UserWarning, match="^backbone: resnet18 is untrained, because nothing is downloaded: expected its"
    ):
        checked.build_module(digits_stream)


@pytest.mark.parametrize("root", ["halves"], indirect=True)
def test_features_take_the_place_of_pictures_and_last_blocks_that_of_the_learner(root: Path, weights: str) -> None:
    frozen = prepare(config.read(*words(root, weights)))
    assert frozen.stream.sample_shape == (1280,) and isinstance(frozen.module.network, MLP)
    partly = prepare(config.read(*words(root, weights, "backbone.trainable_blocks=1")))
    assert partly.stream.sample_shape == (320, 1, 1)
    learner = partly.module.network
    assert isinstance(learner, Backbone) and learner.features(torch.rand(2, 320, 1, 1)).shape == (2, 1280)
    saved = torch.load(weights)["_conv_head.weight"]
    assert any(torch.equal(value, saved) for value in learner.state_dict().values())
    closed = prepare(config.read(*words(root, weights), "slda"))
    assert isinstance(closed.module.network, StreamingLDA)
    assert closed.config.plain["backbone"]["weights"] == weights, "what is saved is what was written"


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [
        ({"modle": "resnet18"}, r"^backbone.modle: unknown key of embedded; did you mean 'model'\?"),
        ({"weights": "FILE"}, "^backbone.model: missing"),
        ({"model": "resnet18", "trainable_blocks": "two"}, "^backbone.trainable_blocks: expected a whole number"),
        ({"model": "resnet18", "trainable_blocks": 1}, "^backbone.trainable_blocks: .* network is 'streaming_lda'"),
    ],
    ids=["key", "model", "type", "closed form"],
)
def test_what_cannot_be_is_one_sentence(backbone: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        run_config({**config.read("digits", "slda"), "backbone": backbone})


def test_a_name_alone_is_a_backbone() -> None:
    short = run_config({**config.read("digits", "slda"), "backbone": "resnet18"})
    long = run_config({**config.read("digits", "slda"), "backbone": {"model": "resnet18"}})
    assert short.stream == long.stream and short.stream.options["model"] == "resnet18"
    typed = run_config(config.read("digits", "slda", "backbone=resnet18", "backbone.weights=FILE"))
    assert typed.stream.options["model"] == "resnet18" and typed.stream.options["weights"] == "FILE"

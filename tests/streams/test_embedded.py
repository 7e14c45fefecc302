"""Features on disk: computed once, found by content, damaged files computed anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch

from dreamer.networks import Backbone
from dreamer.networks._zoo import Headless
from dreamer.streams import from_tensors
from dreamer.streams._feature_cache import FeatureCache, cache_folder
from dreamer.streams.base import Stream
from dreamer.streams.embedded import PicturedFeatures, embedded

MODEL = "efficientnet_lite0"


def stream(seed: int = 0, brighter: int = 0) -> Stream:
    x = torch.randint(0, 200, (12, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x[0] += brighter
    return from_tensors(x, torch.arange(12) % 4, x[:4], torch.arange(4), experiences=2, seed=seed, scale=1 / 255)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMER_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def computed() -> Iterator[list[int]]:
    """How many samples the backbone saw, batch by batch."""
    seen: list[int] = []
    whole = Backbone.frozen_features

    def counted(self: Backbone, x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return whole(self, x)

    with mock.patch.object(Backbone, "frozen_features", counted):
        yield seen


def features(found: Stream) -> torch.Tensor:
    return torch.cat([samples.x for each in found.experiences for samples in (each.train, each.test)])  # type: ignore[attr-defined]


def weights(folder: Path, seed: int = 0) -> str:
    torch.manual_seed(seed)
    path = folder / f"weights{seed}.pt"
    if not path.is_file():
        from dreamer.networks._efficientnet_lite import EfficientNetLite0

        torch.save(EfficientNetLite0().state_dict(), path)
    return str(path)


def test_a_second_run_computes_nothing_whatever_its_order(folder: Path, computed: list[int]) -> None:
    first = embedded(stream(), MODEL, weights(folder))
    # four of the test images are training images too
    assert sum(computed) == 12
    assert first.sample_shape == (1280,)
    again, other = embedded(stream(), MODEL, weights(folder)), embedded(stream(seed=3), MODEL, weights(folder))
    assert sum(computed) == 12
    assert torch.equal(features(again), features(first))
    assert torch.equal(features(other).sort(dim=0).values, features(first).sort(dim=0).values)
    plain = embedded(stream(), MODEL, weights(folder), cache=False)
    assert torch.allclose(features(plain), features(first), atol=1e-5)


def test_what_decides_the_features_is_what_finds_them(folder: Path, computed: list[int]) -> None:
    embedded(stream(), MODEL, weights(folder))
    embedded(stream(brighter=1), MODEL, weights(folder))
    assert sum(computed) == 13
    for options in ({"weights": weights(folder, 1)}, {"size": 40}, {"mean": [0.0] * 3}, {"trainable_blocks": 1}):
        before = sum(computed)
        embedded(stream(), MODEL, **{"weights": weights(folder), **options})  # type: ignore[arg-type]
        assert sum(computed) == before + 12, options


@pytest.mark.parametrize("damage", ["cut", "changed", "text"])
def test_a_damaged_file_is_computed_anew(folder: Path, computed: list[int], damage: str) -> None:
    whole = features(embedded(stream(), MODEL, weights(folder)))
    path = max((folder / "features").rglob("*.pt"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    lost = len(torch.load(path)["samples"])
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"cut": content[:middle], "changed": changed, "text": b"no features"}[damage])
    before = sum(computed)
    assert torch.allclose(features(embedded(stream(), MODEL, weights(folder))), whole, atol=1e-5)
    assert sum(computed) == before + lost
    embedded(stream(), MODEL, weights(folder))
    assert sum(computed) == before + lost


def test_a_stopped_write_leaves_no_file(folder: Path) -> None:
    cache = FeatureCache(torch.nn.Linear(2, 2))
    with mock.patch("os.replace", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        cache.add([bytes(16)], torch.rand(1, 2))
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_what_a_killed_write_left_is_removed_when_it_is_old(folder: Path) -> None:
    cache = FeatureCache(torch.nn.Linear(2, 2))
    cache.folder.mkdir(parents=True)
    old, new = cache.folder / ".a.pt.12", cache.folder / ".b.pt.34"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.add([bytes(16)], torch.rand(1, 2))
    assert not old.exists() and new.exists(), "a new one may still be written"


def test_where_nothing_can_be_kept_features_are_computed_all_the_same(
    folder: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = features(embedded(stream(), MODEL, weights(folder)))
    (folder / "file").touch()
    monkeypatch.setenv("DREAMER_CACHE", str(folder / "file"))
    for _ in range(2):
        before = sum(computed)
        with pytest.warns(
            UserWarning, match=r"cannot be kept in .*file.*, unless DREAMER_CACHE names a folder"
        ) as warned:
            found = embedded(stream(), MODEL, weights(folder))
        assert len(warned) == 1 and torch.allclose(features(found), whole, atol=1e-5)
        assert sum(computed) == before + 12, "of the test images, which are training images too, nothing is seen twice"


def test_what_two_runs_computed_at_once_is_kept_of_both(folder: Path) -> None:
    network = torch.nn.Linear(2, 2)
    one, other = FeatureCache(network), FeatureCache(network)
    x = torch.rand(3, 2)
    digests = [bytes([number] * 16) for number in range(3)]
    one.add(digests[:2], x[:2])
    other.add(digests[1:], x[1:])
    assert torch.equal(FeatureCache(network).get(digests), x)


def test_networks_of_one_structure_and_other_code_do_not_share_features(folder: Path, computed: list[int]) -> None:
    class Scaled(torch.nn.Sequential):
        factor = 1.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * super().forward(x)

    def headless(name: str) -> Headless:
        torch.manual_seed(0)
        network = Scaled(torch.nn.Flatten(), torch.nn.Linear(3072, 4))
        network.factor = {"one": 1.0, "two": 2.0}[name]
        return Headless(network, frozenset())

    with mock.patch("dreamer.networks.backbone.headless", headless):
        one, two = (features(embedded(stream(), name)) for name in ("one", "two"))
    assert torch.allclose(two, 2 * one) and sum(computed) == 24


def test_the_code_of_an_own_module_is_not_kept(folder: Path) -> None:
    embedded(stream(), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 4)))
    assert not (folder / "features").exists()


def test_it_lies_in_the_users_cache_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DREAMER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_folder() == tmp_path / "user" / "dreamer"


def test_inner_activations_are_what_last_blocks_learn_from(folder: Path) -> None:
    found = embedded(stream(), MODEL, weights(folder), trainable_blocks=1)
    assert found.sample_shape == (320, 1, 1)
    options = {"model": MODEL, "weights": weights(folder), "trainable_blocks": 1}
    inner = Backbone(found.sample_shape, 4, **options, inner=True).eval()  # type: ignore[arg-type]
    outer = Backbone((3, 32, 32), 4, MODEL, weights(folder), frozen=True)
    (batch,) = stream().experiences[0].train.batches([torch.arange(3)])
    (embedded_batch,) = found.experiences[0].train.batches([torch.arange(3)])
    assert torch.allclose(inner.features(embedded_batch.x), outer.features(batch.x), rtol=1e-3, atol=1e-5)


def test_a_power_is_taken_of_features_that_are_never_negative(folder: Path, computed: list[int]) -> None:
    plain = features(embedded(stream(), MODEL, weights(folder)))
    before = sum(computed)
    assert torch.allclose(features(embedded(stream(), MODEL, weights(folder), power=0.5)) ** 2, plain, atol=1e-6)
    assert sum(computed) == before, "the cache holds the features themselves"
    with pytest.raises(ValueError, match=r"power=0.5 needs features that are never negative, the least is -"):
        embedded(stream(), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 4)), power=0.5)


@pytest.mark.parametrize("trainable_blocks", [None, 1])
def test_held_out_features_keep_the_pictures_that_they_are_of(trainable_blocks: int | None) -> None:
    y = torch.arange(24) % 2
    x = (torch.arange(24).view(-1, 1, 1, 1).expand(-1, 1, 2, 2) / 24).contiguous()
    whole = from_tensors(x, y, x, y, experiences=1, validation=0.5)
    same = torch.nn.Linear(4, 4)
    torch.nn.init.eye_(same.weight)
    torch.nn.init.zeros_(same.bias)
    network = torch.nn.Sequential(torch.nn.Flatten(), same, torch.nn.Linear(4, 4))
    model = torch.nn.Flatten() if trainable_blocks is None else network
    (experience,) = embedded(whole, model, trainable_blocks=trainable_blocks).experiences
    held = experience.validation
    assert isinstance(held, PicturedFeatures)
    some = held.with_labels(held.y + 5).subset(torch.tensor([3, 1]))
    assert torch.equal(next(some.of.batches([torch.arange(2)])).x.flatten(1), some.x)
    assert not isinstance(experience.train, PicturedFeatures), "nothing that is trained on is held twice"


@pytest.mark.parametrize(("size", "most"), [(None, 6), (224, 4), (256, 3)])
def test_a_cpu_sees_few_large_pictures_at_a_time(size: int | None, most: int, computed: list[int]) -> None:
    found = embedded(stream(), MODEL, size=size, cache=False)
    assert max(computed) == most and len(found.experiences[0].train) == 6
    assert torch.allclose(
        features(found), features(embedded(stream(), MODEL, size=size, cache=False, batch_size=6)), atol=1e-5
    )

"""Short runs on real data: the claim in small. The full measurement is ``reproductions/nights.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

import dreamer

SHORT = ["wake.steps=150", "night.0.steps=20", "night.1.steps=200"]


@pytest.mark.slow
def test_dreams_beat_no_sleep_on_split_mnist(data_root: Path, tmp_path: Path) -> None:
    """With a sixth of the budget dreams end above 85 % where fine-tuning ends near 20 %, on each of two seeds."""
    for seed in (1, 2):
        root = f"data.root={data_root}"
        dreamt = dreamer.run("split_mnist", root, *SHORT, seed=seed, out=str(tmp_path / f"dreams{seed}"))
        plain = dreamer.run(
            "split_mnist", "fine_tune", root, SHORT[0], seed=seed, out=str(tmp_path / f"fine_tune{seed}")
        )
        assert dreamt["cost"]["bytes"]["memory"] == 0
        assert plain["metrics"]["average_accuracy"] < 0.25
        assert dreamt["metrics"]["average_accuracy"] > 0.85


@pytest.mark.slow
def test_nights_beat_no_sleep_on_a_folder_of_photographs(data_root: Path, tmp_path: Path) -> None:
    """CIFAR-10 as JPEG files, 100 images a class: nights from a memory against as many steps awake."""
    if not (data_root / "cifar10" / "train").is_dir():
        pytest.skip("needs real data: cifar10/train/<class>/*.jpg below DREAMER_DATA")
    for part, count in (("train", 100), ("test", 40)):
        for folder in sorted((data_root / "cifar10" / part).iterdir())[:4]:
            (tmp_path / "photographs" / part / folder.name).mkdir(parents=True)
            for picture in sorted(folder.glob("*.jpg"))[:count]:
                (tmp_path / "photographs" / part / folder.name / picture.name).symlink_to(picture)
    root = f"data.root={tmp_path / 'photographs'}"
    slept = dreamer.run(
        "folder", root, "wake.steps=60", "night.0.steps=20", "night.1.steps=40", out=str(tmp_path / "slept")
    )
    plain = dreamer.run("folder", "fine_tune", root, "wake.steps=120", out=str(tmp_path / "plain"))
    assert slept["protocol"]["experiences"] == plain["protocol"]["experiences"] == 2
    assert slept["cost"]["optimizer_steps"]["wake"] < sum(plain["cost"]["optimizer_steps"].values())
    assert slept["metrics"]["average_accuracy"] > plain["metrics"]["average_accuracy"] + 0.02
